import { lookup } from 'node:dns/promises';
import { setTimeout as sleep } from 'node:timers/promises';

/** All addresses of a name, in the order in which they are to be tried. Rejects, or is empty, where there is none. */
export type Resolve = (name: string) => Promise<readonly string[]>;

/** As every program of this host does: /etc/hosts counts. */
export async function resolveOnHost(name: string): Promise<string[]> {
  return (await lookup(name, { all: true })).map(({ address }) => address);
}

/**
 * A resolver with patience: no more than `atOnce` names at once, for `getaddrinfo` holds one of the process's few
 * threads until it is done, and each for no longer than `timeoutMs`. It never rejects: what fails has no addresses.
 */
export function limitResolve(
  resolve: Resolve,
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

async function toPromise(resolve: Resolve, name: string): Promise<readonly string[]> {
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
