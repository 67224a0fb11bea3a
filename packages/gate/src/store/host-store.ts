import { sql } from 'kysely';
import type { Access } from './access.ts';
import { insertRow } from './hot-queries.ts';
import { queries } from './node-sqlite.ts';
import type { ChainHeadRow, ExecutorRow, KeyRow } from './tables.ts';

/** Executors, their keys, and the chain heads that they have told. */
export interface HostStore {
  keys(): Promise<KeyRow[]>;
  addKey(key: KeyRow): Promise<void>;
  /** The newest chain head of each epoch of an executor, the newest epoch last. */
  chainHeads(executorId: string): Promise<readonly ChainHeadRow[]>;
  /** Puts it in the place of the one of the same epoch; of many epochs, the oldest are forgotten. */
  keepChainHead(head: ChainHeadRow): Promise<void>;
  /** Puts it in the place of what was kept of the same executor. */
  keepExecutor(executor: ExecutorRow, withinMs: number): Promise<void>;
  /** Those that were seen last. */
  executors(limit: number): Promise<readonly ExecutorRow[]>;
}

// Of one executor: it could fill the store with them otherwise.
const maxEpochs = 16;

export function hostsIn(access: Access): HostStore {
  const { sqlite } = access;
  return {
    keys(): Promise<KeyRow[]> {
      return access.all(queries.selectFrom('keys').selectAll());
    },
    addKey(key: KeyRow): Promise<void> {
      return access.write(() => void insertRow(sqlite, 'keys', key));
    },
    chainHeads(executorId: string): Promise<ChainHeadRow[]> {
      return access.all(
        queries
          .selectFrom('chain_heads')
          .selectAll()
          .where('executor_id', '=', executorId)
          .orderBy(sql`rowid`),
      );
    },
    async keepChainHead({ executor_id, epoch, ...rest }: ChainHeadRow): Promise<void> {
      await access.write(() => {
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
    },
    async keepExecutor({ executor_id, ...rest }: ExecutorRow, withinMs: number): Promise<void> {
      const query = queries
        .insertInto('executors')
        .values({ executor_id, ...rest })
        .onConflict((it) => it.column('executor_id').doUpdateSet(rest));
      await access.write(() => sqlite.run(query), withinMs);
    },
    executors(limit: number): Promise<ExecutorRow[]> {
      return access.all(queries.selectFrom('executors').selectAll().orderBy('seen_at', 'desc').limit(limit));
    },
  };
}
