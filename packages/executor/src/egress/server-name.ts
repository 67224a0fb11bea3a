/** The name in a ClientHello, undefined where there is none; or that it cannot be read. */
export type FoundServerName =
  | {
      readonly ok: true;
      readonly name: string | undefined;
      /** There is another ClientHello in it that nobody but its server can read. */
      readonly isEncrypted: boolean;
    }
  | { readonly ok: false };

const unreadable: FoundServerName = { ok: false };
const serverNameExtension = 0;
const hostNameType = 0;
// encrypted_client_hello, outer and inner (RFC 9849), its drafts, ech_outer_extensions, and the ESNI before it. What
// browsers send to no purpose (GREASE) is made so that it cannot be told from what has one.
const encrypted: ReadonlySet<number> = new Set([
  ...[0xfe0d, 0xfe0c, 0xfe0b, 0xfe0a, 0xfe09, 0xfe08],
  ...[0xff02, 0xff03, 0xff04, 0xfd00, 0xffce],
]);

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
  if (reader.isAtEnd) return reader.isBroken ? unreadable : { ok: true, name: undefined, isEncrypted: false };
  const extensions = new Reader(reader.takeVector(2));
  if (reader.isBroken || !reader.isAtEnd) return unreadable;
  return findExtension(extensions);
}

function findExtension(extensions: Reader): FoundServerName {
  let name: string | undefined;
  let isEncrypted = false;
  while (!extensions.isAtEnd) {
    const type = extensions.takeNumber(2);
    const data = extensions.takeVector(2);
    if (encrypted.has(type)) isEncrypted = true;
    if (type !== serverNameExtension) continue;
    if (name !== undefined) return unreadable;
    name = readNameList(new Reader(data));
    if (name === undefined) return unreadable;
  }
  return extensions.isBroken ? unreadable : { ok: true, name, isEncrypted };
}

function readNameList(extension: Reader): string | undefined {
  const list = new Reader(extension.takeVector(2));
  const type = list.takeNumber(1);
  const name = list.takeVector(2);
  const whole = extension.isAtEnd && list.isAtEnd && !extension.isBroken && !list.isBroken;
  return whole && type === hostNameType && name.length > 0 ? name.toString('latin1') : undefined;
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
