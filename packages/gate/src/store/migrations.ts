import { CscError } from '@csc-fleet/common/errors';
import { type Kysely, sql } from 'kysely';
import { type Migration, type MigrationProvider, Migrator } from 'kysely/migration';
import type { Tables } from './tables.ts';

const first: Migration = {
  async up(database: Kysely<unknown>): Promise<void> {
    await database.schema
      .createTable('executions')
      .addColumn('number', 'integer', (it) => it.primaryKey().autoIncrement())
      .addColumn('execution_id', 'text', (it) => it.notNull().unique())
      .addColumn('principal', 'text', (it) => it.notNull())
      .addColumn('state', 'integer', (it) => it.notNull())
      .addColumn('contract_id', 'text', (it) => it.notNull())
      .addColumn('contract_sha256', 'text', (it) => it.notNull())
      .addColumn('contract_json', 'text', (it) => it.notNull())
      .addColumn('intent', 'text', (it) => it.notNull())
      .addColumn('policy_profile', 'text', (it) => it.notNull())
      .addColumn('policy_sha256', 'text', (it) => it.notNull())
      .addColumn('decision', 'blob', (it) => it.notNull())
      .addColumn('decision_expires_at', 'text', (it) => it.notNull())
      .addColumn('selector_json', 'text', (it) => it.notNull())
      .addColumn('receipt_version', 'text', (it) => it.notNull())
      .addColumn('approvals_json', 'text', (it) => it.notNull())
      .addColumn('submitted_at', 'text', (it) => it.notNull())
      .addColumn('queue_deadline', 'text')
      .addColumn('executor_id', 'text')
      .addColumn('ticket_id', 'text')
      .addColumn('started_at', 'text')
      .addColumn('ended_at', 'text')
      .addColumn('exit_code', 'integer')
      .addColumn('error', 'text', (it) => it.notNull())
      .execute();
    await database.schema
      .createIndex('executions_of_principal')
      .on('executions')
      .columns(['principal', 'number'])
      .execute();
    // Few are open at a time: the index stays small however many have ended.
    await sql`CREATE INDEX executions_open ON executions (state) WHERE ended_at IS NULL`.execute(database);
    await database.schema
      .createTable('events')
      .addColumn('execution_id', 'text', (it) => it.notNull())
      .addColumn('sequence', 'integer', (it) => it.notNull())
      .addColumn('event', 'blob', (it) => it.notNull())
      .addPrimaryKeyConstraint('events_key', ['execution_id', 'sequence'])
      .execute();
    await database.schema
      .createTable('receipts')
      .addColumn('execution_id', 'text', (it) => it.primaryKey().notNull())
      .addColumn('receipt_json', 'blob', (it) => it.notNull())
      .execute();
    await database.schema
      .createTable('idempotency_keys')
      .addColumn('principal', 'text', (it) => it.notNull())
      .addColumn('idempotency_key', 'text', (it) => it.notNull())
      .addColumn('execution_id', 'text', (it) => it.notNull())
      .addPrimaryKeyConstraint('idempotency_keys_key', ['principal', 'idempotency_key'])
      .execute();
    await database.schema
      .createTable('approvals_used')
      .addColumn('approval_id', 'text', (it) => it.primaryKey().notNull())
      .addColumn('execution_id', 'text', (it) => it.notNull())
      .execute();
    await database.schema
      .createTable('keys')
      .addColumn('key_id', 'text', (it) => it.primaryKey().notNull())
      .addColumn('public_key', 'blob', (it) => it.notNull())
      .addColumn('owner', 'text', (it) => it.notNull())
      .addColumn('since', 'text', (it) => it.notNull())
      .execute();
  },
};

const second: Migration = {
  async up(database: Kysely<unknown>): Promise<void> {
    await database.schema
      .createTable('usage')
      .addColumn('principal', 'text', (it) => it.primaryKey().notNull())
      .addColumn('day', 'integer', (it) => it.notNull())
      .addColumn('bytes', 'integer', (it) => it.notNull())
      .execute();
  },
};

const offers: Migration = {
  async up(database: Kysely<unknown>): Promise<void> {
    await database.schema
      .createTable('withdrawn_offers')
      .addColumn('ticket_id', 'text', (it) => it.primaryKey().notNull())
      .addColumn('execution_id', 'text', (it) => it.notNull())
      .addColumn('executor_id', 'text', (it) => it.notNull())
      .addColumn('receipt_json', 'blob')
      .execute();
    await database.schema
      .createIndex('withdrawn_offers_of_execution')
      .on('withdrawn_offers')
      .column('execution_id')
      .execute();
    await database.schema.alterTable('executions').addColumn('limits_json', 'text').execute();
    // Executors used to be kept by name; each has registered its key under its whole SPIFFE id.
    await sql`UPDATE executions SET executor_id = coalesce(
      (SELECT owner FROM keys WHERE substr(owner, -length('/executor/' || executor_id)) = '/executor/' || executor_id),
      executor_id) WHERE executor_id IS NOT NULL`.execute(database);
  },
};

const submissions: Migration = {
  async up(database: Kysely<unknown>): Promise<void> {
    await database.schema.alterTable('executions').addColumn('submission_json', 'text').execute();
  },
};

const originals: Migration = {
  async up(database: Kysely<unknown>): Promise<void> {
    await database.schema.alterTable('receipts').addColumn('original_json', 'blob').execute();
  },
};

const chainHeads: Migration = {
  async up(database: Kysely<unknown>): Promise<void> {
    await database.schema
      .createTable('chain_heads')
      .addColumn('executor_id', 'text', (it) => it.notNull())
      .addColumn('epoch', 'text', (it) => it.notNull())
      .addColumn('sequence', 'integer', (it) => it.notNull())
      .addColumn('receipt_sha256', 'text', (it) => it.notNull())
      .addColumn('signed_at', 'text', (it) => it.notNull())
      .addColumn('head_json', 'blob', (it) => it.notNull())
      .addPrimaryKeyConstraint('chain_heads_key', ['executor_id', 'epoch'])
      .execute();
  },
};

const bindings: Migration = {
  async up(database: Kysely<unknown>): Promise<void> {
    await database.schema.alterTable('executions').addColumn('binding', 'text').execute();
  },
};

const retention: Migration = {
  async up(database: Kysely<unknown>): Promise<void> {
    await database.schema.alterTable('executions').addColumn('pruned_at', 'text').execute();
    // What may be pruned next, oldest first; and then what has nothing left but its receipt.
    await sql`CREATE INDEX executions_whole ON executions (number) WHERE ended_at IS NOT NULL AND pruned_at IS NULL`.execute(
      database,
    );
    await sql`CREATE INDEX executions_pruned ON executions (ended_at) WHERE pruned_at IS NOT NULL`.execute(
      database,
    );
    await database.schema
      .createTable('executors')
      .addColumn('executor_id', 'text', (it) => it.primaryKey().notNull())
      .addColumn('seen_at', 'text', (it) => it.notNull())
      .addColumn('told', 'blob', (it) => it.notNull())
      .execute();
  },
};

const audit: Migration = {
  async up(database: Kysely<unknown>): Promise<void> {
    await database.schema.alterTable('executions').addColumn('trace_context', 'text').execute();
    // AUTOINCREMENT: who has read up to a number misses nothing, also where the newest were pruned.
    await database.schema
      .createTable('audit')
      .addColumn('sequence', 'integer', (it) => it.primaryKey().autoIncrement())
      .addColumn('at', 'text', (it) => it.notNull())
      .addColumn('kind', 'text', (it) => it.notNull())
      .addColumn('execution_id', 'text')
      .addColumn('principal', 'text')
      .addColumn('executor_id', 'text')
      .addColumn('policy_profile', 'text')
      .addColumn('outcome', 'text', (it) => it.notNull())
      .addColumn('record', 'blob', (it) => it.notNull())
      .execute();
    await database.schema.createIndex('audit_at').on('audit').column('at').execute();
    await sql`CREATE INDEX audit_of_owners ON audit (kind, sequence) WHERE execution_id IS NULL`.execute(
      database,
    );
  },
};

const terminals: Migration = {
  async up(database: Kysely<unknown>): Promise<void> {
    await database.schema.alterTable('executions').addColumn('terminal_json', 'text').execute();
  },
};

const ticketEpochs: Migration = {
  async up(database: Kysely<unknown>): Promise<void> {
    await database.schema.alterTable('executions').addColumn('ticket_epoch', 'text').execute();
  },
};

// No question about a store that has grown reads more of it than it gives: see `store.test.ts`.
const growth: Migration = {
  async up(database: Kysely<unknown>): Promise<void> {
    const index = (name: string, what: string) =>
      sql.raw(`CREATE INDEX ${name} ON ${what}`).execute(database);
    await index('executions_in_state', 'executions (state, number)');
    await index('executions_of_principal_in_state', 'executions (principal, state, number)');
    await sql`DROP INDEX executions_open`.execute(database);
    await index('executions_open', 'executions (number) WHERE ended_at IS NULL');
    await index('idempotency_keys_of_execution', 'idempotency_keys (execution_id)');
    await index('executors_seen', 'executors (seen_at)');
  },
};

// A receipt's entry in the log is found by the number of its record.
const receiptRecords: Migration = {
  async up(database: Kysely<unknown>): Promise<void> {
    await sql`CREATE INDEX audit_of_receipts ON audit (execution_id)
      WHERE kind IN ('execution.ended', 'execution.receipt_came_late')`.execute(database);
  },
};

const tokens: Migration = {
  async up(database: Kysely<unknown>): Promise<void> {
    await database.schema.alterTable('executions').addColumn('submission_token', 'text').execute();
  },
};

const provider: MigrationProvider = {
  getMigrations: async () => ({
    '0001-executions': first,
    '0002-usage': second,
    '0003-offers': offers,
    '0004-submissions': submissions,
    '0005-originals': originals,
    '0006-chain-heads': chainHeads,
    '0007-bindings': bindings,
    '0008-retention': retention,
    '0009-audit': audit,
    '0010-terminals': terminals,
    '0011-ticket-epochs': ticketEpochs,
    '0012-growth': growth,
    '0020-receipt-records': receiptRecords,
    '0030-tokens': tokens,
  }),
};

/**
 * Brings the database up to date; throws what the failing migration threw, and STORE_UNAVAILABLE where a later release has
 * written it.
 * @param path its file, for that message
 */
export async function migrate(database: Kysely<Tables>, path: string): Promise<void> {
  const migrator = new Migrator({ db: database, provider });
  const { error } = await migrator.migrateToLatest();
  if (error === undefined) return;
  const later = await migrationsOfLaterReleases(database);
  if (later.length === 0) throw error;
  throw new CscError(
    'STORE_UNAVAILABLE',
    `a later release has written the store ${path} (${later.join(', ')}): run that one, or restore the backup that was made before it`,
    { cause: error, isLasting: true },
  );
}

async function migrationsOfLaterReleases(database: Kysely<Tables>): Promise<string[]> {
  const known = new Set(Object.keys(await provider.getMigrations()));
  const { rows } = await sql<{ name: string }>`SELECT name FROM kysely_migration`.execute(database);
  return rows.map(({ name }) => name).filter((name) => !known.has(name));
}
