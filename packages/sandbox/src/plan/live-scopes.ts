import type { NetworkMode } from '@csc-fleet/common/contract';
import { isWithin } from '../host/index.ts';
import type { ScopeBind } from './scopes.ts';

/** Where one command could meet another one. */
export interface Reach {
  readonly binds: readonly Pick<ScopeBind, 'source' | 'writable'>[];
  /** With "full" it has the host's abstract Unix sockets, as every other one has that is given it. */
  readonly network: NetworkMode;
}

/** One command's reach, for as long as it has it. */
export interface LiveScope {
  /** Where it could meet another command that is there now: paths that one of the two may write, or "the network". */
  readonly shared: readonly string[];
  leave(): void;
}

/**
 * The scopes of all commands that are there now. Two that can meet in a scope could hand each other descriptors over a
 * Unix socket (unix(7), SCM_RIGHTS), and so what only one of them was given, beyond its end: who comes second gets no
 * such sockets. One at most then has any, whoever comes and goes.
 */
export class LiveScopes {
  readonly #live = new Set<Reach>();

  /** @param reach of one command; those of one run come one after the other */
  enter({ binds, network }: Reach): LiveScope {
    const others = [...this.#live];
    const paths = binds.filter((bind) => others.some((it) => it.binds.some((other) => canMeet(bind, other))));
    const isNetworkShared = network === 'full' && others.some((other) => other.network === 'full');
    const own = { binds, network };
    this.#live.add(own);
    return {
      shared: [...paths.map(({ source }) => source), ...(isNetworkShared ? ['the network'] : [])],
      leave: () => void this.#live.delete(own),
    };
  }
}

function canMeet(a: Reach['binds'][number], b: Reach['binds'][number]): boolean {
  return (a.writable || b.writable) && (isWithin(a.source, b.source) || isWithin(b.source, a.source));
}
