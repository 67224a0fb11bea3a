import type { ConsumedApproval } from '@csc-fleet/common/approval';
import type { CscError } from '@csc-fleet/common/errors';
import type { ChainedReceipt, ChainLink, ReceiptTexts } from '@csc-fleet/common/evidence';

/** What the executor must not forget, whatever is killed whenever. */
export interface Journal {
  /**
   * Names this journal: 16 random bytes in lower-case hex, made with it. A journal with another one has not seen what
   * this one has.
   */
  readonly epoch: string;
  /**
   * Makes this journal another one: its chain begins anew, and what was minted or submitted before counts no more, also
   * where the clock has gone back since. For one that turns out to be older than what its host has signed. Rejects with
   * STORE_UNAVAILABLE.
   */
  beginEpoch(lost?: LostTime): Promise<void>;
  /** The newest receipt of the chain that was signed in this epoch; undefined before the first. Throws what SQLite throws. */
  head(): ReceiptHead | undefined;
  /**
   * What `redeem` and `refuse` would reject with now; undefined where they would not: TICKET_REPLAYED, SUBMISSION_REPLAYED, or
   * TICKET_EXPIRED for a ticket of which this journal cannot know whether it was used, as it began before the journal
   * did or ended before what the journal still remembers.
   */
  findObjection(ticket: TicketUse): CscError | undefined;
  /** When this journal began: what was used before, it cannot know. */
  bornAt(): Date;
  /** Every execution that no gate has acknowledged, whoever runs it. */
  unacknowledged(): string[];
  /** Why `redeem` and `refuse` would reject whatever it is, for people; undefined where they would not, as far as is known. */
  trouble(): string | undefined;
  /**
   * Spends the ticket and the approvals and opens the execution, all or nothing, durably: only after this has
   * resolved may a command start. Rejects with what `findObjection` gives, with APPROVAL_INVALID for an approval that
   * is used up, or with STORE_UNAVAILABLE.
   */
  redeem(redemption: Redemption): Promise<void>;
  /**
   * Spends the ticket on a refusal that `seal` signs, and keeps that until it is acknowledged, durably: only after this
   * has resolved may anyone see it. Rejects with what `findObjection` gives, what `seal` throws, or STORE_UNAVAILABLE.
   */
  refuse(refusal: Refusal): Promise<ReceiptTexts>;
  /** Replaces the draft of a running execution. A later `finish` needs no such call. Rejects with STORE_UNAVAILABLE. */
  progress(executionId: string, draft: string): Promise<void>;
  /**
   * Signs and keeps the one receipt of an execution; where there is one already, that one is given back and `seal`
   * is not called. Rejects with what `seal` throws, EXECUTION_UNKNOWN or STORE_UNAVAILABLE.
   */
  finish(executionId: string, seal: Seal): Promise<FinishedExecution>;
  /** The receipt of an execution; undefined where there is none yet, or it has been acknowledged. Throws what SQLite throws. */
  receiptOf(executionId: string): ReceiptTexts | undefined;
  /** The other copy of the receipt of an execution that has one. Throws what SQLite throws. */
  spare(executionId: string): SpareReceipt;
  /** The receipt that the archive has of an execution, in the form of the chain; undefined where it has none. */
  archived?(executionId: string): Uint8Array | undefined;
  /** Puts a receipt that was signed before in the place of one that is damaged. Rejects with STORE_UNAVAILABLE. */
  putReceipt(executionId: string, texts: ReceiptTexts): Promise<void>;
  /** Calls an execution what it is really called, where its row is damaged. Rejects with STORE_UNAVAILABLE. */
  rename(executionId: string, to: string): Promise<void>;
  /**
   * The gate holds the receipt. Does nothing for an execution that is not there. Rejects with STORE_UNAVAILABLE.
   * @param isLookedFor whether it is unproven from then on. Absent: false
   */
  acknowledge(executionId: string, isLookedFor?: boolean): Promise<void>;
  /** Receipts that are looked for in a log, those that were asked for least first. Throws what SQLite throws. */
  unproven(atMost: number): readonly UnprovenReceipt[];
  /** The newest checkpoint that was met of a log, a signed note; undefined: none was. Throws what SQLite throws. */
  seenLog(vkey: string): string | undefined;
  /**
   * Writes down what a log has answered. Gives how many unproven receipts are forgotten, as they are too old, or too many.
   * Rejects with STORE_UNAVAILABLE.
   */
  metLog(met: MetLog): Promise<number>;
  /** Makes this process the owner of what others have left behind that died or closed, and says what that is. */
  adopt(): Promise<Adopted>;
  /**
   * Forgets what its own dates keep from being used again, a bounded number of rows a call; the journal then refuses
   * whatever has such dates, for ever, even if the clock goes back. Gives how many are gone.
   */
  prune(now: Date): Promise<number>;
  /** Waits for what is under way, gives up what this process owns, and closes. */
  close(): Promise<void>;
}

/** A receipt that a gate has acknowledged, and has not proven to be in its log. */
export interface UnprovenReceipt {
  readonly executionId: string;
  /** Lower-case hex, of the form that stands in the chain. */
  readonly receiptSha256: string;
  readonly acknowledgedAt: Date;
}

/** What a log has answered. */
export interface MetLog {
  readonly vkey: string;
  /** A signed note that adds to the one before it. Absent: it has shown none that counts. */
  readonly checkpoint?: string | undefined;
  /** Executions whose receipts it has. */
  readonly proven: readonly string[];
  /** Those that it was asked for in vain. */
  readonly asked: readonly string[];
  /** What was acknowledged before is looked for no longer. */
  readonly olderThan: Date;
}

/** What is known of the time that a journal has forgotten. */
export interface LostTime {
  /** The newest date that this host has signed then: what began by it may have been used. Absent: none is known. */
  readonly signedUntil?: Date | undefined;
  /**
   * Executions that this journal takes for running and that have had their outcome: they get no second one. `all`: nobody can
   * say of any of them that it has not.
   */
  readonly ended?: readonly string[] | 'all';
}

/** A ticket as the journal sees it: it is used up by its id and by its execution's. */
export interface TicketUse {
  readonly ticketId: string;
  /** What the ticket was minted for: its nonce is used up with the ticket. Absent: nothing that anybody signed. */
  readonly submission?: { readonly principal: string; readonly nonce: string };
  readonly executionId: string;
  readonly notBefore: Date;
  readonly expiresAt: Date;
}

/** A refusal to be signed: an outcome as final as a receipt of a run, and in the same chain. */
export interface Refusal extends TicketUse {
  readonly refusedAt: Date;
  readonly seal: (link: ChainLink) => ChainedReceipt;
}

/** A place in the chain that is taken. */
export interface ReceiptHead {
  readonly sequence: number;
  /** Lower-case hex, of the v0.2 receipt there. */
  readonly receiptSha256: string;
}

/** Everything that must be on disk before the first command starts. */
export interface Redemption extends TicketUse {
  /** What a receipt says if this process dies: JSON text, opaque to the journal. */
  readonly draft: string;
  /** The least of it that makes a receipt, likewise; kept apart, should one of the two be damaged. */
  readonly bare: string;
  /** How many commands its receipt may have to tell of. Absent: one. */
  readonly commands?: number;
  readonly redeemedAt: Date;
  /** The single_execution ones that this execution uses up. */
  readonly approvals: readonly ConsumedApproval[];
}

/** Makes the receipt, signed, for the next place of the chain. Called within the transaction that gives it that. */
export type Seal = (link: ChainLink) => SealedReceipt;

/** A signed receipt and what goes with it. */
export interface SealedReceipt extends ChainedReceipt {
  /** Bytes of the execution's output log. */
  readonly outputLogLength: number;
}

/** An execution with a receipt that no gate has acknowledged. */
export interface FinishedExecution extends ReceiptTexts {
  readonly executionId: string;
  readonly outputLogLength: number;
}

/** What dead processes have left. */
export interface Adopted {
  /** Started, and never finished. */
  readonly running: readonly Unfinished[];
  readonly finished: readonly OwedReceipt[];
}

/** What a receipt can be made of, as it is on the disk. */
export interface Unfinished {
  readonly executionId: string;
  readonly draft: string;
  readonly bare: string;
}

/** What is beside a receipt in the journal. */
export interface SpareReceipt {
  /** The newest draft of it; empty for a refusal, of which nothing ran. */
  readonly draft: string;
  /** As the disk has it, damaged or not; absent where it is none. */
  readonly texts: ReceiptTexts | undefined;
}

/** A receipt that no gate has acknowledged; it stays on disk until its turn. */
export interface OwedReceipt {
  readonly executionId: string;
  /** Bytes of the receipt, and of its original. */
  readonly receiptLength: number;
  /** -1: what the journal has of it is no length. */
  readonly outputLogLength: number;
  /** What the log had when its receipt was signed, where the host has lost some of that since. */
  readonly signedLogLength?: number;
}
