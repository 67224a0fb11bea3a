import type { Socket } from 'node:net';
import { type OwnResponse, serialize } from './denial-response.ts';

// A connection that is closed with bytes unread is reset, and the answer may be lost with it (RFC 9112 §9.6).
const lingerMs = 1000;

/**
 * Answers on a connection that no HTTP server of ours writes to any more, and ends it; what the client is still sending
 * is read and dropped for a moment.
 */
export function respondRaw(socket: Socket, response: OwnResponse): void {
  if (socket.destroyed) return;
  if (socket.writable) socket.end(serialize(response));
  const timer = setTimeout(() => socket.destroy(), lingerMs);
  socket.once('close', () => clearTimeout(timer));
  socket.resume();
}
