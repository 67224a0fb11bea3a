import { lookup } from 'node:dns/promises';
import { connect as connectSocket, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import type { AllowList } from './allow-list.ts';
import { familyOf } from './names-and-addresses.ts';
import { type Refusal, refuse, refuseAddress } from './refusal.ts';

/** A host that may be asked for, and the addresses that were checked: only they are ever dialled for it. */
export interface Route {
  readonly host: string;
  readonly port: number;
  readonly addresses: readonly [string, ...string[]];
  /** A ClientHello for it may be encrypted. */
  readonly ech: boolean;
  /** Whatever is spoken, nobody looks at it. */
  readonly tcp: boolean;
}

/** A route, or why there is none. */
export type RouteResult =
  | { readonly ok: true; readonly route: Route }
  | { readonly ok: false; readonly refusal: Refusal };

/**
 * The judgement of one request. The lists are asked before the name is resolved, so that a refused name is not even asked
 * for (a query can carry data); it is resolved once, and every address must do: one that must not be reached makes the
 * name suspect, whichever would be dialled (DNS rebinding).
 * @param host as `parseHostName` gives it
 */
export async function findRoute(
  { host, port }: { readonly host: string; readonly port: number },
  { allow, resolve }: { readonly allow: AllowList; readonly resolve: ResolveHost },
): Promise<RouteResult> {
  if (!allow.allows(host, port)) return { ok: false, refusal: refuse('not_listed') };
  const [first, ...rest] = (await resolve(host)).filter((address) => familyOf(address) !== undefined);
  if (first === undefined) return { ok: false, refusal: refuse('unresolvable') };
  for (const address of [first, ...rest]) {
    const problem = allow.findAddressProblem(host, address);
    if (problem !== undefined) return { ok: false, refusal: refuseAddress(problem) };
  }
  const [ech, tcp] = [allow.allowsEch(host, port), allow.allowsTcp(host, port)];
  return { ok: true, route: { host, port, addresses: [first, ...rest], ech, tcp } };
}

/** All addresses of a name, in the order in which they are to be tried. Rejects, or is empty, where there is none. */
export type ResolveHost = (name: string) => Promise<readonly string[]>;

/** As every program of this host does: /etc/hosts counts. */
export async function resolveOnHost(name: string): Promise<string[]> {
  return (await lookup(name, { all: true })).map(({ address }) => address);
}

/**
 * A resolver with patience: no more than `atOnce` names at once, for `getaddrinfo` holds one of the process's few
 * threads until it is done, and each for no longer than `timeoutMs`. It never rejects: what fails has no addresses.
 */
export function limitResolve(
  resolve: ResolveHost,
  { atOnce, timeoutMs }: { readonly atOnce: number; readonly timeoutMs: number },
): (name: string) => Promise<readonly string[]> {
  const waiting: (() => void)[] = [];
  let free = atOnce;
  const release = (): void => {
    const next = waiting.shift();
    if (next === undefined) free += 1;
    else next();
  };
  return async (name) => {
    if (free > 0) free -= 1;
    else await new Promise<void>((turn) => waiting.push(turn));
    const answer = toPromise(resolve, name);
    // A thread is free when it is done, not when nobody waits for it any more.
    void answer.finally(release);
    return await withTimeout(answer, timeoutMs);
  };
}

async function toPromise(resolve: ResolveHost, name: string): Promise<readonly string[]> {
  try {
    return await resolve(name);
  } catch {
    return [];
  }
}

async function withTimeout(answer: Promise<readonly string[]>, ms: number): Promise<readonly string[]> {
  const patience = new AbortController();
  const timeout = sleep(ms, [], { signal: patience.signal, ref: false }).catch(() => []);
  try {
    return await Promise.race([answer, timeout]);
  } finally {
    patience.abort();
  }
}

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
