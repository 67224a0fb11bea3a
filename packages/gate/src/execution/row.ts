import { Decision, type Execution, ExecutionState } from '@csc-fleet/common/messages';
import type { ExecutionRow } from '../store/tables.ts';
import { wantsBinding } from './submission-of.ts';

// What the row of an execution says, and how it is said to others.

const terminal: ReadonlySet<number> = new Set([
  ExecutionState.SUCCEEDED,
  ExecutionState.FAILED,
  ExecutionState.BLOCKED,
  ExecutionState.EXPIRED,
  ExecutionState.CANCELLED,
  ExecutionState.LOST,
]);

/** True where nothing more will happen; a LOST execution goes on where its executor comes back with it. */
export function isTerminal(state: number): boolean {
  return terminal.has(state);
}

/**
 * What an executor calls itself, and is called in tickets, receipts, events and answers: the NAME of its SPIFFE id. The
 * store has the whole id, as two trust domains may have a host of one name each. Empty for null: not placed.
 */
export function executorName(uri: string | null): string {
  return uri === null ? '' : uri.slice(uri.lastIndexOf('/') + 1);
}

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
    ...(hasBrokenGlass(row) ? { glassBroken: true } : {}),
    ...(!isTerminal(row.state) && wantsBinding(row) ? { mustNameHost: true } : {}),
  };
}

// Where the texts are not read: in what a person has written, a quotation mark has more before it.
const glass = /[{,]\\"break_glass_version\\":/;

/** True where a break-glass stands in for its approvals. */
function hasBrokenGlass({ approvals_json: texts }: Pick<ExecutionRow, 'approvals_json'>): boolean {
  return glass.test(texts);
}

/** The decision that it was recorded with. */
export function toDecision(row: ExecutionRow): Decision {
  return Decision.decode(row.decision);
}

/** The approvals of an execution as one column: a JSON array of their texts. */
export function toStoredApprovals(approvals: readonly Buffer[]): string {
  return JSON.stringify(approvals.map((it) => it.toString('utf8')));
}

export function fromStoredApprovals(text: string): Buffer[] {
  return (JSON.parse(text) as string[]).map((it) => Buffer.from(it, 'utf8'));
}
