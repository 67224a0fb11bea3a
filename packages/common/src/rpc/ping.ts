import { setTimeout as wait } from 'node:timers/promises';
import { sessionOf } from './server-call.ts';

interface Pingable {
  ping(callback: (error: Error | null) => void): boolean;
}

// What came before the answer is still on its way through grpc-js when the answer is told.
const settleMs = 50;

/**
 * Resolves once the other end of a call has answered an HTTP/2 PING (RFC 9113 §6.7), which is sent now. It comes in
 * order: whatever the other end had written before has been received by then. Rejects where the connection is gone.
 */
export async function pingPeer(call: object): Promise<void> {
  const session = sessionOf(call);
  if (!isPingable(session)) throw new Error('the connection of this call is not known');
  await new Promise<void>((resolve, reject) => {
    const isSent = session.ping((error) => (error === null ? resolve() : reject(error)));
    if (!isSent) reject(new Error('too many pings are under way'));
  });
  await wait(settleMs);
}

function isPingable(session: object | undefined): session is Pingable {
  return session !== undefined && 'ping' in session && typeof session.ping === 'function';
}
