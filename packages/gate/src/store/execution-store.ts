import { CscError } from '@csc-fleet/common/errors';
import { ExecutionEvent } from '@csc-fleet/common/messages';
import { sql } from 'kysely';
import type { Access } from './access.ts';
import { changeExecution, findKey, insertRow } from './hot-queries.ts';
import { queries } from './node-sqlite.ts';
import type { ExecutionRow, ListedExecution, NewExecution } from './tables.ts';
import {
  chargeUsage,
  type IdempotencyKey,
  numberEvents,
  type Step,
  takeKey,
  writeStep,
} from './write-step.ts';

export interface ListQuery {
  /** Absent: of everybody. */
  readonly principal?: string;
  /** Empty: all. */
  readonly states: readonly number[];
  readonly limit: number;
  /** Only executions with a smaller number. */
  readonly before?: number;
}

/** Executions, and what happens to them. */
export interface ExecutionStore {
  /** Throws APPROVAL_INVALID where an approval is used up; resolves to false where the idempotency key is taken. */
  create(execution: NewExecution, step: Step): Promise<boolean>;
  /**
   * Resolves to the step's events, numbered on from those that are on disk: a step that failed before it leaves no gap.
   * Throws APPROVAL_INVALID likewise, and IDEMPOTENCY_CONFLICT.
   */
  advance(executionId: string, step: Step): Promise<readonly ExecutionEvent[]>;
  find(executionId: string): Promise<ExecutionRow | undefined>;
  findByKey(key: IdempotencyKey): Promise<ExecutionRow | undefined>;
  /** Of the executions of a principal whose ids begin like this, two at most. */
  findByPrefix(principal: string, prefix: string): Promise<readonly ExecutionRow[]>;
  /** The contract of an execution that is in the store, as canonical JSON. */
  contract(executionId: string): Promise<string>;
  /** Executions that have not ended, oldest first. */
  open(): Promise<ExecutionRow[]>;
  list(query: ListQuery): Promise<ListedExecution[]>;
  events(executionId: string): Promise<ExecutionEvent[]>;
}

const rowColumns = [
  'number',
  'execution_id',
  'principal',
  'state',
  'contract_id',
  'contract_sha256',
  'intent',
  'policy_profile',
  'policy_sha256',
  'decision',
  'decision_expires_at',
  'selector_json',
  'receipt_version',
  'approvals_json',
  'submission_json',
  'submission_token',
  'binding',
  'terminal_json',
  'submitted_at',
  'queue_deadline',
  'executor_id',
  'ticket_id',
  'ticket_epoch',
  'limits_json',
  'started_at',
  'ended_at',
  'exit_code',
  'error',
  'trace_context',
  'pruned_at',
] as const satisfies readonly (keyof ListedExecution)[];

const executions = () => queries.selectFrom('executions').select(rowColumns);

export function executionsIn(access: Access): ExecutionStore {
  const { sqlite } = access;
  const find = (executionId: string): Promise<ExecutionRow | undefined> =>
    access.first(executions().where('execution_id', '=', executionId));
  return {
    async create(execution: NewExecution, step: Step): Promise<boolean> {
      const isNew = await access.write(() => {
        if (!takeKey(sqlite, execution.execution_id, step.key)) return false;
        insertRow(sqlite, 'executions', execution);
        chargeUsage(sqlite, step.usage);
        writeStep(sqlite, execution.execution_id, step);
        return true;
      });
      access.audited.ring();
      return isNew;
    },
    async advance(executionId: string, step: Step): Promise<readonly ExecutionEvent[]> {
      const written = await access.write(() => {
        if (!takeKey(sqlite, executionId, step.key))
          throw new CscError('IDEMPOTENCY_CONFLICT', 'this idempotency key belongs to another execution');
        changeExecution(sqlite, executionId, step.change);
        chargeUsage(sqlite, step.usage);
        const events = numberEvents(sqlite, executionId, step.events);
        writeStep(sqlite, executionId, { ...step, events });
        return events;
      }, step.withinMs);
      if (step.audit !== undefined) access.audited.ring();
      return written;
    },
    find,
    async findByKey(key: IdempotencyKey): Promise<ExecutionRow | undefined> {
      const id = findKey(sqlite, key);
      // That nobody has it needs no disk: who takes it next writes after whatever says so.
      return id === undefined ? undefined : find(id);
    },
    findByPrefix(principal: string, prefix: string): Promise<ExecutionRow[]> {
      return access.all(
        executions()
          // Not by the index of principals: one may have a million.
          .where(sql`+principal`, '=', principal)
          .where('execution_id', '>=', prefix)
          .where('execution_id', '<', `${prefix}~`)
          .limit(2),
      );
    },
    async contract(executionId: string): Promise<string> {
      const row = await access.first(
        queries.selectFrom('executions').select('contract_json').where('execution_id', '=', executionId),
      );
      if (row === undefined) throw new CscError('INTERNAL', `the store has no execution ${executionId}`);
      return row.contract_json;
    },
    open(): Promise<ExecutionRow[]> {
      return access.all(executions().where('ended_at', 'is', null).orderBy('number'));
    },
    list({ principal, states, limit, before }: ListQuery): Promise<ListedExecution[]> {
      let all = queries.selectFrom('executions').select('number').orderBy('number', 'desc').limit(limit);
      if (principal !== undefined) all = all.where('principal', '=', principal);
      if (before !== undefined) all = all.where('number', '<', before);
      const [first = all, ...others] = states.map((state) => all.where('state', '=', state));
      // Each state has an index of its own, in order; of several at a time, all that there are would have to be sorted.
      const page = (one: typeof all) => queries.selectFrom(one.as('page')).select('number');
      const numbers = others.reduce((union, one) => union.unionAll(page(one)), page(first));
      return access.all(executions().where('number', 'in', numbers).orderBy('number', 'desc').limit(limit));
    },
    async events(executionId: string): Promise<ExecutionEvent[]> {
      const rows = await access.all(
        queries
          .selectFrom('events')
          .select('event')
          .where('execution_id', '=', executionId)
          .orderBy('sequence'),
      );
      return rows.map(({ event }) => ExecutionEvent.decode(event));
    },
  };
}
