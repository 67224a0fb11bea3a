import type { Bindings } from './bindings.ts';
import type { PolicyDocument } from './policy.ts';
import type { PolicySet } from './policy-set.ts';

/** A PolicySet whose owner may put another in its place while it is in use. */
export interface ReloadablePolicySet extends PolicySet {
  /** Counts at once and whole: whoever asks from now on sees the new set only. */
  replace(next: PolicySet): void;
}

export interface ReloadOptions {
  /**
   * What was held before is found by its hash as long as the process lives, for what was decided by it. Absent: it is
   * gone. A host must not keep it: a policy that its owner has taken away must not be named by a ticket any more.
   */
  readonly keepReplaced?: boolean;
}

export function createReloadablePolicySet(
  first: PolicySet,
  { keepReplaced = false }: ReloadOptions = {},
): ReloadablePolicySet {
  let current = first;
  const replaced = new Map<string, PolicyDocument>();
  return {
    byName: (name) => current.byName(name),
    bySha256: (sha256) => current.bySha256(sha256) ?? replaced.get(sha256.toLowerCase()),
    all: () => current.all(),
    replace: (next) => {
      if (keepReplaced) for (const document of current.all()) replaced.set(document.sha256, document);
      current = next;
    },
  };
}

/** Bindings whose owner may put others in their place while they are in use. */
export type ReloadableBindings = Bindings & { replace(next: Bindings): void };

export function createReloadableBindings(first: Bindings): ReloadableBindings {
  let current = first;
  return {
    get bindings() {
      return current.bindings;
    },
    get submitters() {
      return current.submitters;
    },
    replace: (next) => {
      current = next;
    },
  };
}
