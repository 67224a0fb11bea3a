/**
 * What the first bytes of a connection are. `hello` is a whole ClientHello, with the name that it asks for; everything
 * else, `incomplete` apart, is final.
 */
export type ClientHello =
  | { readonly kind: 'incomplete' }
  | { readonly kind: 'hello'; readonly serverName: string | undefined; readonly isEncrypted: boolean }
  | { readonly kind: 'not_tls' }
  | { readonly kind: 'malformed' }
  | { readonly kind: 'too_long' };

/** Reads a ClientHello from a connection's bytes as they come. */
interface ClientHelloReader {
  push(chunk: Uint8Array): ClientHello;
}

/** Most that may come, record headers included, until the ClientHello is whole. Real ones have 200 to 2000 bytes. */
export const maxHelloBytes = 16_384;

const recordHeader = 5;
const handshakeHeader = 4;
const handshakeRecord = 22;
const clientHello = 1;

/**
 * A reader for TLS 1.0 to 1.3 (RFC 8446 §4.1.2, §5.1). The message may be cut anywhere, into segments and into records;
 * how does not change what is read. Where it is encrypted (ECH), the name is the outer one.
 */
export function createClientHelloReader(): ClientHelloReader {
  const header: number[] = [];
  const message: number[] = [];
  let recordLeft = 0;
  let total = 0;
  let verdict: ClientHello = { kind: 'incomplete' };
  const take = (byte: number): ClientHello => {
    total += 1;
    if (total > maxHelloBytes) return { kind: 'too_long' };
    if (recordLeft === 0) {
      header.push(byte);
      const problem = judgeHeader(header, message.length === 0);
      if (problem !== undefined) return { kind: problem };
      if (header.length < recordHeader) return { kind: 'incomplete' };
      recordLeft = lengthAt(header, 3);
      header.length = 0;
      return { kind: 'incomplete' };
    }
    recordLeft -= 1;
    message.push(byte);
    return readMessage(message, recordLeft);
  };
  return {
    push(chunk) {
      // Byte by byte: the work does not grow with how finely a sender cuts.
      for (const byte of chunk) {
        if (verdict.kind !== 'incomplete') break;
        verdict = take(byte);
      }
      return verdict;
    },
  };
}

// Judged as soon as it can be: who speaks something else may be waiting for an answer to less than five bytes.
function judgeHeader(header: readonly number[], first: boolean): 'not_tls' | 'malformed' | undefined {
  const wrong = first ? 'not_tls' : 'malformed';
  if (header[0] !== handshakeRecord) return wrong;
  if (header.length > 1 && header[1] !== 3) return wrong;
  if (header.length < recordHeader) return undefined;
  const length = lengthAt(header, 3);
  // Records hold 1 to 2^14 bytes (RFC 8446 §5.1).
  return length === 0 || length > 16_384 ? 'malformed' : undefined;
}

function readMessage(message: readonly number[], recordLeft: number): ClientHello {
  if (message[0] !== clientHello) return { kind: 'malformed' };
  if (message.length < handshakeHeader) return { kind: 'incomplete' };
  const length = ((message[1] ?? 0) << 16) | lengthAt(message, 2);
  if (length > maxHelloBytes) return { kind: 'too_long' };
  if (message.length < handshakeHeader + length) return { kind: 'incomplete' };
  // A second message in the same record would be another hello, which nobody has judged.
  if (recordLeft > 0) return { kind: 'malformed' };
  const found = readServerName(Buffer.from(message.slice(handshakeHeader)));
  if (!found.ok) return { kind: 'malformed' };
  return { kind: 'hello', serverName: found.name, isEncrypted: found.isEncrypted };
}

function lengthAt(bytes: readonly number[], offset: number): number {
  return ((bytes[offset] ?? 0) << 8) | (bytes[offset + 1] ?? 0);
}

/** The name in a ClientHello, undefined where there is none; or that it cannot be read. */
type FoundServerName =
  | {
      readonly ok: true;
      readonly name: string | undefined;
      /** There is another ClientHello in it that nobody but its server can read. */
      readonly isEncrypted: boolean;
    }
  | { readonly ok: false };

const unreadableHello: FoundServerName = { ok: false };
const serverNameExtension = 0;
const hostNameType = 0;
// encrypted_client_hello, outer and inner (RFC 9849), its drafts, ech_outer_extensions, and the ESNI before it. What
// browsers send to no purpose (GREASE) is made so that it cannot be told from what has one.
const encryptedExtensions: ReadonlySet<number> = new Set([
  ...[0xfe0d, 0xfe0c, 0xfe0b, 0xfe0a, 0xfe09, 0xfe08],
  ...[0xff02, 0xff03, 0xff04, 0xfd00, 0xffce],
]);

/**
 * Finds the server name (RFC 6066 §3) in the body of a ClientHello (RFC 8446 §4.1.2). Every length must fit exactly, and
 * there is at most one such extension with exactly one host name: what two readers could read in two ways is refused.
 */
function readServerName(body: Buffer): FoundServerName {
  const reader = new Reader(body);
  reader.take(2 + 32);
  reader.takeVector(1);
  reader.takeVector(2);
  reader.takeVector(1);
  // Before extensions were (RFC 4366) a hello ended here.
  if (reader.isAtEnd)
    return reader.isBroken ? unreadableHello : { ok: true, name: undefined, isEncrypted: false };
  const extensions = new Reader(reader.takeVector(2));
  if (reader.isBroken || !reader.isAtEnd) return unreadableHello;
  return findExtension(extensions);
}

function findExtension(extensions: Reader): FoundServerName {
  let name: string | undefined;
  let isEncrypted = false;
  while (!extensions.isAtEnd) {
    const type = extensions.takeNumber(2);
    const data = extensions.takeVector(2);
    if (encryptedExtensions.has(type)) isEncrypted = true;
    if (type !== serverNameExtension) continue;
    if (name !== undefined) return unreadableHello;
    name = readNameList(new Reader(data));
    if (name === undefined) return unreadableHello;
  }
  return extensions.isBroken ? unreadableHello : { ok: true, name, isEncrypted };
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
