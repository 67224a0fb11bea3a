import { readServerName } from './server-name.ts';

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
export interface ClientHelloReader {
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
      const problem = checkHeader(header, message.length === 0);
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
function checkHeader(header: readonly number[], first: boolean): 'not_tls' | 'malformed' | undefined {
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
