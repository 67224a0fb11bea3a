import { CscError } from '@csc-fleet/common/errors';
import type { ExecutionEvent } from '@csc-fleet/common/messages';
import { Signal } from '@csc-fleet/common/service';
import type { Store } from './store.ts';
import type {
  AuditRow,
  ChainHeadRow,
  ExecutorRow,
  KeyRow,
  ListedExecution,
  NewAudit,
  NewExecution,
  StoredReceipt,
  WithdrawnOffer,
} from './tables.ts';
import type { IdempotencyKey, Step } from './write-step.ts';

interface Kept {
  readonly row: ListedExecution;
  readonly contract: string;
  readonly events: ExecutionEvent[];
  receipt?: StoredReceipt;
  readonly withdrawn: Withdrawn[];
}

interface Withdrawn extends WithdrawnOffer {
  receiptJson?: Buffer;
}

/**
 * A store for a gate that ends with its process, as that of `csc run`: what it holds is gone with it, and so nothing is
 * forgotten before, and what is stored in a day is not counted. Each step is done whole or not at all, as on disk.
 */
export function createMemoryStore(): Store {
  const executions = new Map<string, Kept>();
  const byKey = new Map<string, string>();
  const approvalsUsed = new Set<string>();
  const keys: KeyRow[] = [];
  const heads = new Map<string, ChainHeadRow>();
  const seen = new Map<string, ExecutorRow>();
  const audit: AuditRow[] = [];
  const audited = new Signal();

  const rows = (wanted: (row: ListedExecution) => boolean): ListedExecution[] =>
    [...executions.values()].flatMap(({ row }) => (wanted(row) ? [{ ...row }] : []));

  const addAudit = (records: readonly NewAudit[]): void => {
    for (const { execution_id = null, principal = null, executor_id = null, ...rest } of records)
      audit.push({
        policy_profile: null,
        execution_id,
        principal,
        executor_id,
        ...rest,
        sequence: audit.length + 1,
      });
    audited.ring();
  };

  // Throws before anything is changed.
  const check = (step: Step, kept?: Kept): void => {
    const used = step.approvals?.find((id) => approvalsUsed.has(id));
    if (used !== undefined)
      throw new CscError('APPROVAL_INVALID', `the approval ${used} was used up by another execution`);
    if (step.receipt !== undefined && kept?.receipt !== undefined)
      throw new CscError('INTERNAL', 'an execution has one receipt');
  };

  const apply = (kept: Kept, step: Step): readonly ExecutionEvent[] => {
    Object.assign(kept.row, step.change);
    const before = kept.events.length;
    const events = step.events.map((event, index) => ({ ...event, sequence: before + index + 1 }));
    kept.events.push(...events);
    for (const id of step.approvals ?? []) approvalsUsed.add(id);
    if (step.key !== undefined) byKey.set(nameOf(step.key), kept.row.execution_id);
    if (step.withdrawn !== undefined) kept.withdrawn.push({ ...step.withdrawn });
    if (step.receipt !== undefined) kept.receipt = step.receipt;
    if (step.audit !== undefined) addAudit(step.audit);
    return events;
  };

  const existing = (executionId: string): Kept => {
    const kept = executions.get(executionId);
    if (kept === undefined) throw new CscError('INTERNAL', `the store has no execution ${executionId}`);
    return kept;
  };

  return {
    create: async (execution, step) => {
      if (step.key !== undefined && byKey.has(nameOf(step.key))) return false;
      check(step);
      const kept = toKept(execution, executions.size + 1);
      executions.set(execution.execution_id, kept);
      apply(kept, step);
      return true;
    },
    advance: async (executionId, step) => {
      const kept = existing(executionId);
      if (step.key !== undefined && byKey.has(nameOf(step.key)))
        throw new CscError('IDEMPOTENCY_CONFLICT', 'this idempotency key belongs to another execution');
      check(step, kept);
      return apply(kept, step);
    },
    find: async (executionId) => rows(({ execution_id }) => execution_id === executionId)[0],
    findByKey: async (key) => rows(({ execution_id }) => execution_id === byKey.get(nameOf(key)))[0],
    findByPrefix: async (principal, prefix) =>
      rows((row) => row.principal === principal && row.execution_id.startsWith(prefix)).slice(0, 2),
    contract: async (executionId) => existing(executionId).contract,
    open: async () => rows(({ ended_at }) => ended_at === null),
    list: async ({ principal, states, limit, before = Number.POSITIVE_INFINITY }) =>
      rows(
        (row) =>
          (principal === undefined || row.principal === principal) &&
          (states.length === 0 || states.includes(row.state)) &&
          row.number < before,
      )
        .reverse()
        .slice(0, limit),
    events: async (executionId) => [...(executions.get(executionId)?.events ?? [])],
    receipt: async (executionId) => executions.get(executionId)?.receipt,
    withdrawnTickets: async (executionId, executorId) =>
      (executions.get(executionId)?.withdrawn ?? [])
        .filter(({ executor_id }) => executor_id === executorId)
        .map(({ ticket_id }) => ticket_id)
        .reverse(),
    addLateReceipt: async (executionId, { ticket_id, executor_id }, receiptJson, late) => {
      const { withdrawn } = existing(executionId);
      const known = withdrawn.find((it) => it.ticket_id === ticket_id);
      if (known?.receiptJson !== undefined) return known.receiptJson.equals(receiptJson);
      const kept = Buffer.from(receiptJson);
      if (known === undefined) withdrawn.push({ ticket_id, executor_id, receiptJson: kept });
      else known.receiptJson = kept;
      if (late !== undefined) addAudit([late]);
      return true;
    },
    lateReceipt: async (executionId, holder) => {
      const late = (executions.get(executionId)?.withdrawn ?? []).filter(
        (it) => it.receiptJson !== undefined,
      );
      const { receiptJson } = late.find(({ executor_id }) => executor_id === holder) ?? late[0] ?? {};
      return receiptJson && { receiptJson, originalJson: Buffer.alloc(0) };
    },
    keys: async () => [...keys],
    addKey: async (key) => {
      keys.push(key);
    },
    chainHeads: async (executorId) => [...heads.values()].filter((head) => head.executor_id === executorId),
    keepChainHead: async (head) => {
      heads.set(JSON.stringify([head.executor_id, head.epoch]), head);
    },
    whole: async () => [],
    strip: async () => {},
    forgettable: async () => [],
    forget: async () => {},
    usedBytes: async () => 0,
    keepExecutor: async (executor) => {
      seen.set(executor.executor_id, executor);
    },
    executors: async (limit) =>
      [...seen.values()].toSorted((a, b) => (a.seen_at < b.seen_at ? 1 : -1)).slice(0, limit),
    auditAfter: async (after, { since = '', until, ...wanted }) => {
      const isWanted = (row: AuditRow): boolean =>
        (['principal', 'executor_id', 'policy_profile', 'outcome'] as const).every(
          (column) => wanted[column] === undefined || row[column] === wanted[column],
        ) &&
        row.at >= since &&
        (until === undefined || row.at < until);
      const newer = audit.slice(after);
      return { rows: newer.filter(isWanted), lookedUpTo: Math.max(after, audit.length), isEnd: true };
    },
    auditBefore: async (since = '') => {
      const first = audit.findIndex(({ at }) => at >= since);
      return first < 0 ? audit.length : first;
    },
    auditLast: async () => audit.length,
    lastOfOwners: async (kind) => audit.findLast((row) => row.kind === kind && row.execution_id === null),
    addAudit: async (records) => addAudit(records),
    receiptRecords: async (executionId) =>
      audit.flatMap(({ execution_id, kind, sequence }) =>
        execution_id === executionId && /^execution\.(ended|receipt_came_late)$/.test(kind) ? [sequence] : [],
      ),
    skipAudit: async () => {},
    pruneAudit: async () => 0,
    audited: (abort) => audited.wait(abort),
    close: async () => {},
  };
}

function toKept({ contract_json: contract, ...given }: NewExecution, number: number): Kept {
  const row = { ...given, number, decision: new Uint8Array(given.decision) };
  return { row, contract, events: [], withdrawn: [] };
}

function nameOf({ principal, idempotency_key }: IdempotencyKey): string {
  return JSON.stringify([principal, idempotency_key]);
}
