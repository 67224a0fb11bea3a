import { sql } from 'kysely';
import type { Access } from './access.ts';
import { insertRow } from './hot-queries.ts';
import { type NodeSqlite, queries } from './node-sqlite.ts';
import type { NewAudit, StoredReceipt, WithdrawnOffer } from './tables.ts';

/** The receipts of executions: the one that counts, and those that came for offers that were taken back. */
export interface ReceiptStore {
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
}

export function receiptsIn(access: Access): ReceiptStore {
  const { sqlite } = access;
  return {
    async receipt(executionId: string): Promise<StoredReceipt | undefined> {
      const row = await access.first(
        queries
          .selectFrom('receipts')
          .select(['receipt_json', 'original_json'])
          .where('execution_id', '=', executionId),
      );
      if (row === undefined) return undefined;
      return {
        receiptJson: Buffer.from(row.receipt_json),
        originalJson: Buffer.from(row.original_json ?? []),
      };
    },
    async withdrawnTickets(executionId: string, executorId: string): Promise<readonly string[]> {
      const rows = await access.all(
        queries
          .selectFrom('withdrawn_offers')
          .select('ticket_id')
          .where('execution_id', '=', executionId)
          .where('executor_id', '=', executorId)
          .orderBy(sql`rowid`, 'desc'),
      );
      return rows.map((row) => row.ticket_id);
    },
    async addLateReceipt(
      executionId: string,
      offer: WithdrawnOffer,
      receiptJson: Uint8Array,
      audit?: NewAudit,
    ): Promise<boolean> {
      const isKept = await access.write(() => {
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
      access.audited.ring();
      return isKept;
    },
    async lateReceipt(executionId: string, holder: string): Promise<StoredReceipt | undefined> {
      const row = await access.first(
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
    },
  };
}

function isLateReceipt(sqlite: NodeSqlite, { ticket_id }: WithdrawnOffer, receiptJson: Uint8Array): boolean {
  const known = sqlite.all(
    queries.selectFrom('withdrawn_offers').select('receipt_json').where('ticket_id', '=', ticket_id),
  );
  return known.some(({ receipt_json: kept }) => kept !== null && Buffer.from(kept).equals(receiptJson));
}
