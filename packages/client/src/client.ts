import { type KeyEntry, type KeyRing, readOwnSigner } from '@csc-fleet/common/crypto';
import { CscError, isCscError, quoteBriefly } from '@csc-fleet/common/errors';
import type { SubmissionSigner } from '@csc-fleet/common/evidence';
import { type FleetCa, parseCertificates, readOwnersKeys } from '@csc-fleet/common/evidence';
import { type PemSource, readBoundedFile, readPem } from '@csc-fleet/common/files';
import {
  type Absence,
  type AuditRecord,
  type ChannelCredentials,
  channelOptions,
  channelTo,
  type Decision,
  type Execution,
  type ExecutorStatus,
  explainDrop,
  GateService,
  GateClient as GateStub,
  type GetStatusResponse,
  type Identity,
  type Profile,
  type PruneResponse,
  parseIdentity,
  type ResolveResponse,
  type Reviewed,
  readChannelCredentials,
  readOwnIdentity,
  type TlsFiles,
  TlsSource,
} from '@csc-fleet/common/rpc';
import type { SealKeys } from '@csc-fleet/common/seal';
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
import { createSignedSubmissions, type SignedSubmissions } from './calls/signed.ts';
import type { Submitter } from './calls/submitter.ts';
import { type Connection, createConnection, type Route } from './connection/connection.ts';
import { patient } from './connection/reconnect.ts';
import { awaitPlacement } from './run/bind.ts';
import {
  type FollowOptions,
  follow,
  type RunContext,
  type RunOptions,
  type RunResult,
  run,
} from './run/run.ts';
import { openTerminalInput, type TerminalClaim, type TerminalInput } from './run/terminal.ts';
import type { ExecutionEvent, OutputItem } from './stream/items.ts';
import { type ReadOutputOptions, readOutput, type WatchOptions, watch } from './stream/read.ts';
import { createSeenChains, type SeenChains } from './verify/chains.ts';
import {
  certifiedKeys,
  createKnownExecutors,
  type KeySource,
  type KnownExecutors,
  knownKeys,
  pinnedKeys,
} from './verify/keys.ts';
import type { LogCheck, LogDemand, LogOptions } from './verify/log.ts';
import { type ExecutionResolution, noRoot, type OwnersTrust, readResolution } from './verify/resolution.ts';
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
  /** Ends the connection. What runs goes on. */
  close(): void;
}

/** A receipt, verified, and its signed texts: as it was asked for, and where that is v0.1, what it is a projection of. */
export type FetchedReceipt = VerifiedReceipt & {
  readonly receiptJson: Buffer;
  /** Empty where there is none. */
  readonly originalJson: Buffer;
};

/** How to reach a gate and as whom. */
export type ConnectOptions = {
  /** `host:port`. */
  readonly address: string;
  /** The executors' receipt keys with their owners, pinned: no other key counts. Absent: trust on first use. */
  readonly executorKeys?: KeyRing | undefined;
  /**
   * The CA that certifies executors' receipt keys, PEM or the path of a PEM file: a receipt counts with a certificate of it that the receipt itself
   * brings, or with a pinned key. No gate is asked whose an executor's key is. Absent: pins, or trust on first use.
   */
  readonly fleetCa?: string | Uint8Array | undefined;
  /**
   * The root.json of the owners' policy repository, as hosts pin it, or its path: what the owners sign of an execution that is
   * lost for good is verified by it. Absent: that is the gate's word, and is called so.
   */
  readonly ownersRoot?: string | Uint8Array | undefined;
  /**
   * The gate's log of receipts: each receipt must be in it, and it must only add to what was met of it before. Absent: it is
   * not asked for.
   */
  readonly log?: LogOptions | undefined;
  /** The private keys that open sealed output, by their ids. Absent: it comes sealed. */
  readonly sealKeys?: SealKeys | undefined;
  /** What was met of executors' chains: a receipt must not contradict an earlier one. Absent: what this client meets. */
  readonly seenChains?: SeenChains | undefined;
  /** Without pins: the executors that were met before. Absent: those that this client meets. */
  readonly knownExecutors?: KnownExecutors | undefined;
  /**
   * Signs every submission for this client's principal, with a key that the owners' bindings.yaml names for it: the
   * private key of `csc login` (a path, or PEM), or whatever signs. Hosts believe that signature instead of the gate. Absent:
   * nothing is signed.
   */
  readonly submitter?: string | SubmissionSigner | undefined;
  /**
   * Gives an OIDC token that says who this is, for a gate of this trust domain; `tls` has a certificate then that its key has
   * made of itself (identifyByToken makes both). Absent: the certificate says who it is.
   */
  readonly bearer?: ((trustDomain: string) => Promise<string>) | undefined;
  /** Whom the submitter signs for, a SPIFFE id. Absent: whom the certificate of `tls` names. */
  readonly principal?: string | undefined;
  /**
   * What the submitter has signed, so that nobody's nonce names two hosts, and `follow` can name the host of what another
   * process has handed in. Absent: what this client signs.
   */
  readonly signedSubmissions?: SignedSubmissions | undefined;
  /**
   * Milliseconds that a gate is waited for which is away (a refused connection, a restart) or has no room (QUEUE_FULL,
   * RATE_LIMITED), until it answers a call or sends the first message of a stream. Absent: 30 seconds, or `reconnectForMs`
   * where that is less; 0: one attempt.
   */
  readonly connectTimeout?: number | undefined;
  /** Milliseconds that one attempt of a unary call may take. Absent: 30 seconds. */
  readonly callTimeoutMs?: number | undefined;
  /** Milliseconds without a sign of the gate after which a stream that had begun gives up. Absent: a minute; 0: at once. */
  readonly reconnectForMs?: number | undefined;
  /** Called before each wait for a gate that has gone away. */
  readonly onReconnect?: ((error: CscError, delayMs: number) => void) | undefined;
} & (
  | {
      /**
       * The CA that the gate must prove, and this client's certificate and key: each the path of a PEM file, or the PEM
       * text. Files are read again for the next connection where they have changed.
       */
      readonly tls: TlsFiles;
    }
  | {
      /** Credentials of gRPC, for whoever makes them otherwise. */
      readonly credentials: ChannelCredentials;
    }
);

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

// Loaded when it is first needed; who demands a log is told before anything is handed in where it cannot be.
function lazilyChecked(log: LogOptions, options: ConnectOptions): LogDemand {
  let opened: ReturnType<LogDemand> | undefined;
  return () => {
    opened ??= openLog(log, placeOf(options));
    return opened;
  };
}

async function openLog(log: LogOptions, place: string): Promise<LogCheck> {
  const { openLogCheck } = await import('./verify/log.ts');
  return openLogCheck({ ...log, ...(await log.demanded?.()) }, place);
}

// What one principal is owed another may not ask for.
function placeOf(options: ConnectOptions): string {
  const { address, principal } = options;
  return `${principal ?? ownName(options)} at ${address}`;
}

// Who is nobody's client is told so by the gate.
function ownName(options: ConnectOptions): string {
  try {
    return 'tls' in options ? readOwnIdentity(options.tls.cert, 'client').uri : '';
  } catch (error) {
    if (isCscError(error)) return '';
    throw error;
  }
}

function openRoute(options: ConnectOptions): Route {
  if (!('tls' in options)) return { ...openStub(options.address, options.credentials), explain: (it) => it };
  const source = new TlsSource(options.tls);
  const stub = openStub(
    options.address,
    readChannelCredentials(source, { role: 'gate', bearer: options.bearer }),
  );
  return { ...stub, explain: (error) => explainDrop(error, source.material) };
}

function chooseKeys(options: ConnectOptions, connection: Connection): KeySource {
  const { executorKeys: pinned, knownExecutors: known = createKnownExecutors(), fleetCa } = options;
  if (fleetCa !== undefined)
    return certifiedKeys(
      { ca: readFleetCa(fleetCa), trustDomain: trustDomainOf(options) },
      pinned,
      connection,
    );
  return pinned === undefined ? knownKeys(known, connection) : pinnedKeys(pinned, connection);
}

function readFleetCa(source: PemSource): FleetCa {
  const { bytes, origin } = readPem(source, 'fleetCa', maxPemBytes);
  return parseCertificates(bytes, origin);
}

const maxPemBytes = 1024 * 1024;

function toOwnersTrust(options: ConnectOptions): OwnersTrust | undefined {
  const { ownersRoot } = options;
  if (ownersRoot === undefined) return undefined;
  return { owners: readRoot(ownersRoot), trustDomain: trustDomainOf(options) };
}

/** Its own; undefined where nobody says who it is. */
function trustDomainOf(options: ConnectOptions): string | undefined {
  const { principal } = options;
  const own =
    principal === undefined && 'tls' in options ? readOwnIdentity(options.tls.cert, 'client') : undefined;
  return (own ?? parseIdentity(principal ?? ''))?.trustDomain;
}

function readRoot(source: string | Uint8Array): OwnersTrust['owners'] {
  const [bytes, origin] =
    typeof source === 'string'
      ? [readBoundedFile(source, { maxBytes: maxPemBytes }).bytes, source]
      : [source, 'ownersRoot'];
  try {
    return readOwnersKeys(bytes);
  } catch (cause) {
    throw noRoot(origin, cause);
  }
}

function toSubmitter(options: ConnectOptions): Submitter | undefined {
  const { submitter } = options;
  if (submitter === undefined) return undefined;
  const identity = toPrincipal(options);
  const signer = typeof submitter === 'string' ? readOwnSigner(submitter, identity.uri) : submitter;
  return { identity, signer, signed: options.signedSubmissions ?? createSignedSubmissions() };
}

function toPrincipal(options: ConnectOptions): Identity {
  if (options.principal === undefined && 'tls' in options) return readOwnIdentity(options.tls.cert, 'client');
  const identity = parseIdentity(options.principal ?? '');
  if (identity?.role === 'client') return identity;
  const message = 'a submitter needs a principal to sign for: spiffe://TRUST_DOMAIN/client/NAME';
  throw new CscError('CONFIG_INVALID', message);
}

function openStub(address: string, credentials: ChannelCredentials): Pick<Route, 'client' | 'channel'> {
  const channel = channelTo(address, credentials, channelOptions);
  try {
    return { client: new GateStub(channel.address, channel.credentials, channel.options), channel };
  } catch (cause) {
    const message = `the gate's address must be HOST:PORT, and is ${quoteBriefly(address)}`;
    throw new CscError('CONFIG_INVALID', message, { cause });
  }
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
