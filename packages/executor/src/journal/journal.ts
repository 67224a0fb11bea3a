/** What the executor must not forget, whatever is killed whenever. */
export interface Journal {
  /** True once the ticket, or another one for the same execution, has been redeemed here. */
  isRedeemed(ticketId: string, executionId: string): boolean;
  /** Every execution that no gate has acknowledged, whoever runs it. */
  unacknowledged(): string[];
  /**
   * Spends the ticket and the approvals and opens the execution, all or nothing, durably: only after this has
   * resolved may a command start. Rejects with TICKET_REPLAYED, with APPROVAL_INVALID for an approval that is used
   * up, or with STORE_UNAVAILABLE.
   */
  redeem(redemption: Redemption): Promise<void>;
  /** Replaces the draft of a running execution. A later `finish` needs no such call. Rejects with STORE_UNAVAILABLE. */
  progress(executionId: string, draft: string): Promise<void>;
  /**
   * Signs and keeps the one receipt of an execution; where there is one already, that one is given back and `seal`
   * is not called. Rejects with what `seal` throws, EXECUTION_UNKNOWN or STORE_UNAVAILABLE.
   */
  finish(executionId: string, seal: Seal): Promise<FinishedExecution>;
  /** The gate holds the receipt. Does nothing for an execution that is not there. Rejects with STORE_UNAVAILABLE. */
  acknowledge(executionId: string): Promise<void>;
  /** Makes this process the owner of what others have left behind that died or closed, and says what that is. */
  adopt(): Promise<Adopted>;
  /** Forgets what can no longer be replayed, a bounded number of rows a call. Gives how many are gone. */
  prune(now: Date): Promise<number>;
  /** Waits for what is under way, gives up what this process owns, and closes. */
  close(): Promise<void>;
}

/** Everything that must be on disk before the first command starts. */
export interface Redemption {
  readonly ticketId: string;
  readonly executionId: string;
  /** What a receipt says if this process dies: JSON text, opaque to the journal. */
  readonly draft: string;
  readonly redeemedAt: Date;
  readonly approvals: readonly ConsumedApproval[];
}

/** A single_execution approval, used up by this execution. */
export interface ConsumedApproval {
  readonly approvalId: string;
  readonly expiresAt: Date;
}

/** Makes the receipt, signed, from the hash of the previous one; undefined where there is none before it. */
export type Seal = (previousReceiptSha256: string | undefined) => SealedReceipt;

/** A signed receipt and what goes with it. */
export interface SealedReceipt {
  /** Canonical JSON, signed. */
  readonly receiptJson: Uint8Array;
  readonly receiptSha256: string;
  /** Bytes of the execution's output log. */
  readonly outputLogLength: number;
}

/** An execution with a receipt that no gate has acknowledged. */
export interface FinishedExecution {
  readonly executionId: string;
  readonly receiptJson: Uint8Array;
  readonly outputLogLength: number;
}

/** What dead processes have left. */
export interface Adopted {
  /** Started, and never finished. */
  readonly running: readonly { readonly executionId: string; readonly draft: string }[];
  readonly finished: readonly FinishedExecution[];
}
