import { CscError } from '@csc-fleet/common/errors';
import { type Bindings, bindingOf } from '@csc-fleet/common/policy';
import type { LiveExecution } from './execution.ts';
import type { Executions, Principal } from './executions.ts';

type Role = 'admin' | 'auditor';

/** True where the binding that counts for it has one of these roles. */
function hasRole(bindings: Bindings, { uri }: Principal, roles: readonly Role[]): boolean {
  const own = bindingOf(bindings, uri)?.roles ?? [];
  return roles.some((it) => own.includes(it));
}

/** True where the binding that counts for it has the role `admin`. */
export function isAdmin(bindings: Bindings, principal: Principal): boolean {
  return hasRole(bindings, principal, ['admin']);
}

/** Throws NOT_PERMITTED where it is no admin. */
export function checkAdmin(bindings: Bindings, principal: Principal): void {
  if (isAdmin(bindings, principal)) return;
  throw new CscError(
    'NOT_PERMITTED',
    `this is for admins, and ${principal.uri} is none: the owners give the role in bindings.yaml (roles: [admin])`,
  );
}

/** Throws NOT_PERMITTED where it may not read what was decided and has happened: who is neither admin nor auditor. */
export function checkAuditReader(bindings: Bindings, principal: Principal): void {
  if (hasRole(bindings, principal, ['admin', 'auditor'])) return;
  throw new CscError(
    'NOT_PERMITTED',
    `this is for admins and auditors, and ${principal.uri} is neither: the owners give the role in bindings.yaml (roles: [auditor])`,
  );
}

export interface ReceiptReaderPorts {
  readonly executions: Pick<Executions, 'visible' | 'find'>;
  readonly bindings: Bindings;
}

/**
 * The execution whose receipt and proofs this principal may have: its own, and for an auditor anybody's. Not for output: that is
 * its submitter's alone. Throws EXECUTION_UNKNOWN.
 */
export async function withReceiptFor(
  { executions, bindings }: ReceiptReaderPorts,
  principal: Principal,
  executionId: string,
): Promise<LiveExecution> {
  const found = hasRole(bindings, principal, ['auditor']) ? await executions.find(executionId) : undefined;
  return found ?? executions.visible(principal, executionId);
}
