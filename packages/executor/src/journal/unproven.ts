import type { DatabaseSync, StatementSync } from 'node:sqlite';
import { sha256Hex } from '@csc-fleet/common/encoding';
import type { ReceiptTexts } from '@csc-fleet/common/evidence';
import type { MetLog, UnprovenReceipt } from './journal.ts';

const texts = {
  owe: `INSERT INTO unproven (execution_id, receipt_sha256, acknowledged_at, asked) VALUES (?, ?, ?, 0)
    ON CONFLICT DO NOTHING`,
  list: `SELECT execution_id, receipt_sha256, acknowledged_at FROM unproven
    ORDER BY asked, acknowledged_at LIMIT ?`,
  proven: 'DELETE FROM unproven WHERE execution_id = ?',
  asked: 'UPDATE unproven SET asked = asked + 1 WHERE execution_id = ?',
  old: 'DELETE FROM unproven WHERE acknowledged_at < ?',
  // Whoever decides how much is run here does not decide which of it is looked for.
  beyond: `DELETE FROM unproven WHERE execution_id IN
    (SELECT execution_id FROM unproven ORDER BY random() LIMIT max(0, (SELECT count(*) FROM unproven) - ?))`,
  seen: 'SELECT checkpoint FROM seen_logs WHERE vkey = ?',
  see: `INSERT INTO seen_logs (vkey, checkpoint) VALUES (?, ?)
    ON CONFLICT (vkey) DO UPDATE SET checkpoint = excluded.checkpoint`,
} as const;

// Some 400 KB of the journal.
const mostUnproven = 4096;

/** What a journal has of logs. Prepared when it is first asked for: most hosts are told of no log, and `csc run` knows none. */
export class Unproven {
  readonly #database: DatabaseSync;
  #prepared: { readonly [name in keyof typeof texts]: StatementSync } | undefined;

  constructor(database: DatabaseSync) {
    this.#database = database;
  }

  get #statements() {
    const prepare = (name: keyof typeof texts): StatementSync => this.#database.prepare(texts[name]);
    this.#prepared ??= {
      owe: prepare('owe'),
      list: prepare('list'),
      proven: prepare('proven'),
      asked: prepare('asked'),
      old: prepare('old'),
      beyond: prepare('beyond'),
      seen: prepare('seen'),
      see: prepare('see'),
    };
    return this.#prepared;
  }

  /** Within the transaction in which the receipt's text goes. */
  owe(executionId: string, { receiptJson, originalJson = receiptJson }: ReceiptTexts, now: Date): void {
    this.#statements.owe.run(executionId, sha256Hex(originalJson), now.getTime());
  }

  list(atMost: number): readonly UnprovenReceipt[] {
    return this.#statements.list.all(atMost).map((row) => ({
      executionId: String(row['execution_id']),
      receiptSha256: String(row['receipt_sha256']),
      acknowledgedAt: new Date(Number(row['acknowledged_at'])),
    }));
  }

  seen(vkey: string): string | undefined {
    const row = this.#statements.seen.get(vkey);
    return row === undefined ? undefined : String(row['checkpoint']);
  }

  /** Within a transaction. Gives how many are forgotten, as they are too old, or too many. */
  met({ vkey, checkpoint, proven, asked, olderThan }: MetLog): number {
    const statements = this.#statements;
    if (checkpoint !== undefined) statements.see.run(vkey, checkpoint);
    for (const id of proven) statements.proven.run(id);
    for (const id of asked) statements.asked.run(id);
    const { changes: old } = statements.old.run(olderThan.getTime());
    const { changes: beyond } = statements.beyond.run(mostUnproven);
    return Number(old) + Number(beyond);
  }
}
