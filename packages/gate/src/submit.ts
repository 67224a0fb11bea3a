import { CscError } from '@csc-fleet/common/errors';
import type { SubmitRequest } from '@csc-fleet/common/messages';
import { bindPolicy, type PolicyDocument } from '@csc-fleet/common/policy';
import { approve, findAwaiting, readApprovals, takesApprovals } from './approval/approve.ts';
import type { LiveExecution } from './execution/execution.ts';
import type { Requirement } from './schedule/peers.ts';
import type { GateContext } from './service/context.ts';
import { type Decided, decide, readContract } from './submit/decide.ts';
import { record } from './submit/record.ts';
import { readWishes, type Wishes } from './submit/wishes.ts';

export interface Submitted {
  readonly execution: LiveExecution;
  /** True where the idempotency key had been seen. */
  readonly existing: boolean;
}

/**
 * Takes a contract: decides, records and queues. The caller has authenticated and limited it. Resolves once the
 * execution is on disk; a denial is such an execution too. Throws CONTRACT_INVALID, NOT_PERMITTED, APPROVAL_INVALID,
 * IDEMPOTENCY_CONFLICT, NO_MATCHING_EXECUTOR, QUEUE_FULL, STORE_UNAVAILABLE.
 */
export async function submit(
  gate: GateContext,
  principal: string,
  request: SubmitRequest,
): Promise<Submitted> {
  const wishes = readWishes(gate, principal, request);
  const contract = readContract(request.contract);
  const policy = bindPolicy(gate.bindings, gate.policies, principal, request.policyProfile);
  const decided = decide(gate, contract, policy, wishes.now);
  const existing = await findExisting(gate, decided, wishes);
  if (existing !== undefined && !takesApprovals(existing, decided, wishes)) {
    return { execution: existing, existing: true };
  }
  const approvals = readApprovals(gate, decided, wishes);
  if (approvals.runs) gate.scheduler.checkRoom(requirementFor(wishes, policy));
  const waiting = approvals.approved ? (existing ?? findAwaiting(gate, decided, wishes)) : undefined;
  const execution =
    waiting === undefined
      ? await record(gate, decided, wishes, approvals)
      : await approve(gate, waiting, wishes, approvals, existing === undefined);
  if (execution === undefined) return { execution: await raced(gate, decided, wishes), existing: true };
  gate.scheduler.enqueue(execution);
  return { execution, existing: existing !== undefined };
}

function requirementFor({ selector }: Wishes, { policy, sha256 }: PolicyDocument): Requirement {
  return { selector, policySha256: sha256, policyProfile: policy.name };
}

async function findExisting(
  gate: GateContext,
  decided: Decided,
  wishes: Wishes,
): Promise<LiveExecution | undefined> {
  if (wishes.key === undefined) return undefined;
  const found = await gate.executions.findByKey(wishes.key);
  if (found !== undefined && found.row.contract_sha256 !== decided.contractSha256) {
    throw new CscError(
      'IDEMPOTENCY_CONFLICT',
      'this idempotency key belongs to another contract: use a new key for a new contract',
    );
  }
  return found;
}

// The same key came twice at once, and the other one was first.
async function raced(gate: GateContext, decided: Decided, wishes: Wishes): Promise<LiveExecution> {
  const found = await findExisting(gate, decided, wishes);
  if (found !== undefined) return found;
  throw new CscError('STORE_UNAVAILABLE', 'the execution could not be recorded: try again', {
    retryAfterMs: 1000,
  });
}
