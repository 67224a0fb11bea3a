import type { Generated, Insertable, Selectable } from 'kysely';

/** One row an execution. Times are RFC 3339 texts; documents are JSON texts. */
export interface ExecutionTable {
  /** Grows with every submission: the order of lists. */
  readonly number: Generated<number>;
  readonly execution_id: string;
  readonly principal: string;
  /** A value of csc.common.v1.ExecutionState. */
  readonly state: number;
  readonly contract_id: string;
  readonly contract_sha256: string;
  readonly contract_json: string;
  readonly intent: string;
  readonly policy_profile: string;
  readonly policy_sha256: string;
  /** An encoded csc.common.v1.Decision. */
  readonly decision: Uint8Array;
  readonly decision_expires_at: string;
  readonly selector_json: string;
  readonly receipt_version: string;
  readonly approvals_json: string;
  /** The submitter's signed submission, as it came. Null where there is none. */
  readonly submission_json: string | null;
  /** The OIDC token that came with it, until its host has it. Null where there is none, or it is not needed any more. */
  readonly submission_token: string | null;
  /** `host`: the submission must name the host before it is offered there. Null: it need not. */
  readonly binding: string | null;
  /** The terminal that it is to run on, as a ticket has it. Null: none. */
  readonly terminal_json: string | null;
  readonly submitted_at: string;
  /** By when it must have been placed. Of what waits for approval: by when it must have begun, null where nothing says. */
  readonly queue_deadline: string | null;
  /** The whole SPIFFE id of the executor that has it. */
  readonly executor_id: string | null;
  readonly ticket_id: string | null;
  /**
   * Of the executor's journal that its ticket is for; empty where it told none. Null: it has no ticket, or may have had
   * another one since that this store has forgotten.
   */
  readonly ticket_epoch: string | null;
  /** What its ticket grants, once it was placed. */
  readonly limits_json: string | null;
  readonly started_at: string | null;
  readonly ended_at: string | null;
  readonly exit_code: number | null;
  readonly error: string;
  /** W3C Trace Context, as toStoredTrace gives it. Null: it is not traced. */
  readonly trace_context: string | null;
  /** Since when no more is left of it than its receipt, its decision and this row. Null: all of it is there. */
  readonly pruned_at: string | null;
}

export interface EventTable {
  readonly execution_id: string;
  readonly sequence: number;
  /** An encoded csc.common.v1.ExecutionEvent. */
  readonly event: Uint8Array;
}

export interface ReceiptTable {
  readonly execution_id: string;
  readonly receipt_json: Uint8Array;
  /** The v0.2 receipt that an executor's v0.1 one is a projection of. Null: there is none. */
  readonly original_json: Uint8Array | null;
}

/** A submission with this key gave this execution; the same one again gives it again. */
export interface IdempotencyKeyTable {
  readonly principal: string;
  readonly idempotency_key: string;
  readonly execution_id: string;
}

/** A single_execution approval is used up by its row here; the primary key is what makes that atomic. */
export interface ApprovalUsedTable {
  readonly approval_id: string;
  readonly execution_id: string;
}

export interface KeyTable {
  readonly key_id: string;
  readonly public_key: Uint8Array;
  /** The identity that registered it. */
  readonly owner: string;
  readonly since: string;
}

/** An offer that its executor never answered, or came back without, so that another may get the execution. */
export interface WithdrawnOfferTable {
  readonly ticket_id: string;
  readonly execution_id: string;
  /** A whole SPIFFE id. */
  readonly executor_id: string;
  /** What it sent all the same, after the execution had gone on without it: of two forms, the one in its chain. */
  readonly receipt_json: Uint8Array | null;
}

/** What was stored for a principal on the last day (of the Unix epoch, UTC) that it stored anything. */
export interface UsageTable {
  readonly principal: string;
  readonly day: number;
  readonly bytes: number;
}

/** How far the chain of an executor went in one of its epochs, as it has signed that. */
export interface ChainHeadTable {
  /** A whole SPIFFE id. */
  readonly executor_id: string;
  readonly epoch: string;
  readonly sequence: number;
  readonly receipt_sha256: string;
  readonly signed_at: string;
  /** A ChainHead, canonical JSON. */
  readonly head_json: Uint8Array;
}

/** What an executor said of itself when it was last there. */
export interface ExecutorTable {
  /** A whole SPIFFE id. */
  readonly executor_id: string;
  readonly seen_at: string;
  /** An encoded csc.gate.v1.Executor. */
  readonly told: Uint8Array;
}

/** What was decided or has happened, in the order in which it came to the disk. A number is never given twice. */
export interface AuditTable {
  readonly sequence: Generated<number>;
  readonly at: string;
  readonly kind: string;
  /** Null: it is about no execution. So are the others then. */
  readonly execution_id: string | null;
  readonly principal: string | null;
  /** The NAME of its SPIFFE id. */
  readonly executor_id: string | null;
  readonly policy_profile: string | null;
  readonly outcome: string;
  /** An encoded csc.gate.v1.AuditRecord, without its sequence. */
  readonly record: Uint8Array;
}

export interface Tables {
  readonly audit: AuditTable;
  readonly executions: ExecutionTable;
  readonly events: EventTable;
  readonly receipts: ReceiptTable;
  readonly idempotency_keys: IdempotencyKeyTable;
  readonly approvals_used: ApprovalUsedTable;
  readonly keys: KeyTable;
  readonly withdrawn_offers: WithdrawnOfferTable;
  readonly usage: UsageTable;
  readonly chain_heads: ChainHeadTable;
  readonly executors: ExecutorTable;
}

export type NewExecution = Omit<Selectable<ExecutionTable>, 'number'>;
/** Without the contract, which may be a megabyte: thousands of these can be in memory. */
export type ExecutionRow = Omit<NewExecution, 'contract_json'>;
export type ListedExecution = ExecutionRow & Pick<Selectable<ExecutionTable>, 'number'>;
export type ExecutionChange = Partial<ExecutionRow>;
export type WithdrawnOffer = Pick<WithdrawnOfferTable, 'ticket_id' | 'executor_id'>;
export type ChainHeadRow = Selectable<ChainHeadTable>;
export type ExecutorRow = Selectable<ExecutorTable>;
export type KeyRow = Selectable<KeyTable>;
export type NewAudit = Insertable<AuditTable>;
export type AuditRow = Selectable<AuditTable>;

/** A receipt as it is kept, whoever signed it. */
export interface StoredReceipt {
  readonly receiptJson: Buffer;
  /** Empty where there is none: see ReceiptTable. */
  readonly originalJson: Buffer;
}
