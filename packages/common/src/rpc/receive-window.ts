import { streamWindow } from './options.ts';
import { sessionOf } from './server-call.ts';

/**
 * Lets the connection that a call came by receive 8 MiB at once, instead of HTTP/2's 64 KiB for all of its streams:
 * otherwise an executor at 50 ms pushes its output at 1.3 MB/s. For calls of executors; a client needs no more than
 * the default, which bounds what it can make the gate hold. grpc-js has no option for this on servers. False, and
 * nothing has changed, where the session cannot be had.
 */
export function widenReceiveWindow(call: object): boolean {
  const session = sessionOf(call);
  if (session === undefined || !hasWindow(session)) return false;
  session.setLocalWindowSize(2 * streamWindow);
  return true;
}

function hasWindow(session: object): session is { setLocalWindowSize(bytes: number): void } {
  return 'setLocalWindowSize' in session && typeof session.setLocalWindowSize === 'function';
}
