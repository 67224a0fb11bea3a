import type { DatabaseSync, StatementSync } from 'node:sqlite';
import type { ReceiptTexts } from '@csc-fleet/common/evidence';

// What SQLite can hold and a number cannot would fail the whole query. -1: it is none that was written.
function wholeNumber(column: string): string {
  return `CASE WHEN ${column} BETWEEN 0 AND ${Number.MAX_SAFE_INTEGER} THEN ${column} ELSE -1 END`;
}

/**
 * What is asked of a journal, and told it. What each run asks makes no table of its own: one for `IN`, `RETURNING` or what a
 * change of several rows may have to undo takes 64 to 90 KiB of memory each time.
 */
export const texts = {
  isUsed: `SELECT 1 FROM executions WHERE ticket_id = ?
    UNION ALL SELECT 1 FROM executions WHERE execution_id = ?`,
  isSpent: 'SELECT 1 FROM spent WHERE id = ?',
  memory: 'SELECT born_at, floor, approvals_floor FROM memory',
  open: `INSERT INTO executions (execution_id, ticket_id, owner, ends_at, redeemed_at, draft, bare)
    VALUES (?, ?, ?, ?, ?, ?, ?)`,
  openRefused: `INSERT INTO executions
    (execution_id, ticket_id, owner, ends_at, redeemed_at, draft, receipt_json, original_json, bare, output_log_length)
    VALUES (?, ?, ?, ?, ?, '', ?, ?, ?, 0)`,
  consume:
    'INSERT INTO approvals (approval_id, execution_id, expires_at) VALUES (?, ?, ?) ON CONFLICT DO NOTHING',
  setDraft: 'UPDATE executions SET draft = ? WHERE execution_id = ? AND receipt_json IS NULL',
  find: `SELECT execution_id, receipt_json, original_json, ${wholeNumber('output_log_length')} AS output_log_length
    FROM executions WHERE execution_id = ?`,
  drafts: 'SELECT draft, bare FROM executions WHERE execution_id = ?',
  rename: 'UPDATE executions SET execution_id = ? WHERE execution_id = ?',
  putReceipt: `UPDATE executions SET receipt_json = ?, original_json = ?, acknowledged_at = NULL
    WHERE execution_id = ?`,
  unacknowledge: `UPDATE executions SET acknowledged_at = NULL
    WHERE acknowledged_at IS NOT NULL AND (receipt_json IS NULL OR length(receipt_json) > 0)`,
  finish: `UPDATE executions SET receipt_json = ?, original_json = ?, bare = ?, output_log_length = ?
    WHERE execution_id = ?`,
  chain: 'SELECT epoch, sequence, head FROM receipt_chain',
  beginEpoch: 'UPDATE receipt_chain SET epoch = lower(hex(randomblob(16))), sequence = 0, head = NULL',
  beBorn: 'UPDATE memory SET born_at = max(born_at, ?)',
  endUnfinished: `UPDATE executions SET acknowledged_at = ?, draft = '', bare = '', receipt_json = x''
    WHERE receipt_json IS NULL`,
  endOne: `UPDATE executions SET acknowledged_at = ?, draft = '', bare = '', receipt_json = x''
    WHERE execution_id = ? AND receipt_json IS NULL`,
  setHead: 'UPDATE receipt_chain SET sequence = ?, head = ? WHERE only = 1',
  acknowledge: `UPDATE executions SET acknowledged_at = ?, draft = '', bare = '', receipt_json = x'', original_json = NULL
    WHERE execution_id = ? AND receipt_json IS NOT NULL AND acknowledged_at IS NULL`,
  unacknowledged: 'SELECT execution_id FROM executions WHERE acknowledged_at IS NULL',
  otherOwners: 'SELECT DISTINCT owner FROM executions WHERE acknowledged_at IS NULL AND owner <> ?',
  adopt: `UPDATE executions SET owner = ? WHERE owner = ? AND acknowledged_at IS NULL
    RETURNING execution_id, draft, bare, length(receipt_json) AS receipt_length,
      length(original_json) AS original_length, ${wholeNumber('output_log_length')} AS output_log_length`,
  disown: "UPDATE executions SET owner = '' WHERE owner = ? AND acknowledged_at IS NULL",
  receipt: `SELECT receipt_json, original_json FROM executions
    WHERE execution_id = ? AND acknowledged_at IS NULL AND receipt_json IS NOT NULL`,
  executionsOver: `SELECT execution_id, ticket_id, max(0, ends_at) AS ends_at FROM executions
    WHERE acknowledged_at IS NOT NULL AND ends_at < ? LIMIT ?`,
  forgetExecution: 'DELETE FROM executions WHERE execution_id = ?',
  spend: 'INSERT INTO spent (id) VALUES (?) ON CONFLICT DO NOTHING',
  raiseFloor: 'UPDATE memory SET floor = max(floor, ?) WHERE only = 1',
  approvalsOver:
    'SELECT approval_id, max(0, expires_at) AS expires_at FROM approvals WHERE expires_at < ? LIMIT ?',
  forgetApproval: 'DELETE FROM approvals WHERE approval_id = ?',
  raiseApprovalsFloor: 'UPDATE memory SET approvals_floor = max(approvals_floor, ?) WHERE only = 1',
} as const;

/** Every statement that the journal uses, prepared once. */
export type Statements = { readonly [name in keyof typeof texts]: StatementSync };

export function prepareStatements(database: DatabaseSync): Statements {
  const prepared = Object.entries(texts).map(([name, text]) => [name, database.prepare(text)]);
  return Object.fromEntries(prepared) as Statements;
}

/** How far the chain of receipts goes. */
export interface Chain {
  readonly epoch: string;
  /** Of the newest receipt; 0 where there is none. */
  readonly sequence: number;
  readonly head: string | undefined;
}

export function readChain(statements: Statements): Chain {
  const row = statements.chain.get();
  const head = row?.['head'];
  return {
    epoch: String(row?.['epoch']),
    sequence: Number(row?.['sequence']),
    head: typeof head === 'string' ? head : undefined,
  };
}

/** The receipt of a row that has one. */
export function toTexts(row: Readonly<Record<string, unknown>>): ReceiptTexts {
  const { receipt_json: receiptJson, original_json: originalJson } = row;
  if (!(receiptJson instanceof Uint8Array))
    throw new TypeError('the journal holds a receipt that is not bytes');
  return originalJson instanceof Uint8Array ? { receiptJson, originalJson } : { receiptJson };
}
