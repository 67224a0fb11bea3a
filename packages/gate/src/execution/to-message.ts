import { Decision, type Execution, type ExecutionState } from '@csc-fleet/common/messages';
import type { ExecutionRow } from '../store/tables.ts';
import { executorName } from './executor-name.ts';

/** The wire's form of a row. */
export function toExecution(row: ExecutionRow): Execution {
  const date = (text: string | null): Date | undefined => (text === null ? undefined : new Date(text));
  return {
    executionId: row.execution_id,
    state: row.state as ExecutionState,
    contractId: row.contract_id,
    contractSha256: row.contract_sha256,
    policyProfile: row.policy_profile,
    principal: row.principal,
    executorId: executorName(row.executor_id),
    submittedAt: date(row.submitted_at),
    startedAt: date(row.started_at),
    endedAt: date(row.ended_at),
    exitCode: row.exit_code ?? undefined,
    error: row.error,
    intent: row.intent,
  };
}

export function toDecision(row: ExecutionRow): Decision {
  return Decision.decode(row.decision);
}
