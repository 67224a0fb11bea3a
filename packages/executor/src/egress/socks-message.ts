import { isUtf8 } from 'node:buffer';

/** A client's greeting (RFC 1928 §3). */
export interface SocksGreeting {
  /** Whether it offers to go without authentication. */
  readonly anonymous: boolean;
  /** Bytes of the message. */
  readonly length: number;
}

/** What a client asks for (RFC 1928 §4). */
export interface SocksRequest {
  /** 1: CONNECT, 2: BIND, 3: UDP ASSOCIATE. */
  readonly command: number;
  /** As it was sent. */
  readonly address: { readonly kind: 'name' | 'ip'; readonly text: string };
  readonly port: number;
  readonly length: number;
}

/** A message; undefined as long as it is not whole. */
export type SocksRead<T> = T | 'malformed' | undefined;

export const socksVersion = 5;
const anonymousMethod = 0;

/** Reads a greeting off the front of bytes. */
export function readSocksGreeting(bytes: Buffer): SocksRead<SocksGreeting> {
  const [version = socksVersion, methods] = bytes;
  if (version !== socksVersion || methods === 0) return 'malformed';
  if (methods === undefined || bytes.length < 2 + methods) return undefined;
  const length = 2 + methods;
  return { anonymous: bytes.subarray(2, length).includes(anonymousMethod), length };
}

/** Reads a request off the front of bytes. */
export function readSocksRequest(bytes: Buffer): SocksRead<SocksRequest> {
  const [version = socksVersion, command, reserved = 0, type] = bytes;
  if (version !== socksVersion || reserved !== 0) return 'malformed';
  if (command === undefined || type === undefined) return undefined;
  const addressLength = addressBytes(type, bytes[4]);
  if (addressLength === 'malformed') return 'malformed';
  if (addressLength === undefined || bytes.length < 4 + addressLength + 2) return undefined;
  const end = 4 + addressLength;
  const address = readAddress(type, bytes.subarray(4, end));
  return { command, address, port: bytes.readUInt16BE(end), length: end + 2 };
}

// Its length before a name counts as part of it.
function addressBytes(type: number, first: number | undefined): number | 'malformed' | undefined {
  if (type === 1) return 4;
  if (type === 4) return 16;
  if (type !== 3) return 'malformed';
  return first === undefined ? undefined : 1 + first;
}

function readAddress(type: number, bytes: Buffer): SocksRequest['address'] {
  if (type === 1) return { kind: 'ip', text: bytes.join('.') };
  if (type === 4) return { kind: 'ip', text: bytes.toString('hex').replace(/(.{4})(?!$)/g, '$1:') };
  const name = bytes.subarray(1);
  return { kind: 'name', text: name.toString(isUtf8(name) ? 'utf8' : 'latin1') };
}

/** The codes of RFC 1928 §6 that are used. */
export const socksReplies = {
  succeeded: 0,
  failure: 1,
  notAllowed: 2,
  hostUnreachable: 4,
  refused: 5,
  commandNotSupported: 7,
} as const;

/** A reply to a request. Which address the proxy itself dialled from is not said. */
export function socksReply(code: number): Buffer {
  return Buffer.from([socksVersion, code, 0, 1, 0, 0, 0, 0, 0, 0]);
}
