import { isWithin } from '../host/index.ts';

/** What a command that is being built, or runs, may see and change of this host. */
export interface ClaimedScopes {
  readonly reads: readonly string[];
  readonly writes: readonly string[];
  /** Directories that jobs may write, which nobody may change until its sandbox is built: a mount goes below them. */
  readonly fixed: readonly string[];
}

/** One command's claim, from the moment its scopes are resolved until nothing of it runs. */
export interface Claim {
  /** Says when its sandbox is built, and whether as planned. To be said at once where `fixed` is not empty. */
  buildsUntil(built: Promise<boolean>): void;
  /**
   * Resolves once its own sandbox is built, and no other one is being built below what this command can change: it must
   * not start before, and not at all where the answer is no.
   */
  mayStart(): Promise<boolean>;
  release(): void;
}

interface Holder extends ClaimedScopes {
  /** What it may be able to change: its own write scopes, and those of which it may have been handed a descriptor. */
  readonly reach: Set<string>;
  built: Promise<boolean>;
}

/**
 * Who may change what on this host right now. A directory that jobs may write by its mode is written by none of them as
 * long as no command runs that was given it: what earlier ones left there lies still.
 *
 * Commands that share a scope can hand each other open directories (unix(7), SCM_RIGHTS): so what one could change, those
 * that shared a scope with it can go on changing after its end.
 */
export class ScopeClaims {
  readonly #holders = new Set<Holder>();

  /** Whether a command that was given a claim, and not given it back, might change the entries of a directory. */
  mayChange(directory: string): boolean {
    return [...this.#holders].some(({ reach }) => covers(reach, directory));
  }

  /** To be called in the same turn as `mayChange` was asked for each of `fixed`. */
  claim(scopes: ClaimedScopes): Claim {
    const holder: Holder = { ...scopes, reach: new Set(scopes.writes), built: Promise.resolve(true) };
    this.#holders.add(holder);
    return {
      buildsUntil: (built) => {
        holder.built = built;
      },
      mayStart: async () => {
        await this.#waitForBuilders(holder);
        return await holder.built;
      },
      release: () => this.#release(holder),
    };
  }

  // Only for those that were there first, as this one would not have been given what they rely on; so none waits for one
  // that waits for it.
  async #waitForBuilders(holder: Holder): Promise<void> {
    const builders = [...this.#holders].filter(
      (other) => other !== holder && other.fixed.some((directory) => covers(holder.reach, directory)),
    );
    await Promise.allSettled(builders.map(({ built }) => built));
  }

  #release(holder: Holder): void {
    if (!this.#holders.delete(holder)) return;
    for (const other of this.#holders) {
      if (sharesScope(holder, other)) for (const root of holder.reach) other.reach.add(root);
    }
  }
}

// A socket is made where one of them writes, and may be connected to where the other only reads.
function sharesScope(a: ClaimedScopes, b: ClaimedScopes): boolean {
  return overlaps(a.writes, [...b.writes, ...b.reads]) || overlaps(b.writes, a.reads);
}

function overlaps(some: readonly string[], others: readonly string[]): boolean {
  return some.some((one) => others.some((other) => isWithin(one, other) || isWithin(other, one)));
}

function covers(roots: ReadonlySet<string>, directory: string): boolean {
  return [...roots].some((root) => isWithin(directory, root));
}
