import type { ScopeBind } from './scopes.ts';
import { isWithin } from './walk.ts';

/** What one command has of the host, for as long as it has it. */
export interface LiveScope {
  /** Its own paths that another command could meet it in, as one of the two may write there. */
  readonly shared: readonly string[];
  leave(): void;
}

/**
 * The scopes of all commands that are there now. Two that can meet in a scope could hand each other descriptors over a
 * Unix socket (unix(7), SCM_RIGHTS), and so what only one of them was given, beyond its end: who comes second gets no
 * such sockets. One at most then has any, whoever comes and goes.
 */
export class LiveScopes {
  readonly #live = new Set<readonly ScopeBind[]>();

  /** @param binds of one command, which is none that another one of the same run meets */
  enter(binds: readonly ScopeBind[]): LiveScope {
    const others = [...this.#live].flat();
    const shared = binds.filter((bind) => others.some((other) => canMeet(bind, other)));
    const own = [...binds];
    this.#live.add(own);
    return { shared: shared.map(({ source }) => source), leave: () => void this.#live.delete(own) };
  }
}

function canMeet(a: ScopeBind, b: ScopeBind): boolean {
  return (a.writable || b.writable) && (isWithin(a.source, b.source) || isWithin(b.source, a.source));
}
