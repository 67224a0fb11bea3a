import { CscError } from '../errors/index.ts';
import type { PolicyDocument } from './policy.ts';

/** The profiles that one party holds. */
export interface PolicySet {
  byName(name: string): PolicyDocument | undefined;
  /** Hex, in either case. */
  bySha256(sha256: string): PolicyDocument | undefined;
  /** In the order of their names. */
  all(): readonly PolicyDocument[];
}

/** A PolicySet that does not change. Throws POLICY_INVALID where two profiles have one name. */
export function createPolicySet(documents: readonly PolicyDocument[]): PolicySet {
  const byName = new Map<string, PolicyDocument>();
  for (const document of documents) {
    const { name } = document.policy;
    const other = byName.get(name);
    if (other !== undefined) {
      throw new CscError(
        'POLICY_INVALID',
        `${document.source} and ${other.source} are both named "${name}": rename one`,
      );
    }
    byName.set(name, document);
  }
  const bySha256 = new Map(documents.map((document) => [document.sha256, document]));
  const all = [...byName.keys()].sort().flatMap((name) => byName.get(name) ?? []);
  return {
    byName: (name) => byName.get(name),
    bySha256: (sha256) => bySha256.get(sha256.toLowerCase()),
    all: () => all,
  };
}
