/** The name in a ClientHello, undefined where there is none; or that it cannot be read. */
export type FoundServerName =
  | { readonly ok: true; readonly name: string | undefined }
  | { readonly ok: false };

const unreadable: FoundServerName = { ok: false };
const serverNameExtension = 0;
const hostNameType = 0;

/**
 * Finds the server name (RFC 6066 §3) in the body of a ClientHello (RFC 8446 §4.1.2). Every length must fit exactly, and
 * there is at most one such extension with exactly one host name: what two readers could read in two ways is refused.
 */
export function readServerName(body: Buffer): FoundServerName {
  const reader = new Reader(body);
  reader.take(2 + 32);
  reader.takeVector(1);
  reader.takeVector(2);
  reader.takeVector(1);
  // Before extensions were (RFC 4366) a hello ended here.
  if (reader.isAtEnd) return reader.isBroken ? unreadable : { ok: true, name: undefined };
  const extensions = new Reader(reader.takeVector(2));
  if (reader.isBroken || !reader.isAtEnd) return unreadable;
  return findExtension(extensions);
}

function findExtension(extensions: Reader): FoundServerName {
  let found: FoundServerName | undefined;
  while (!extensions.isAtEnd) {
    const type = extensions.takeNumber(2);
    const data = extensions.takeVector(2);
    if (type !== serverNameExtension) continue;
    if (found !== undefined) return unreadable;
    found = readNameList(new Reader(data));
  }
  if (extensions.isBroken) return unreadable;
  return found ?? { ok: true, name: undefined };
}

function readNameList(extension: Reader): FoundServerName {
  const list = new Reader(extension.takeVector(2));
  const type = list.takeNumber(1);
  const name = list.takeVector(2);
  const whole = extension.isAtEnd && list.isAtEnd && !extension.isBroken && !list.isBroken;
  if (!whole || type !== hostNameType || name.length === 0) return unreadable;
  return { ok: true, name: name.toString('latin1') };
}

/** Takes fields off the front of bytes. One that does not fit breaks it: all that is taken from then on is empty. */
class Reader {
  readonly #bytes: Buffer;
  #offset = 0;
  #broken = false;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  get isBroken(): boolean {
    return this.#broken;
  }

  get isAtEnd(): boolean {
    return this.#broken || this.#offset === this.#bytes.length;
  }

  take(length: number): Buffer {
    const end = this.#offset + length;
    if (this.#broken || end > this.#bytes.length) {
      this.#broken = true;
      return Buffer.alloc(0);
    }
    const taken = this.#bytes.subarray(this.#offset, end);
    this.#offset = end;
    return taken;
  }

  takeNumber(length: 1 | 2): number {
    const bytes = this.take(length);
    return bytes.length === 0 ? 0 : bytes.readUIntBE(0, length);
  }

  /** Bytes behind a length of one or two bytes. */
  takeVector(lengthBytes: 1 | 2): Buffer {
    return this.take(this.takeNumber(lengthBytes));
  }
}
