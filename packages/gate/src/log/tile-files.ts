import { existsSync } from 'node:fs';
import { open, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { makeDirectoryBelow } from '@csc-fleet/common/files';
import { type FilledTile, maxLogEntryBytes, type Tile, tilePath, tileWidth } from '@csc-fleet/common/tlog';

/**
 * A log's tiles, bundles and checkpoint as files, laid out as tlog-tiles serves them: the directory can be put behind
 * any web server.
 */
export class TileFiles {
  readonly #directory: string;
  /** Partial tiles that are still there, by their paths, the oldest first. */
  readonly #partial = new Set<string>();

  /** @param directory is made with the first file, in one that must be there */
  constructor(directory: string) {
    this.#directory = directory;
  }

  /** Undefined: there is none yet. */
  async checkpoint(): Promise<Buffer | undefined> {
    const path = join(this.#directory, 'checkpoint');
    return existsSync(path) ? readBounded(path) : undefined;
  }

  /**
   * The bytes of a tile as it was written, or of the full one that it has become, up to so many. Rejects where it cannot be
   * read.
   */
  async read(tile: Tile, most = maxFileBytes): Promise<Buffer> {
    const path = join(this.#directory, tilePath(tile));
    try {
      return await readBounded(path, most);
    } catch (error) {
      if (tile.width === tileWidth) throw error;
      return readBounded(join(this.#directory, tilePath({ ...tile, width: tileWidth })), most);
    }
  }

  /**
   * Puts tiles on the disk, and only then the checkpoint that names them: whatever is killed in between, what is named is
   * there. None of it is done on the event loop. Rejects where the disk takes no more.
   * @param named the partial tiles of this checkpoint, those of earlier ones that have stayed as they were among them
   */
  async write(tiles: readonly FilledTile[], checkpoint: string, named: readonly Tile[]): Promise<void> {
    const directories = new Set<string>();
    for (const { tile, bytes } of tiles) {
      await this.#put(tilePath(tile), bytes, directories);
      const path = tilePath(tile);
      // Once more where the disk was full before.
      this.#partial.delete(path);
      if (tile.width < tileWidth) this.#partial.add(path);
    }
    await this.#sync(directories);
    const last = new Set<string>();
    await this.#put('checkpoint', Buffer.from(checkpoint), last);
    await this.#sync(last);
    await this.#forget(tiles, new Set(named.map(tilePath)));
  }

  /**
   * Keeps the newest checkpoint that witnesses have cosigned, beside the one that the log goes on from: for who has a copy of the
   * files. Rejects where the disk takes no more.
   */
  async writeCosigned(checkpoint: string): Promise<void> {
    const directories = new Set<string>();
    await this.#put('checkpoint.cosigned', Buffer.from(checkpoint), directories);
    await this.#sync(directories);
  }

  async #put(path: string, bytes: Uint8Array, directories: Set<string>): Promise<void> {
    const whole = join(this.#directory, path);
    const directory = dirname(whole);
    directories.add(directory);
    // A new directory is a new name in the one above it.
    for (const made of await makeDirectoryBelow(dirname(this.#directory), directory, 0o755))
      directories.add(dirname(made));
    const file = await open(`${whole}.new`, 'w', 0o644);
    try {
      await file.writeFile(bytes);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(`${whole}.new`, whole);
  }

  async #sync(directories: ReadonlySet<string>): Promise<void> {
    for (const directory of directories) {
      const opened = await open(directory, 'r');
      try {
        await opened.sync();
      } finally {
        await opened.close();
      }
    }
  }

  // Who has read the checkpoint before this one may still come for its tiles. Those of the newest stay, however old they are.
  async #forget(written: readonly FilledTile[], named: ReadonlySet<string>): Promise<void> {
    for (const { tile } of written) {
      if (tile.width < tileWidth) continue;
      const partial = `${tilePath(tile)}.p`;
      for (const path of this.#partial) if (path.startsWith(`${partial}/`)) this.#partial.delete(path);
      await rm(join(this.#directory, partial), { recursive: true, force: true });
    }
    const superseded = [...this.#partial].slice(0, -keptPartial).filter((path) => !named.has(path));
    for (const path of superseded) {
      await rm(join(this.#directory, path), { force: true });
      this.#partial.delete(path);
    }
  }
}

// Off the event loop, which readBoundedFile is not.
async function readBounded(path: string, most = maxFileBytes): Promise<Buffer> {
  const file = await open(path, 'r');
  try {
    const { size } = await file.stat();
    if (size > maxFileBytes) throw new RangeError(`${path} is longer than a tile can be`);
    const length = Math.min(size, most);
    const { buffer, bytesRead } = await file.read(Buffer.allocUnsafe(length), 0, length, 0);
    return buffer.subarray(0, bytesRead);
  } finally {
    await file.close();
  }
}

// A bundle of the longest entries.
const maxFileBytes = tileWidth * (2 + maxLogEntryBytes);

// Some checkpoints' worth.
const keptPartial = 32;
