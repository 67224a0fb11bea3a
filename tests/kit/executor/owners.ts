import { createPolicySet, type PolicyDocument } from '@csc-fleet/common/policy';
import type { ExecutorDeps } from '@csc-fleet/executor/compose';

/** Owners with a plain folder of policies: no repository, no bindings. */
export function plainOwners(documents: readonly PolicyDocument[]): ExecutorDeps['owners'] {
  const policies = createPolicySet(documents);
  return { current: () => ({ policies }) };
}
