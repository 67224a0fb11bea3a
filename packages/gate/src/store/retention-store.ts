import { ExecutionEvent } from '@csc-fleet/common/messages';
import { sql } from 'kysely';
import type { Access } from './access.ts';
import { insertRow } from './hot-queries.ts';
import { type NodeSqlite, queries } from './node-sqlite.ts';

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

/** What of executions that have ended may go, and goes. */
export interface RetentionStore {
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
}

export function retentionIn(access: Access): RetentionStore {
  const { sqlite } = access;
  return {
    whole(after: number, limit: number): Promise<WholeExecution[]> {
      return access.all(
        sql<WholeExecution>`SELECT number, execution_id, ended_at,
        length(contract_json) + length(approvals_json) + coalesce(length(submission_json), 0) +
          coalesce((SELECT sum(length(event)) FROM events WHERE events.execution_id = executions.execution_id), 0) AS bytes
        FROM executions WHERE ended_at IS NOT NULL AND pruned_at IS NULL AND number > ${after}
        ORDER BY number LIMIT ${limit}`.compile(queries),
      );
    },
    async strip(executionIds: readonly string[], at: string): Promise<void> {
      await access.write(() => {
        const nothing = { contract_json: '', approvals_json: '[]', submission_json: null };
        const change = { ...nothing, submission_token: null, pruned_at: at };
        sqlite.run(queries.updateTable('executions').set(change).where('execution_id', 'in', executionIds));
        for (const id of executionIds) keepEnd(sqlite, id);
      });
    },
    forgettable(endedBefore: string, limit: number, after?: Forgettable): Promise<Forgettable[]> {
      const { ended_at, number } = after ?? { ended_at: '', number: 0 };
      return access.all(
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
    },
    async forget(executionIds: readonly string[]): Promise<void> {
      if (executionIds.length === 0) return;
      await access.write(() => {
        for (const table of [
          'events',
          'receipts',
          'idempotency_keys',
          'withdrawn_offers',
          'executions',
        ] as const)
          sqlite.run(queries.deleteFrom(table).where('execution_id', 'in', executionIds));
      });
    },
    async usedBytes(): Promise<number> {
      const found = await access.first(
        sql<{ bytes: number }>`SELECT (page_count - freelist_count) * page_size AS bytes
        FROM pragma_page_count, pragma_freelist_count, pragma_page_size`.compile(queries),
      );
      return found?.bytes ?? 0;
    },
  };
}

// Its end is the first event then, and the last.
function keepEnd(sqlite: NodeSqlite, executionId: string): void {
  const ofIt = queries.selectFrom('events').where('execution_id', '=', executionId);
  const [last] = sqlite.all(ofIt.select('event').orderBy('sequence', 'desc').limit(1));
  sqlite.run(queries.deleteFrom('events').where('execution_id', '=', executionId));
  if (last === undefined) return;
  const event = ExecutionEvent.encode({ ...ExecutionEvent.decode(last.event), sequence: 1 }).finish();
  insertRow(sqlite, 'events', { execution_id: executionId, sequence: 1, event });
}
