import type { KeyEntry } from '@csc-fleet/common/crypto';
import type { CscError } from '@csc-fleet/common/errors';
import {
  type Absence,
  type AuditRecord,
  type Decision,
  type Execution,
  type ExecutorStatus,
  GateService,
  type GetStatusResponse,
  type Profile,
  type PruneResponse,
  type ResolveResponse,
  type Reviewed,
} from '@csc-fleet/common/rpc';
import { type ApprovalsClient, createApprovals } from './calls/approvals.ts';
import {
  type AuditOptions,
  type CallOptions,
  type CancelOptions,
  type CheckOptions,
  cancel,
  check,
  getExecution,
  getKeys,
  getStatus,
  type ListOptions,
  listExecutions,
  listExecutors,
  listProfiles,
  type PruneOptions,
  prune,
  readAudit,
  readLogFile,
  resolve,
  type Submitted,
  submit,
  whoAmI,
} from './calls/calls.ts';
import type { ContractInput, SubmitOptions } from './calls/request.ts';
import {
  type ConnectOptions,
  chooseKeys,
  lazilyChecked,
  openRoute,
  toOwnersTrust,
  toSubmitter,
} from './connect-options.ts';
import { createConnection } from './connection/connection.ts';
import { patient } from './connection/reconnect.ts';
import { awaitPlacement } from './run/bind.ts';
import type { RunResult } from './run/conclude.ts';
import { type FollowOptions, follow, type RunContext, type RunOptions, run } from './run/run.ts';
import { openTerminalInput, type TerminalClaim, type TerminalInput } from './run/terminal.ts';
import type { ExecutionEvent, OutputItem } from './stream/items.ts';
import { type ReadOutputOptions, readOutput, type WatchOptions, watch } from './stream/read.ts';
import { createSeenChains } from './verify/chains.ts';
import { type ExecutionResolution, readResolution } from './verify/resolution.ts';
import { type VerifiedReceipt, verifyFromSource } from './verify/verify-receipt.ts';

/**
 * A client of one gate. Every method rejects with CscError only; its `code` is the gate's reason, or
 * GATE_UNREACHABLE, CANCELLED, DEADLINE_EXCEEDED. What `run` and `submit` reject with names the idempotency key that was
 * handed in (`idempotencyKey`): with it, contract and options the same, nothing runs twice.
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
  /** Takes up an execution from its beginning, as `run` would have gone on with it. Throws EXECUTION_UNKNOWN. */
  follow(executionId: string, options?: FollowOptions): Promise<RunResult>;
  /**
   * Hands a contract in and returns with the decision; does not wait for it to run. Where `mustNameHost` is true, it runs
   * only once `awaitPlacement`, or `follow`, has named its host.
   */
  submit(contract: ContractInput, options?: SubmitOptions & CallOptions): Promise<Submitted>;
  /**
   * Waits until the execution has its host, whose name it signs where the policy wants that and this client, or what it
   * remembers, has signed the submission; or until it has ended or waits for an approval.
   */
  awaitPlacement(executionId: string, options?: CallOptions): Promise<void>;
  /** Asks what the gate would decide; runs nothing. Throws CONTRACT_INVALID; a denial is a decision. */
  check(contract: ContractInput, options?: CheckOptions): Promise<Decision>;
  /** Events in order, past ones first, each once, up to `finished`. */
  watch(executionId: string, options?: WatchOptions): AsyncGenerator<ExecutionEvent, void>;
  /** Output from any offset on, each byte once. */
  readOutput(executionId: string, options?: ReadOutputOptions): AsyncGenerator<OutputItem, void>;
  /** Asks for the execution's end; it has ended once its state says so. Idempotent. */
  cancel(executionId: string, options?: CancelOptions): Promise<Execution>;
  /**
   * As the gate tells it: nothing of it is verified but what the owners have signed (`resolution`). `concludeFrom` makes what
   * is known of it and a receipt. Throws RESOLUTION_INVALID.
   */
  getExecution(
    executionId: string,
    options?: CallOptions,
  ): Promise<{
    execution: Execution;
    decision: Decision | undefined;
    resolution: ExecutionResolution | undefined;
    /** Undefined: its executor is there, or none has it. */
    absence: Absence | undefined;
    /** What the people have said who were asked, in order, as the gate tells it: hosts count what they have signed. */
    reviews: Reviewed[];
    /** While it waits for approval: who must agree yet, for people. */
    approvalMissing: string;
  }>;
  /** The caller's executions, newest first, page after page as they are asked for. */
  list(options?: ListOptions): AsyncGenerator<Execution, void>;
  /** The policy profiles that the caller may use; the first decides where none is asked for. */
  profiles(options?: CallOptions): Promise<Profile[]>;
  /** Whom the gate takes this client for, a SPIFFE id: by its certificate, or by its token and the owners' issuers.yaml. */
  principal(options?: CallOptions): Promise<string>;
  /** How the gate is, and what the caller's executions wait for; for an admin, everybody's. */
  status(options?: CallOptions): Promise<GetStatusResponse>;
  /** The executors that are connected, and those that were. For admins: throws NOT_PERMITTED for others. */
  executors(options?: CallOptions): Promise<ExecutorStatus[]>;
  /** Has the gate forget what is over and due. For admins: throws NOT_PERMITTED for others. */
  prune(options?: PruneOptions): Promise<PruneResponse>;
  /**
   * What the gate has decided and what came of it, in the order in which it was written down, each record once, over as
   * many connections as it takes. For admins: throws NOT_PERMITTED for others, and AUDIT_TRIMMED.
   */
  audit(options?: AuditOptions): AsyncGenerator<AuditRecord, void>;
  /**
   * Ends an execution, anybody's, whose executor does not come back, by artifacts that the owners have signed (`csc admin
   * resolve` makes them); with none, only tells what there would be to sign for. Idempotent. For admins: throws NOT_PERMITTED
   * for others, RESOLUTION_INVALID.
   */
  resolve(
    executionId: string,
    resolutions: readonly (string | Uint8Array)[],
    options?: CallOptions,
  ): Promise<ResolveResponse>;
  /**
   * A file of the gate's log of receipts, as C2SP tlog-tiles calls it: `checkpoint`, or a tile. Undefined: it has none of that
   * path. Nothing of it is verified. For admins: throws NOT_PERMITTED for others.
   */
  readLogFile(path: string, options?: CallOptions): Promise<Buffer | undefined>;
  /** What waits for people's agreement, for those whom the owners' approvers.yaml names. */
  readonly approvals: ApprovalsClient;
  /** Types into the terminal of an execution that another process has begun, whose claim this is. */
  openTerminal(claim: TerminalClaim): TerminalInput;
  /** The receipt of an execution that has ended, verified, with its signer and its signed text. */
  getReceipt(executionId: string, options?: CallOptions): Promise<FetchedReceipt>;
  /** The public keys with these ids. Absent or empty: all that receipts and decisions verify with. */
  getKeys(keyIds?: readonly string[], options?: CallOptions): Promise<KeyEntry[]>;
  /** Ends the connection, and what was asked over it, with CANCELLED. What runs goes on. */
  close(): void;
}

/** A receipt, verified, and its signed texts: as it was asked for, and where that is v0.1, what it is a projection of. */
export type FetchedReceipt = VerifiedReceipt & {
  readonly receiptJson: Buffer;
  /** Empty where there is none. */
  readonly originalJson: Buffer;
};

/**
 * A client of the gate at an address. Nothing is sent until the first call.
 *
 *     using csc = connect({
 *       address: 'gate.example:7443',
 *       tls: { ca: 'ca.pem', cert: 'me.pem', key: 'me.key' },
 *       submitter: 'submitter.key',
 *     });
 *     const { decision, receipt, exitCode } = await csc.run(contract, {
 *       handlers: {
 *         onStdout: (data) => void process.stdout.write(data),
 *         onEvent: (event) => console.error(event.type),
 *       },
 *       selector: { arch: 'x86_64' },
 *       signal: AbortSignal.timeout(600_000),
 *     });
 *     console.error(decision?.reasonCodes, receipt?.status, exitCode); // the receipt has been verified
 *
 * Throws FILE_UNREADABLE, KEY_INVALID or CONFIG_INVALID where the files or the address cannot be used, and
 * CREDENTIALS_INVALID where this client's certificate has ended or has not begun.
 */
export function connect(options: ConnectOptions): GateClient {
  const hasty = createConnection(openRoute(options), options.callTimeoutMs ?? 30_000);
  const { reconnectForMs = 60_000 } = options;
  const reconnect = {
    connectForMs: options.connectTimeout ?? Math.min(30_000, reconnectForMs),
    giveUpAfterMs: reconnectForMs,
    isUnconnected: hasty.isUnconnected,
    isConnected: hasty.isConnected,
    isAccepted: hasty.isAccepted,
    onRetry: (error: CscError, delayMs: number) => options.onReconnect?.(error, delayMs),
  };
  const connection = patient(hasty, reconnect);
  const keys = { ...chooseKeys(options, connection), seen: options.seenChains ?? createSeenChains() };
  const owners = toOwnersTrust(options);
  const log = options.log === undefined ? undefined : lazilyChecked(options.log, options);
  return createClient({
    connection,
    reconnect,
    keys,
    submitter: toSubmitter(options),
    owners,
    log,
    sealKeys: options.sealKeys,
  });
}

function createClient(context: RunContext): GateClient {
  const { connection, reconnect, keys, owners, log } = context;
  return {
    run: (contract, options = {}) => run(context, contract, options),
    follow: (executionId, options = {}) => follow(context, executionId, options),
    submit: (contract, options = {}) => submit(context, contract, options),
    awaitPlacement: (executionId, options = {}) => awaitPlacement(context, executionId, options),
    check: (contract, options = {}) => check(connection, contract, options),
    watch: (executionId, options) => watch(connection, reconnect, executionId, options),
    readOutput: (executionId, options) =>
      readOutput(connection, reconnect, executionId, options, context.sealKeys),
    cancel: (executionId, options = {}) => cancel(connection, executionId, options),
    getExecution: async (executionId, options = {}) => {
      const { resolutionsJson, ...told } = await getExecution(connection, executionId, options);
      const { executionId: named, contractSha256 } = told.execution;
      // Of which it was asked, by the beginning of its id or the whole of it.
      const subject = { executionId: named.startsWith(executionId) ? named : executionId, contractSha256 };
      return { ...told, resolution: readResolution(resolutionsJson, owners, subject) };
    },
    list: (options = {}) => listExecutions(connection, options),
    profiles: (options = {}) => listProfiles(connection, options),
    principal: (options = {}) => whoAmI(connection, options),
    status: (options = {}) => getStatus(connection, options),
    executors: (options = {}) => listExecutors(connection, options),
    prune: (options = {}) => prune(connection, options),
    audit: (options = {}) => readAudit(connection, reconnect, options),
    resolve: (executionId, resolutions, options = {}) =>
      resolve(connection, executionId, resolutions, options),
    readLogFile: (path, options = {}) => readLogFile(connection, path, options),
    approvals: createApprovals(connection, reconnect),
    openTerminal: (claim) => openTerminalInput(connection, claim),
    getReceipt: async (executionId, { signal } = {}) => {
      const check = await log?.();
      const wanted = await check?.wanted();
      const asked = { executionId, ...(wanted === undefined ? {} : { prove: wanted.request }) };
      const { proof, ...texts } = await connection.unary(GateService.getReceipt, asked, signal);
      const verified = await verifyFromSource(texts, keys, { executionId }, signal);
      const brought = wanted === undefined ? undefined : { wanted, answer: proof };
      await check?.check(connection, { executionId, ...texts }, brought, signal);
      return { ...verified, ...texts };
    },
    getKeys: (keyIds = [], options = {}) => getKeys(connection, keyIds, options.signal),
    close: connection.close,
    [Symbol.dispose]: connection.close,
  };
}
