import { createHash } from 'node:crypto';
import { parseAnyApproval } from '@csc-fleet/common/approval';
import { toBuffer, toTimestamp } from '@csc-fleet/common/encoding';
import { isRpcReason } from '@csc-fleet/common/errors';
import {
  AuditRecord,
  type ExecutionEvent,
  ExecutionState,
  type ReceiptPlace,
  Verdict,
} from '@csc-fleet/common/messages';
import type { TokenIdentity } from '@csc-fleet/common/oidc';
import type { ReceiptV02 } from '@csc-fleet/common/receipt';
import { fromStoredTrace, traceIdOf } from '@csc-fleet/common/tracing';
import type { ExecutionRow, NewAudit, StoredReceipt } from '../store/tables.ts';
import { executorName, fromStoredApprovals, toDecision } from './row.ts';

type Happening = NonNullable<ExecutionEvent['event']>;

/** What the audit tells of; docs/audit.md says what each means. */
export type AuditKind =
  | 'submission.decided'
  | 'approval.given'
  | 'approval.reviewed'
  | 'execution.started'
  | 'execution.requeued'
  | 'execution.cancel_requested'
  | 'execution.lost'
  | 'execution.returned'
  | 'execution.resolved'
  | 'execution.ended'
  | 'execution.receipt_came_late'
  | 'policies.changed'
  | 'fleet.freeze_changed'
  | 'revocations.changed';

/** One step of an execution, with its row as it is from then on. */
export interface AuditedStep {
  readonly row: ExecutionRow;
  readonly at: Date;
  readonly happened: readonly Happening[];
  readonly receipt?: StoredReceipt | undefined;
  /** Texts of approvals that come with it. Absent: none. */
  readonly approvals?: readonly Uint8Array[];
  /** The whole SPIFFE id of the executor that had it until now. */
  readonly executorBefore?: string | null;
  /** Whom the token named that it was submitted by. Absent: it was by none. */
  readonly identity?: TokenIdentity | undefined;
}

type Told = Partial<AuditRecord> & { readonly kind: AuditKind; readonly outcome: string };

// Of a text that a peer may have written.
const maxMessage = 512;

/** What of a step is to be told: one row for each thing that was decided or has happened. Pure. */
export function toAudit(step: AuditedStep): NewAudit[] {
  const approved = (step.approvals ?? []).flatMap(tellApproval);
  return [...step.happened.flatMap((it) => tell(it, step)), ...approved].map((it) => ofExecution(it, step));
}

// Each by itself, so that whoever looks for one person finds what that person agreed to.
function tellApproval(text: Uint8Array): Told[] {
  const approval = parseAnyApproval(text);
  // Those that do not parse were never stored.
  if (!approval.ok) return [];
  const { value } = approval;
  const actor = value.artifact.approver.identity;
  const told = { kind: 'approval.given' as const, actor, approvers: [actor] };
  if (value.kind === 'unsigned') return [{ ...told, outcome: 'approve', message: 'unsigned' }];
  const outcome = value.kind === 'break_glass' ? 'break_glass' : 'approve';
  const { group } = value.artifact;
  return [{ ...told, outcome, message: `as a member of ${group}` }];
}

function tell(happening: Happening, { row, receipt, executorBefore = null, identity }: AuditedStep): Told[] {
  switch (happening.$case) {
    case 'decided': {
      const { verdict = Verdict.UNSPECIFIED, reasonCodes = [] } = happening.value.decision ?? {};
      const outcome = nameOf(Verdict, verdict);
      const message = reasonCodes.join(', ');
      return [{ kind: 'submission.decided', outcome, actor: row.principal, message, token: identity }];
    }
    case 'started':
      return [{ kind: 'execution.started', outcome: 'running', actor: row.executor_id ?? '' }];
    case 'queued':
      // With its first place in the queue nothing is decided.
      if (executorBefore === null) return [];
      return [
        {
          kind: 'execution.requeued',
          outcome: 'queued',
          actor: executorBefore,
          executorId: executorName(executorBefore),
          message: codesIn(happening.value.reason),
        },
      ];
    case 'reviewed': {
      const { approver, verdict, group } = happening.value;
      const message = `as a member of ${group}`;
      return [
        { kind: 'approval.reviewed', outcome: verdict, actor: approver, approvers: [approver], message },
      ];
    }
    case 'cancelling':
      return [
        { kind: 'execution.cancel_requested', outcome: 'cancelling', actor: happening.value.principal },
      ];
    case 'returned':
      return [{ kind: 'execution.returned', outcome: 'running', actor: row.executor_id ?? '' }];
    case 'finished': {
      const outcome = nameOf(ExecutionState, row.state);
      if (happening.value.resolutionsJson.length > 0)
        return [{ kind: 'execution.resolved', outcome, actor: 'owners', message: row.error }];
      if (row.state === ExecutionState.LOST) return [{ kind: 'execution.lost', outcome, message: row.error }];
      return [
        {
          kind: 'execution.ended',
          outcome,
          actor: row.executor_id ?? '',
          message: whyEnded(row),
          receiptSha256: receipt === undefined ? '' : sha256(receipt.receiptJson),
          receiptPlace: receipt === undefined ? undefined : placeOf(receipt),
          ...(row.exit_code === null ? {} : { exitCode: row.exit_code }),
          approvers: approversOf(fromStoredApprovals(row.approvals_json)),
        },
      ];
    }
    default:
      return [];
  }
}

/** That a receipt came which is only kept beside what counts, as the owners have resolved it or another has it. Pure. */
export function auditOfLateReceipt(
  row: ExecutionRow,
  at: Date,
  { executor, receiptJson, state, exitCode }: LateReceipt,
): NewAudit {
  const told: Told = {
    kind: 'execution.receipt_came_late',
    outcome: nameOf(ExecutionState, state),
    actor: executor,
    executorId: executorName(executor),
    receiptSha256: sha256(receiptJson),
    receiptPlace: placeOf({ receiptJson }),
    ...(exitCode === undefined ? {} : { exitCode }),
  };
  return ofExecution(told, { row, at });
}

/** A receipt that came late, verified, with the state that it would have led to. */
export interface LateReceipt {
  /** The whole SPIFFE id of who brought it. */
  readonly executor: string;
  readonly receiptJson: Uint8Array;
  readonly state: number;
  /** Absent: it has none. */
  readonly exitCode?: number | undefined;
}

// Whoever reads the audit is not told what stood in the contract, as texts for its submitter may tell: codes are enough.
function whyEnded(row: AuditedStep['row']): string {
  if (row.executor_id !== null || row.state === ExecutionState.BLOCKED) {
    const decision = toDecision(row);
    return decision.verdict === Verdict.DENY ? decision.reasonCodes.join(', ') : codesIn(row.error);
  }
  return row.error;
}

// Those of docs/errors.md.
function codesIn(text: string): string {
  return [...new Set(text.match(/\b[A-Z][A-Z_]{2,39}\b/g) ?? [])].filter(isRpcReason).join(', ');
}

function ofExecution(told: Told, { row, at }: Pick<AuditedStep, 'row' | 'at'>): NewAudit {
  const { executorId = executorName(row.executor_id) } = told;
  const trace = fromStoredTrace(row.trace_context);
  const record = AuditRecord.fromPartial({
    executionId: row.execution_id,
    principal: row.principal,
    contractId: row.contract_id,
    contractSha256: row.contract_sha256,
    policyProfile: row.policy_profile,
    policySha256: row.policy_sha256,
    traceId: trace === undefined ? '' : traceIdOf(trace),
    ...told,
    executorId,
    message: (told.message ?? '').slice(0, maxMessage),
    at,
  });
  return {
    at: toTimestamp(at),
    kind: told.kind,
    execution_id: row.execution_id,
    principal: row.principal,
    executor_id: executorId === '' ? null : executorId,
    policy_profile: row.policy_profile,
    outcome: told.outcome,
    record: AuditRecord.encode(record).finish(),
  };
}

/** What is about no execution: what the owners have changed. */
export function auditOfOwners(at: Date, told: Told): NewAudit {
  const record = AuditRecord.fromPartial({ actor: 'owners', ...told, at });
  const empty = { execution_id: null, principal: null, executor_id: null, policy_profile: null };
  const { kind, outcome } = told;
  return { at: toTimestamp(at), kind, ...empty, outcome, record: AuditRecord.encode(record).finish() };
}

// Those that do not parse were never stored.
function approversOf(texts: readonly Uint8Array[]): string[] {
  const found = texts.flatMap((it) => {
    const approval = parseAnyApproval(it);
    return approval.ok ? [approval.value.artifact.approver.identity] : [];
  });
  return [...new Set(found)];
}

function nameOf(names: Readonly<Record<string, number>>, value: number): string {
  return (
    Object.keys(names)
      .find((it) => names[it] === value)
      ?.toLowerCase() ?? 'unknown'
  );
}

/**
 * Where a receipt stands, as it says itself; it was verified before, or is the gate's own. Of two forms, the original stands
 * in the chain.
 */
function placeOf({
  receiptJson,
  originalJson = new Uint8Array(),
}: {
  readonly receiptJson: Uint8Array;
  readonly originalJson?: Uint8Array;
}): ReceiptPlace {
  const chained = originalJson.length > 0 ? originalJson : receiptJson;
  const { executor_id, executor_epoch, sequence } = JSON.parse(
    toBuffer(chained).toString(),
  ) as Partial<ReceiptV02>;
  return {
    receiptSha256: sha256(chained),
    executor: executor_id ?? '',
    epoch: executor_epoch ?? '',
    sequence: sequence ?? 0,
  };
}

function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}
