import { type FileHandle, open, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { maxFrameBytes, wholeFramesEnd } from '@csc-fleet/common/output-log';

const copiedAtOnce = 1024 * 1024;

/** An append-only file of frames. Nothing is made on disk before the first append. */
export class LogFile {
  readonly #path: string;
  #handle: FileHandle | undefined;
  #length: number;
  #made = false;

  /** @param length of a file that is there already; 0: there is none */
  constructor(path: string, length = 0) {
    this.#path = path;
    this.#length = length;
  }

  /** Bytes appended and readable. */
  get length(): number {
    return this.#length;
  }

  /** All of it or an error; after an error the readable length is what it was. One call at a time. */
  async append(buffers: readonly Uint8Array[]): Promise<void> {
    this.#handle ??= await this.#make();
    let rest = buffers;
    let position = this.#length;
    while (rest.length > 0) {
      const { bytesWritten } = await this.#handle.writev([...rest], position);
      position += bytesWritten;
      rest = withoutFirst(rest, bytesWritten);
    }
    this.#length = position;
  }

  // Exclusive: a log that is there already is another execution's, and stays as it is.
  async #make(): Promise<FileHandle> {
    const handle = await open(this.#path, 'wx+', 0o600);
    this.#made = true;
    return handle;
  }

  /**
   * Whole frames from `offset`, about `maxBytes` of them and at least one; empty at the end, and where no frame begins
   * there: a gate chooses where to go on from.
   * @param into where to put them, if they fit. Absent: into memory of their own
   */
  async read(offset: number, maxBytes: number, into?: Buffer): Promise<Uint8Array> {
    for (const wanted of [maxBytes, maxFrameBytes]) {
      const bytes = await this.#readBytes(offset, Math.min(wanted, this.#length - offset), into);
      const end = wholeFramesEnd(bytes);
      if (end > 0) return bytes.subarray(0, end);
      if (bytes.length < wanted) break;
    }
    return new Uint8Array(0);
  }

  async #readBytes(offset: number, length: number, into?: Buffer): Promise<Uint8Array> {
    if (length <= 0) return new Uint8Array(0);
    this.#handle ??= await open(this.#path, 'r');
    const fits = into !== undefined && into.length >= length;
    const buffer = fits ? into : Buffer.allocUnsafeSlow(length);
    let filled = 0;
    while (filled < length) {
      const { bytesRead } = await this.#handle.read(buffer, filled, length - filled, offset + filled);
      if (bytesRead === 0) break;
      filled += bytesRead;
    }
    return buffer.subarray(0, filled);
  }

  /** Cuts off what lies behind `length`, which gives the disk its room back. */
  async truncate(length: number): Promise<void> {
    this.#length = length;
    this.#handle ??= await open(this.#path, 'r+');
    await this.#handle.truncate(length);
  }

  /** Makes what was appended survive a power cut: the file's bytes, and then its name. */
  async sync(): Promise<void> {
    if (this.#handle === undefined) return;
    await this.#handle.datasync();
    await this.#syncName();
  }

  async #syncName(): Promise<void> {
    const directory = await open(dirname(this.#path), 'r');
    await directory.sync().finally(() => directory.close());
  }

  /**
   * Puts the first `length` bytes, as they can be read, into a new file in its place, which survives a power cut: for a file that
   * could not be synced. Rejects where that cannot be done either; then what could be read before still can.
   */
  async rewrite(length: number): Promise<void> {
    const path = `${this.#path}.again`;
    const copy = await open(path, 'w+', 0o600);
    try {
      await this.#copyTo(copy, length);
      await copy.datasync();
      await rename(path, this.#path);
    } catch (error) {
      await copy.close().catch(() => undefined);
      await rm(path, { force: true });
      throw error;
    }
    const before = this.#handle;
    [this.#handle, this.#length] = [copy, length];
    await before?.close().catch(() => undefined);
    await this.#syncName();
  }

  async #copyTo(copy: FileHandle, length: number): Promise<void> {
    for (let at = 0; at < length; ) {
      const bytes = await this.#readBytes(at, Math.min(copiedAtOnce, length - at));
      if (bytes.length === 0) throw new Error('the output log is shorter than it was');
      const { bytesWritten } = await copy.write(bytes, 0, bytes.length, at);
      at += bytesWritten;
    }
  }

  /** Closes the descriptor; a later read opens the file again. */
  async close(): Promise<void> {
    const handle = this.#handle;
    this.#handle = undefined;
    await handle?.close();
  }

  /** Closes, and deletes the file where `append` made it. */
  async discard(): Promise<void> {
    await this.close();
    if (this.#made) await rm(this.#path, { force: true });
  }
}

function withoutFirst(buffers: readonly Uint8Array[], count: number): readonly Uint8Array[] {
  let skipped = 0;
  let skip = count;
  while (skipped < buffers.length && skip >= (buffers[skipped]?.length ?? 0)) {
    skip -= buffers[skipped]?.length ?? 0;
    skipped += 1;
  }
  const [first, ...rest] = buffers.slice(skipped);
  return first === undefined ? [] : [first.subarray(skip), ...rest];
}
