import type { KeyEntry } from '@csc-fleet/common/crypto';
import type { Decision, Execution, SubmitResponse } from '@csc-fleet/common/rpc';
import type { CallOptions, CancelOptions, CheckOptions, ListOptions } from './calls/calls.ts';
import type { ContractInput, SubmitOptions } from './calls/request.ts';
import type { FollowOptions, RunOptions, RunResult } from './run/run.ts';
import type { ExecutionEvent } from './stream/items.ts';
import type { OutputItem, ReadOutputOptions } from './stream/read.ts';
import type { WatchOptions } from './stream/watch.ts';
import type { VerifiedReceipt } from './verify/verify-receipt.ts';

/**
 * A client of one gate. Every method rejects with CscError only; its `code` is the gate's reason, or
 * GATE_UNREACHABLE, CANCELLED, DEADLINE_EXCEEDED.
 */
export interface GateClient extends Disposable {
  /**
   * Submits a contract and follows it to its end: events and output go to the handlers as they come. What is returned
   * follows from the receipt alone, once that is verified: an executor's own signature, contract, execution, version,
   * every command, and the hashes and lengths of the output that came. Without one there is no success. A denial is a
   * result: `decision.verdict` and a `blocked` receipt. Without an approval that the policy asks for, it returns with
   * the execution in AWAITING_APPROVAL; run it again with the approval to go on.
   *
   * A gate that goes away and comes back is reconnected to; nothing is handed over twice.
   * Throws CONTRACT_INVALID, RECEIPT_MISSING, RECEIPT_INVALID, SIGNATURE_INVALID, KEY_UNKNOWN and KEY_CHANGED beside the
   * gate's reasons.
   */
  run(contract: ContractInput, options?: RunOptions): Promise<RunResult>;
  /** Takes up an execution from its beginning, as `run` would have gone on with it. */
  follow(executionId: string, options?: FollowOptions): Promise<RunResult>;
  /** Hands a contract in and returns with the decision; does not wait for it to run. */
  submit(contract: ContractInput, options?: SubmitOptions & CallOptions): Promise<SubmitResponse>;
  /** Asks what the gate would decide; runs nothing. */
  check(contract: ContractInput, options?: CheckOptions): Promise<Decision>;
  /** Events in order, past ones first, each once, up to `finished`. */
  watch(executionId: string, options?: WatchOptions): AsyncGenerator<ExecutionEvent, void>;
  /** Output from any offset on, each byte once. */
  readOutput(executionId: string, options?: ReadOutputOptions): AsyncGenerator<OutputItem, void>;
  /** Asks for the execution's end; it has ended once its state says so. Idempotent. */
  cancel(executionId: string, options?: CancelOptions): Promise<Execution>;
  /** As the gate tells it: nothing of it is verified. `concludeFrom` makes what is known of it and a receipt. */
  getExecution(
    executionId: string,
    options?: CallOptions,
  ): Promise<{ execution: Execution; decision: Decision | undefined }>;
  /** The caller's executions, newest first, page after page as they are asked for. */
  list(options?: ListOptions): AsyncGenerator<Execution, void>;
  /** The receipt of an execution that has ended, verified, with its signer and its signed text. */
  getReceipt(executionId: string, options?: CallOptions): Promise<VerifiedReceipt & { receiptJson: Buffer }>;
  /** The public keys with these ids. Absent or empty: all that receipts and decisions verify with. */
  getKeys(keyIds?: readonly string[], options?: CallOptions): Promise<KeyEntry[]>;
  /** Ends the connection. What runs goes on. */
  close(): void;
}
