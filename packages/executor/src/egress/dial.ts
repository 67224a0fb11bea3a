import { connect as connectSocket, type Socket } from 'node:net';
import type { Route } from './route.ts';

/** Begins to connect to an address, never a name. Half-open: the one direction may end before the other. */
export type Connect = (target: { readonly address: string; readonly port: number }) => Socket;

/** Over this host's network. */
export function connectOnHost({
  address,
  port,
}: {
  readonly address: string;
  readonly port: number;
}): Socket {
  return connectSocket({ host: address, port, allowHalfOpen: true, noDelay: true });
}

/** A connection, or why there is none: nobody took it, or nobody answered in time. */
export type Dialled =
  | { readonly ok: true; readonly socket: Socket }
  | { readonly ok: false; readonly problem: 'refused' | 'timeout' };

/** Tries the addresses of a route in turn. The connection is paused: nothing is read before somebody asks for it. */
export async function dial(
  { addresses, port }: Route,
  { connect, timeoutMs }: { readonly connect: Connect; readonly timeoutMs: number },
): Promise<Dialled> {
  const until = performance.now() + timeoutMs;
  let problem: 'refused' | 'timeout' = 'refused';
  for (const [index, address] of addresses.entries()) {
    // Each gets its share of the time that is left, so that a dead address does not use up all of it.
    const share = (until - performance.now()) / (addresses.length - index);
    const dialled = await dialOne(connect({ address, port }), Math.max(share, 1));
    if (dialled.ok) return dialled;
    problem = dialled.problem;
  }
  return { ok: false, problem };
}

function dialOne(socket: Socket, timeoutMs: number): Promise<Dialled> {
  return new Promise((resolve) => {
    const finish = (dialled: Dialled): void => {
      clearTimeout(timer);
      socket.off('connect', onConnect).off('error', onFailed).off('close', onFailed);
      // From here on whoever has it hears of its end by `close`.
      socket.on('error', () => undefined);
      if (!dialled.ok) socket.destroy();
      resolve(dialled);
    };
    const onConnect = (): void => finish({ ok: true, socket });
    const onFailed = (): void => finish({ ok: false, problem: 'refused' });
    const timer = setTimeout(() => finish({ ok: false, problem: 'timeout' }), timeoutMs);
    socket.once('connect', onConnect).once('error', onFailed).once('close', onFailed);
    socket.pause();
  });
}
