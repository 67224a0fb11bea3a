import type { Socket } from 'node:net';
import { gather } from './gather.ts';
import type { DenialReason } from './refusal.ts';
import {
  readSocksGreeting,
  readSocksRequest,
  type SocksRead,
  type SocksRequest,
  socksReplies,
  socksReply,
} from './socks-message.ts';

/** A client's request and what it sent behind it; or why there is none, and what the client is told, if anything. */
export type SocksHandshake =
  | { readonly ok: true; readonly request: SocksRequest; readonly rest: Buffer }
  | { readonly ok: false; readonly reason: DenialReason; readonly answer?: Buffer };

/** Goes through the handshake up to the reply (RFC 1928 §3, §4). */
export async function readSocksHandshake(
  socket: Socket,
  options: { readonly timeoutMs: number; readonly first: Buffer },
): Promise<SocksHandshake> {
  const greeting = await readMessage(socket, readSocksGreeting, options);
  if (typeof greeting === 'string') return { ok: false, reason: greeting };
  if (!greeting.message.anonymous) {
    return { ok: false, reason: 'socks_authentication', answer: Buffer.from([5, 0xff]) };
  }
  socket.write(Buffer.from([5, 0]));
  const read = await readMessage(socket, readSocksRequest, { ...options, first: greeting.rest });
  if (typeof read === 'string') {
    return { ok: false, reason: read, answer: socksReply(socksReplies.failure) };
  }
  return { ok: true, request: read.message, rest: read.rest };
}

async function readMessage<T extends { readonly length: number }>(
  socket: Socket,
  read: (bytes: Buffer) => SocksRead<T>,
  options: { readonly timeoutMs: number; readonly first: Buffer },
): Promise<{ readonly message: T; readonly rest: Buffer } | 'bad_request' | 'incomplete'> {
  // No message has more than 262 bytes, so little is ever read twice.
  let bytes: Buffer = Buffer.alloc(0);
  const gathered = await gather(
    socket,
    (chunk) => {
      bytes = Buffer.concat([bytes, chunk]);
      return read(bytes);
    },
    options,
  );
  if (gathered === undefined) return 'incomplete';
  const { value } = gathered;
  return value === 'malformed' ? 'bad_request' : { message: value, rest: bytes.subarray(value.length) };
}
