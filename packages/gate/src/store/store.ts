import { dirname } from 'node:path';
import { Commits, type SyncFile, WriteAheadLog } from '@csc-fleet/common/database';
import { CscError, isCscError } from '@csc-fleet/common/errors';
import { makeDirectory } from '@csc-fleet/common/files';
import { ExecutionEvent } from '@csc-fleet/common/messages';
import { Signal } from '@csc-fleet/common/service';
import { type Compilable, type CompiledQuery, Kysely, sql } from 'kysely';
import { changeExecution, findKey, insertRow } from './hot-queries.ts';
import { migrate } from './migrations.ts';
import { lockTimeoutMs, NodeSqlite, queries, TransactionalDialect } from './node-sqlite.ts';
import { isStoreBusy, toStoreError, whyRefused } from './store-error.ts';
import type {
  AuditRow,
  ChainHeadRow,
  ExecutionRow,
  ExecutorRow,
  KeyRow,
  NewAudit,
  NewExecution,
  StoredReceipt,
  Tables,
  WithdrawnOffer,
} from './tables.ts';
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

/** Which audit records are wanted. Absent members: all. */
export interface AuditQuery {
  readonly principal?: string;
  /** The NAME of its SPIFFE id. */
  readonly executor_id?: string;
  readonly policy_profile?: string;
  readonly outcome?: string;
  /** RFC 3339 */
  readonly since?: string;
  readonly until?: string;
}

/** Audit records found among those that were looked at. */
export interface AuditPage {
  readonly rows: readonly AuditRow[];
  /** The number of the last one that was looked at; where there are none yet, the one from which it was. */
  readonly lookedUpTo: number;
  /** There is nothing newer. */
  readonly isEnd: boolean;
}

/**
 * What the gate knows and must still know after it was killed. Every write is on disk before it resolves, and fails
 * with STORE_UNAVAILABLE where it cannot be.
 */
export interface Store {
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
  list(query: ListQuery): Promise<ExecutionRow[]>;
  events(executionId: string): Promise<ExecutionEvent[]>;
  receipt(executionId: string): Promise<StoredReceipt | undefined>;
  /** The tickets of this execution's offers that were withdrawn from this executor, the last first. */
  withdrawnTickets(executionId: string, executorId: string): Promise<readonly string[]>;
  /**
   * Keeps a receipt that does not count for a ticket, and that it came; of several, the first. Resolves to false where another
   * is kept.
   */
  addLateReceipt(
    executionId: string,
    offer: WithdrawnOffer,
    receiptJson: Uint8Array,
    audit?: NewAudit,
  ): Promise<boolean>;
  /**
   * Of these, the one that the executor which has the execution has signed; of others, whose offers were taken back before,
   * the first.
   */
  lateReceipt(executionId: string, holder: string): Promise<StoredReceipt | undefined>;
  keys(): Promise<KeyRow[]>;
  addKey(key: KeyRow): Promise<void>;
  /** The newest chain head of each epoch of an executor, the newest epoch last. */
  chainHeads(executorId: string): Promise<readonly ChainHeadRow[]>;
  /** Puts it in the place of the one of the same epoch; of many epochs, the oldest are forgotten. */
  keepChainHead(head: ChainHeadRow): Promise<void>;
  /** Executions that have ended, with all that was kept of them, oldest submission first: those with greater numbers. */
  whole(after: number, limit: number): Promise<readonly WholeExecution[]>;
  /** Leaves of ended executions what receipts are found and read by. */
  strip(executionIds: readonly string[], at: string): Promise<void>;
  /** Stripped executions that ended before, those that ended first first: those after one. */
  forgettable(endedBefore: string, limit: number, after?: Forgettable): Promise<readonly Forgettable[]>;
  /** Forgets them, but for the approvals that they have used up. */
  forget(executionIds: readonly string[]): Promise<void>;
  /** Bytes of the database that hold something. */
  usedBytes(): Promise<number>;
  /** Puts it in the place of what was kept of the same executor. */
  keepExecutor(executor: ExecutorRow, withinMs: number): Promise<void>;
  /** Those that were seen last. */
  executors(limit: number): Promise<readonly ExecutorRow[]>;
  /**
   * Audit records with numbers greater than this one, in order. Looks at a bounded number of them, however few of them
   * are wanted.
   */
  auditAfter(sequence: number, query: AuditQuery): Promise<AuditPage>;
  /** The number before the oldest audit record that is kept, or that is from this moment on; 0 where there are none. */
  auditBefore(since?: string): Promise<number>;
  /** The number of the newest audit record there ever was; 0: there was none. */
  auditLast(): Promise<number>;
  /** The newest audit record of this kind that is about no execution. */
  lastOfOwners(kind: string): Promise<AuditRow | undefined>;
  addAudit(rows: readonly NewAudit[]): Promise<void>;
  /** The numbers of the audit records that tell of a receipt of this execution, in order. */
  receiptRecords(executionId: string): Promise<readonly number[]>;
  /** No audit record gets this number or one before it from now on, as another store has given them. */
  skipAudit(sequence: number): Promise<void>;
  /** Forgets audit records from before this moment, so many at most; gives how many. */
  pruneAudit(before: string, limit: number): Promise<number>;
  /** Resolves when there may be new audit records. */
  audited(abort: AbortSignal): Promise<void>;
  close(): Promise<void>;
}

/** Who wants to know how the store fares. */
export interface StoreWatcher {
  /** A write failed in a way that no later one gets over: the process must end, and start again from the disk. */
  readonly onLost?: (error: CscError) => void;
  /** The first write that failed since one succeeded, for example as the disk is full: it goes on when that is over. */
  readonly onTrouble?: (error: CscError) => void;
  /** The first write that succeeded since. */
  readonly onRecovered?: () => void;
}

/**
 * Opens or creates the gate's SQLite database. Throws STORE_UNAVAILABLE, also for one that is damaged.
 * @param sync for tests: what puts what was committed on disk
 */
export async function openStore(path: string, watcher: StoreWatcher = {}, sync?: SyncFile): Promise<Store> {
  try {
    makeDirectory(dirname(path), { mode: 0o700 });
    const sqlite = new NodeSqlite(path, undefined, (error) => watcher.onLost?.(error));
    try {
      await migrate(new Kysely<Tables>({ dialect: new TransactionalDialect({ database: sqlite }) }));
      const { database, hadLog: wasThere, isShared } = sqlite;
      const log = new WriteAheadLog(database, path, { wasThere, isShared, sync });
      return new SqlStore(sqlite, log, watcher);
    } catch (error) {
      sqlite.close();
      throw error;
    }
  } catch (cause) {
    if (isCscError(cause, 'STORE_UNAVAILABLE')) throw cause;
    throw new CscError(
      'STORE_UNAVAILABLE',
      `the store ${path} cannot be opened: ${whyRefused(cause) ?? 'does another gate use it, or is the disk full or read-only?'}`,
      { cause },
    );
  }
}

function watchOutcomes({ onLost, onTrouble, onRecovered }: StoreWatcher): (error?: unknown) => void {
  let troubled = false;
  return (cause) => {
    if (cause === undefined) {
      if (troubled) onRecovered?.();
      troubled = false;
      return;
    }
    const error = toStoreError(cause);
    if (!isStoreBusy(error)) onLost?.(error);
    else if (!troubled) onTrouble?.(error);
    troubled = true;
  };
}

const rowColumns = [
  ...(['number', 'execution_id', 'principal', 'state', 'contract_id', 'contract_sha256', 'intent'] as const),
  ...(['policy_profile', 'policy_sha256', 'decision', 'decision_expires_at', 'selector_json'] as const),
  ...([
    'receipt_version',
    'approvals_json',
    'submission_json',
    'submission_token',
    'terminal_json',
    'binding',
    'submitted_at',
    'queue_deadline',
    'executor_id',
  ] as const),
  ...([
    'ticket_id',
    'ticket_epoch',
    'limits_json',
    'started_at',
    'ended_at',
    'exit_code',
    'error',
    'pruned_at',
  ] as const),
  'trace_context' as const,
];

/** What may be pruned of an execution. */
export interface WholeExecution {
  readonly number: number;
  readonly execution_id: string;
  readonly ended_at: string;
  /** About what goes of its row and events. */
  readonly bytes: number;
}

/** What may be forgotten. */
export type Forgettable = Pick<WholeExecution, 'number' | 'execution_id' | 'ended_at'>;

// Its end is the first event then, and the last.
function keepEnd(sqlite: NodeSqlite, executionId: string): void {
  const ofIt = queries.selectFrom('events').where('execution_id', '=', executionId);
  const [last] = sqlite.all(ofIt.select('event').orderBy('sequence', 'desc').limit(1));
  sqlite.run(queries.deleteFrom('events').where('execution_id', '=', executionId));
  if (last === undefined) return;
  const event = ExecutionEvent.encode({ ...ExecutionEvent.decode(last.event), sequence: 1 }).finish();
  insertRow(sqlite, 'events', { execution_id: executionId, sequence: 1, event });
}

// Of one executor: it could fill the store with them otherwise.
const maxEpochs = 16;

// Of audit records that are looked at in one go: nothing else is done meanwhile.
const auditWindow = 500;

const executions = () => queries.selectFrom('executions').select(rowColumns);

/** What commits here and syncs elsewhere: see WriteAheadLog. What it answers is on disk. */
class SqlStore implements Store {
  readonly #sqlite: NodeSqlite;
  readonly #log: WriteAheadLog;
  readonly #commits: Commits;
  readonly #audited = new Signal();

  constructor(sqlite: NodeSqlite, log: WriteAheadLog, watcher: StoreWatcher) {
    this.#sqlite = sqlite;
    this.#log = log;
    this.#commits = new Commits(sqlite.database, log, {
      toError: toStoreError,
      onOutcome: watchOutcomes(watcher),
      onLost: (error) => watcher.onLost?.(error),
      busyTimeoutMs: lockTimeoutMs,
    });
  }

  async create(execution: NewExecution, step: Step): Promise<boolean> {
    const sqlite = this.#sqlite;
    const isNew = await this.#commits.run(() => {
      if (!takeKey(sqlite, execution.execution_id, step.key)) return false;
      insertRow(sqlite, 'executions', execution);
      chargeUsage(sqlite, step.usage);
      writeStep(sqlite, execution.execution_id, step);
      return true;
    });
    this.#audited.ring();
    return isNew;
  }

  async advance(executionId: string, step: Step): Promise<readonly ExecutionEvent[]> {
    const sqlite = this.#sqlite;
    const written = await this.#commits.run(() => {
      if (!takeKey(sqlite, executionId, step.key))
        throw new CscError('IDEMPOTENCY_CONFLICT', 'this idempotency key belongs to another execution');
      changeExecution(sqlite, executionId, step.change);
      chargeUsage(sqlite, step.usage);
      const events = numberEvents(sqlite, executionId, step.events);
      writeStep(sqlite, executionId, { ...step, events });
      return events;
    }, step.withinMs);
    if (step.audit !== undefined) this.#audited.ring();
    return written;
  }

  find(executionId: string): Promise<ExecutionRow | undefined> {
    return this.#first(executions().where('execution_id', '=', executionId));
  }

  async findByKey(key: IdempotencyKey): Promise<ExecutionRow | undefined> {
    const id = findKey(this.#sqlite, key);
    // That nobody has it needs no disk: who takes it next writes after whatever says so.
    return id === undefined ? undefined : this.find(id);
  }

  async contract(executionId: string): Promise<string> {
    const row = await this.#first(
      queries.selectFrom('executions').select('contract_json').where('execution_id', '=', executionId),
    );
    if (row === undefined) throw new CscError('INTERNAL', `the store has no execution ${executionId}`);
    return row.contract_json;
  }

  open(): Promise<ExecutionRow[]> {
    return this.#all(executions().where('ended_at', 'is', null).orderBy('number'));
  }

  list({ principal, states, limit, before }: ListQuery): Promise<ExecutionRow[]> {
    let all = queries.selectFrom('executions').select('number').orderBy('number', 'desc').limit(limit);
    if (principal !== undefined) all = all.where('principal', '=', principal);
    if (before !== undefined) all = all.where('number', '<', before);
    const [first = all, ...others] = states.map((state) => all.where('state', '=', state));
    // Each state has an index of its own, in order; of several at a time, all that there are would have to be sorted.
    const page = (one: typeof all) => queries.selectFrom(one.as('page')).select('number');
    const numbers = others.reduce((union, one) => union.unionAll(page(one)), page(first));
    return this.#all(executions().where('number', 'in', numbers).orderBy('number', 'desc').limit(limit));
  }

  async events(executionId: string): Promise<ExecutionEvent[]> {
    const rows = await this.#all(
      queries
        .selectFrom('events')
        .select('event')
        .where('execution_id', '=', executionId)
        .orderBy('sequence'),
    );
    return rows.map(({ event }) => ExecutionEvent.decode(event));
  }

  async receipt(executionId: string): Promise<StoredReceipt | undefined> {
    const row = await this.#first(
      queries
        .selectFrom('receipts')
        .select(['receipt_json', 'original_json'])
        .where('execution_id', '=', executionId),
    );
    if (row === undefined) return undefined;
    return { receiptJson: Buffer.from(row.receipt_json), originalJson: Buffer.from(row.original_json ?? []) };
  }

  async withdrawnTickets(executionId: string, executorId: string): Promise<readonly string[]> {
    const rows = await this.#all(
      queries
        .selectFrom('withdrawn_offers')
        .select('ticket_id')
        .where('execution_id', '=', executionId)
        .where('executor_id', '=', executorId)
        .orderBy(sql`rowid`, 'desc'),
    );
    return rows.map((row) => row.ticket_id);
  }

  async addLateReceipt(
    executionId: string,
    offer: WithdrawnOffer,
    receiptJson: Uint8Array,
    audit?: NewAudit,
  ): Promise<boolean> {
    const sqlite = this.#sqlite;
    const isKept = await this.#commits.run(() => {
      const written = sqlite.run(
        queries
          .insertInto('withdrawn_offers')
          .values({ ...offer, execution_id: executionId, receipt_json: receiptJson })
          .onConflict((it) =>
            it
              .column('ticket_id')
              .doUpdateSet({ receipt_json: receiptJson })
              .where('withdrawn_offers.receipt_json', 'is', null),
          ),
      );
      if (audit !== undefined && written > 0) insertRow(sqlite, 'audit', audit);
      return written > 0 || isLateReceipt(sqlite, offer, receiptJson);
    });
    this.#audited.ring();
    return isKept;
  }

  async lateReceipt(executionId: string, holder: string): Promise<StoredReceipt | undefined> {
    const row = await this.#first(
      queries
        .selectFrom('withdrawn_offers')
        .select('receipt_json')
        .where('execution_id', '=', executionId)
        .where('receipt_json', 'is not', null)
        .orderBy(sql`executor_id <> ${holder}`)
        .orderBy(sql`rowid`)
        .limit(1),
    );
    if (row?.receipt_json == null) return undefined;
    return { receiptJson: Buffer.from(row.receipt_json), originalJson: Buffer.alloc(0) };
  }

  keys(): Promise<KeyRow[]> {
    return this.#all(queries.selectFrom('keys').selectAll());
  }

  addKey(key: KeyRow): Promise<void> {
    return this.#commits.run(() => void insertRow(this.#sqlite, 'keys', key));
  }

  chainHeads(executorId: string): Promise<ChainHeadRow[]> {
    return this.#all(
      queries.selectFrom('chain_heads').selectAll().where('executor_id', '=', executorId).orderBy(sql`rowid`),
    );
  }

  async keepChainHead({ executor_id, epoch, ...rest }: ChainHeadRow): Promise<void> {
    const sqlite = this.#sqlite;
    await this.#commits.run(() => {
      sqlite.run(
        queries
          .insertInto('chain_heads')
          .values({ executor_id, epoch, ...rest })
          .onConflict((it) => it.columns(['executor_id', 'epoch']).doUpdateSet(rest)),
      );
      const newest = queries
        .selectFrom('chain_heads')
        .select(sql`rowid`.as('rowid'))
        .where('executor_id', '=', executor_id)
        .orderBy(sql`rowid`, 'desc')
        .limit(maxEpochs);
      sqlite.run(
        queries
          .deleteFrom('chain_heads')
          .where('executor_id', '=', executor_id)
          .where(sql`rowid`, 'not in', newest),
      );
    });
  }

  whole(after: number, limit: number): Promise<WholeExecution[]> {
    return this.#all(
      sql<WholeExecution>`SELECT number, execution_id, ended_at,
      length(contract_json) + length(approvals_json) + coalesce(length(submission_json), 0) +
        coalesce((SELECT sum(length(event)) FROM events WHERE events.execution_id = executions.execution_id), 0) AS bytes
      FROM executions WHERE ended_at IS NOT NULL AND pruned_at IS NULL AND number > ${after}
      ORDER BY number LIMIT ${limit}`.compile(queries),
    );
  }

  async strip(executionIds: readonly string[], at: string): Promise<void> {
    const sqlite = this.#sqlite;
    await this.#commits.run(() => {
      const nothing = { contract_json: '', approvals_json: '[]', submission_json: null };
      const change = { ...nothing, submission_token: null, pruned_at: at };
      sqlite.run(queries.updateTable('executions').set(change).where('execution_id', 'in', executionIds));
      for (const id of executionIds) keepEnd(sqlite, id);
    });
  }

  forgettable(endedBefore: string, limit: number, after?: Forgettable): Promise<Forgettable[]> {
    const { ended_at, number } = after ?? { ended_at: '', number: 0 };
    return this.#all(
      queries
        .selectFrom('executions')
        .select(['execution_id', 'ended_at', 'number'])
        .where('pruned_at', 'is not', null)
        .where('ended_at', '<', endedBefore)
        .where(sql<boolean>`(ended_at, number) > (${ended_at}, ${number})`)
        .orderBy('ended_at')
        .orderBy('number')
        .limit(limit)
        .$narrowType<{ ended_at: string }>(),
    );
  }

  async forget(executionIds: readonly string[]): Promise<void> {
    if (executionIds.length === 0) return;
    await this.#commits.run(() => {
      for (const table of [
        'events',
        'receipts',
        'idempotency_keys',
        'withdrawn_offers',
        'executions',
      ] as const)
        this.#sqlite.run(queries.deleteFrom(table).where('execution_id', 'in', executionIds));
    });
  }

  async usedBytes(): Promise<number> {
    const found = await this.#first(
      sql<{ bytes: number }>`SELECT (page_count - freelist_count) * page_size AS bytes
      FROM pragma_page_count, pragma_freelist_count, pragma_page_size`.compile(queries),
    );
    return found?.bytes ?? 0;
  }

  async keepExecutor({ executor_id, ...rest }: ExecutorRow, withinMs: number): Promise<void> {
    const query = queries
      .insertInto('executors')
      .values({ executor_id, ...rest })
      .onConflict((it) => it.column('executor_id').doUpdateSet(rest));
    await this.#commits.run(() => this.#sqlite.run(query), withinMs);
  }

  executors(limit: number): Promise<ExecutorRow[]> {
    return this.#all(queries.selectFrom('executors').selectAll().orderBy('seen_at', 'desc').limit(limit));
  }

  findByPrefix(principal: string, prefix: string): Promise<ExecutionRow[]> {
    return this.#all(
      executions()
        // Not by the index of principals: one may have a million.
        .where(sql`+principal`, '=', principal)
        .where('execution_id', '>=', prefix)
        .where('execution_id', '<', `${prefix}~`)
        .limit(2),
    );
  }

  async auditAfter(after: number, query: AuditQuery): Promise<AuditPage> {
    const window = queries.selectFrom('audit').where('sequence', '>', after).orderBy('sequence');
    const looked = await this.#all(window.select('sequence').limit(auditWindow));
    const lookedUpTo = looked.at(-1)?.sequence ?? after;
    let wanted = window.selectAll().where('sequence', '<=', lookedUpTo);
    for (const column of ['principal', 'executor_id', 'policy_profile', 'outcome'] as const) {
      const value = query[column];
      if (value !== undefined) wanted = wanted.where(column, '=', value);
    }
    if (query.since !== undefined) wanted = wanted.where('at', '>=', query.since);
    if (query.until !== undefined) wanted = wanted.where('at', '<', query.until);
    return { rows: await this.#all(wanted), lookedUpTo, isEnd: looked.length < auditWindow };
  }

  async auditBefore(since?: string): Promise<number> {
    const first = queries.selectFrom('audit').select('sequence').limit(1);
    const found = await this.#first(
      since === undefined
        ? first.orderBy('sequence')
        : first.where('at', '>=', since).orderBy('at').orderBy('sequence'),
    );
    return found === undefined ? await this.auditLast() : found.sequence - 1;
  }

  async auditLast(): Promise<number> {
    const last = sql<{ seq: number }>`SELECT seq FROM sqlite_sequence WHERE name = 'audit'`;
    return (await this.#first(last.compile(queries)))?.seq ?? 0;
  }

  async receiptRecords(executionId: string): Promise<number[]> {
    const rows = await this.#all(
      sql<{
        sequence: number;
      }>`SELECT sequence FROM audit WHERE execution_id = ${executionId}
      AND kind IN ('execution.ended', 'execution.receipt_came_late') ORDER BY sequence LIMIT 64`.compile(
        queries,
      ),
    );
    return rows.map(({ sequence }) => sequence);
  }

  async skipAudit(sequence: number): Promise<void> {
    if ((await this.auditLast()) >= sequence) return;
    await this.#commits.run(() => {
      this.#sqlite.run(sql`DELETE FROM sqlite_sequence WHERE name = 'audit'`.compile(queries));
      const given = sql`INSERT INTO sqlite_sequence (name, seq) VALUES ('audit', ${sequence})`;
      this.#sqlite.run(given.compile(queries));
    });
  }

  lastOfOwners(kind: string): Promise<AuditRow | undefined> {
    return this.#first(
      queries
        .selectFrom('audit')
        .selectAll()
        .where('kind', '=', kind)
        .where('execution_id', 'is', null)
        .orderBy('sequence', 'desc')
        .limit(1),
    );
  }

  async addAudit(rows: readonly NewAudit[]): Promise<void> {
    await this.#commits.run(() => {
      for (const row of rows) insertRow(this.#sqlite, 'audit', row);
    });
    this.#audited.ring();
  }

  pruneAudit(before: string, limit: number): Promise<number> {
    const due = queries
      .selectFrom('audit')
      .select('sequence')
      .where('at', '<', before)
      .orderBy('at')
      .limit(limit);
    const query = queries.deleteFrom('audit').where('sequence', 'in', due);
    return this.#commits.run(() => this.#sqlite.run(query));
  }

  audited(abort: AbortSignal): Promise<void> {
    return this.#audited.wait(abort);
  }

  async close(): Promise<void> {
    await this.#commits.idle();
    await this.#log.close();
    this.#sqlite.close();
  }

  // Told once what it shows is on disk.
  async #all<Row>(query: Compilable<Row> | CompiledQuery<Row>): Promise<Row[]> {
    const rows = this.#sqlite.all(query);
    await this.#commits.settled;
    return rows;
  }

  async #first<Row>(query: Compilable<Row> | CompiledQuery<Row>): Promise<Row | undefined> {
    return (await this.#all(query))[0];
  }
}

function isLateReceipt(sqlite: NodeSqlite, { ticket_id }: WithdrawnOffer, receiptJson: Uint8Array): boolean {
  const known = sqlite.all(
    queries.selectFrom('withdrawn_offers').select('receipt_json').where('ticket_id', '=', ticket_id),
  );
  return known.some(({ receipt_json: kept }) => kept !== null && Buffer.from(kept).equals(receiptJson));
}
