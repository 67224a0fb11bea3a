import type { Variation } from './questions.ts';

/** A place where the new policy may allow more than the old one. */
export interface Doubt {
  /** The rule, for people: `allowed_cwd_prefixes /srv`, `deny_argv_prefixes git push of the old policy`. */
  readonly about: string;
  /** Of which one may show it. */
  readonly tries: readonly Variation[];
  /** What a run gets more, whatever is decided of it; absent where it is the decision that differs. */
  readonly gives?: string;
}

/** The entries of a list that are not in another. */
export function missingFrom<T>(others: readonly T[], entries: readonly T[]): T[] {
  return entries.filter((it) => !others.includes(it));
}
