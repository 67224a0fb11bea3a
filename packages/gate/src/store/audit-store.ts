import { sql } from 'kysely';
import type { Access } from './access.ts';
import { insertRow } from './hot-queries.ts';
import { queries } from './node-sqlite.ts';
import type { AuditRow, NewAudit } from './tables.ts';

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

/** Audit records, in the order of their numbers. */
export interface AuditStore {
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
}

// Of audit records that are looked at in one go: nothing else is done meanwhile.
const auditWindow = 500;

export function auditIn(access: Access): AuditStore {
  const { sqlite } = access;
  const auditLast = async (): Promise<number> => {
    const last = sql<{ seq: number }>`SELECT seq FROM sqlite_sequence WHERE name = 'audit'`;
    return (await access.first(last.compile(queries)))?.seq ?? 0;
  };
  return {
    async auditAfter(after: number, query: AuditQuery): Promise<AuditPage> {
      const window = queries.selectFrom('audit').where('sequence', '>', after).orderBy('sequence');
      const looked = await access.all(window.select('sequence').limit(auditWindow));
      const lookedUpTo = looked.at(-1)?.sequence ?? after;
      let wanted = window.selectAll().where('sequence', '<=', lookedUpTo);
      for (const column of ['principal', 'executor_id', 'policy_profile', 'outcome'] as const) {
        const value = query[column];
        if (value !== undefined) wanted = wanted.where(column, '=', value);
      }
      if (query.since !== undefined) wanted = wanted.where('at', '>=', query.since);
      if (query.until !== undefined) wanted = wanted.where('at', '<', query.until);
      return { rows: await access.all(wanted), lookedUpTo, isEnd: looked.length < auditWindow };
    },
    async auditBefore(since?: string): Promise<number> {
      const first = queries.selectFrom('audit').select('sequence').limit(1);
      const found = await access.first(
        since === undefined
          ? first.orderBy('sequence')
          : first.where('at', '>=', since).orderBy('at').orderBy('sequence'),
      );
      return found === undefined ? await auditLast() : found.sequence - 1;
    },
    auditLast,
    lastOfOwners(kind: string): Promise<AuditRow | undefined> {
      return access.first(
        queries
          .selectFrom('audit')
          .selectAll()
          .where('kind', '=', kind)
          .where('execution_id', 'is', null)
          .orderBy('sequence', 'desc')
          .limit(1),
      );
    },
    async addAudit(rows: readonly NewAudit[]): Promise<void> {
      await access.write(() => {
        for (const row of rows) insertRow(sqlite, 'audit', row);
      });
      access.audited.ring();
    },
    async receiptRecords(executionId: string): Promise<number[]> {
      const rows = await access.all(
        sql<{
          sequence: number;
        }>`SELECT sequence FROM audit WHERE execution_id = ${executionId}
        AND kind IN ('execution.ended', 'execution.receipt_came_late') ORDER BY sequence LIMIT 64`.compile(
          queries,
        ),
      );
      return rows.map(({ sequence }) => sequence);
    },
    async skipAudit(sequence: number): Promise<void> {
      if ((await auditLast()) >= sequence) return;
      await access.write(() => {
        sqlite.run(sql`DELETE FROM sqlite_sequence WHERE name = 'audit'`.compile(queries));
        const given = sql`INSERT INTO sqlite_sequence (name, seq) VALUES ('audit', ${sequence})`;
        sqlite.run(given.compile(queries));
      });
    },
    pruneAudit(before: string, limit: number): Promise<number> {
      const due = queries
        .selectFrom('audit')
        .select('sequence')
        .where('at', '<', before)
        .orderBy('at')
        .limit(limit);
      const query = queries.deleteFrom('audit').where('sequence', 'in', due);
      return access.write(() => sqlite.run(query));
    },
    audited(abort: AbortSignal): Promise<void> {
      return access.audited.wait(abort);
    },
  };
}
