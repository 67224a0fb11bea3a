import { existsSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { DualControl } from '@csc-fleet/common/approval';
import type { Signer } from '@csc-fleet/common/crypto';
import { type Clock, systemClock, toTimestamp } from '@csc-fleet/common/encoding';
import type { CscError } from '@csc-fleet/common/errors';
import { parseIdentity } from '@csc-fleet/common/identity';
import { createIssuerKeys } from '@csc-fleet/common/issuer-keys';
import {
  ExecutionState,
  type ProveReceiptsRequest,
  ProveReceiptsResponse,
  SubmitRequest,
  type SubmitResponse,
  type Validity,
} from '@csc-fleet/common/messages';
import { type Bindings, checkBindings, type PolicySet } from '@csc-fleet/common/policy';
import type { LogFields, LogMessage } from '@csc-fleet/common/service';
import { fromStoredTrace, type Tracing, tracedNow, traceIdOf } from '@csc-fleet/common/tracing';
import type { Meter } from '@opentelemetry/api';
import { ApprovalDesk } from '../approval/desk.ts';
import type { ReviewPorts } from '../approval/review.ts';
import { auditOwners } from '../audit/owners-changes.ts';
import { readAudit } from '../audit/read-audit.ts';
import type { LiveExecution } from '../execution/execution.ts';
import { Executions, type Principal } from '../execution/executions.ts';
import { Finisher } from '../execution/finisher.ts';
import { checkAdmin, checkAuditReader } from '../execution/readers.ts';
import { isTerminal, toDecision } from '../execution/row.ts';
import { wantsBinding } from '../execution/submission-of.ts';
import { Connection } from '../link/connection.ts';
import { ExecutorKeys } from '../link/executor-keys.ts';
import { listExecutors, Roster } from '../link/roster.ts';
import { TerminalRelay } from '../link/terminal-relay.ts';
import type { Cosigning, WitnessAddress } from '../log/cosigning.ts';
import type { LogKey } from '../log/log-key.ts';
import type { ReceiptLog } from '../log/receipt-log.ts';
import { OutputIntake } from '../output/intake.ts';
import { OutputStore } from '../output/output-store.ts';
import { encodeItem, itemField } from '../output/reader.ts';
import { createOwners, type Owners } from '../owners/index.ts';
import { follow, giveOutput, watch } from '../read/follow.ts';
import { getExecution, getKeys, getReceipt, listExecutions } from '../read/look-up.ts';
import { listProfiles } from '../read/profiles.ts';
import { getStatus } from '../read/status.ts';
import { Retention, type RetentionLimits } from '../retention/retention.ts';
import type { GateHealth } from '../rpc/health-service.ts';
import type { LinkDoor, OutputDoor, PolicyDoor, ReceiptDoor } from '../rpc/link-service.ts';
import {
  type ApprovalMethods,
  approvalsWithinBounds,
  type FleetMethods,
  forAdmins,
  type GateMethods,
  withBounds,
} from '../rpc/methods.ts';
import { Absences } from '../schedule/absences.ts';
import { cancel } from '../schedule/cancel.ts';
import { createMint, type Mint } from '../schedule/mint.ts';
import { resolve } from '../schedule/resolve.ts';
import { Scheduler } from '../schedule/scheduler.ts';
import { startSweeping } from '../schedule/sweep.ts';
import type { Store, StoreWatcher } from '../store/store.ts';
import { bind } from '../submit/bind.ts';
import { ContractMemo } from '../submit/contract-memo.ts';
import { SubmissionRates } from '../submit/rates.ts';
import { reconsider } from '../submit/reconsider.ts';
import { check, submit } from '../submit.ts';
import { createGateTelemetry, observeGate, tellingOf, timedBy } from '../telemetry/observe.ts';
import { RunTraces } from '../telemetry/run-traces.ts';
import type { TokenDoor } from '../traffic/token-caller.ts';
import type { WebhookPorts, Webhooks } from '../webhooks/webhooks.ts';
import type { GateLimits } from './config.ts';

export interface GateOptions {
  readonly gateId: string;
  /** The whole SPIFFE id of the gate's certificate: whose key `signer` is. */
  readonly identity: string;
  readonly dataDir: string;
  /** Signs tickets, decisions and the receipts of what never ran. */
  readonly signer: Signer;
  readonly policies: PolicySet;
  readonly bindings: Bindings;
  /** What the owners say beside them. Absent: nothing is frozen or revoked, and everything may run anywhere. */
  readonly owners?: Owners;
  /** The published policy repository, for executors. Absent: there is none. */
  readonly policyFiles?: PolicyDoor;
  /** The key of its log of receipts, and where that is. Absent: it keeps none, as in a gate that is gone before. */
  readonly log?: LogKey;
  /** Who cosigns that log. Absent: nobody. */
  readonly witnesses?: readonly WitnessAddress[];
  readonly limits: GateLimits;
  /** Absent: nothing is ever forgotten, as in a gate that is gone before. */
  readonly retention?: RetentionLimits;
  readonly acceptUnsignedApprovals: boolean;
  readonly keepDeniedContracts: boolean;
  /** Whether a request without a signed submission is refused here, whatever hosts ask for. */
  readonly requireSignedSubmissions: boolean;
  /** What a contract's dual_control_required comes to. */
  readonly dualControl: DualControl;
  readonly executorLostAfterSec: number;
  readonly heartbeatIntervalSec: number;
  readonly decisionTtlSec: number;
}

export interface GateDependencies {
  /** Where it keeps what it must still know. Absent: a database in `dataDir`. */
  readonly store?: Store;
  readonly clock?: Clock;
  /** Milliseconds of a clock that never jumps. Default: the system's. */
  readonly monotonicMs?: () => number;
  /** Told of errors that no caller waits for; may hold what a caller must not see. Default: they are dropped. */
  readonly onError?: (error: unknown) => void;
  /**
   * Told where the store has failed in a way that no later write gets over; a full disk is none. End the process: what
   * was open goes on from the disk when it is started again. Default: nothing.
   */
  readonly onStoreLost?: (error: CscError) => void;
  /** When the gate's own certificate counts, for its status. Absent: it has none. */
  readonly certificate?: () => Validity | undefined;
  /** What its owner should look at, for its status. Absent: nothing. */
  readonly warnings?: () => readonly string[];
  /** Where its traces go. Absent: nothing is traced; what clients say of theirs goes on to hosts all the same. */
  readonly tracing?: Tracing | undefined;
  /** Where its metrics go. Absent: nothing is measured. */
  readonly meter?: Meter | undefined;
  /** Who is told of approvals. Absent: nobody. */
  readonly openWebhooks?: ((ports: WebhookPorts) => Webhooks) | undefined;
  /** Told of what an operator may want to know. Default: dropped. */
  readonly onNotice?: (message: LogMessage<'info'>, details: LogFields) => void;
  /** Told of what its owner may want to do something about. Default: dropped. */
  readonly onWarning?: (message: LogMessage<'warn'>, details: LogFields) => void;
}

/**
 * A gate without a network: the methods of its service, and the doors that executors come in by. server.ts puts gRPC
 * around it, `csc run` an executor in the same process. Errors are CscErrors as docs/errors.md has them; anything else
 * is a fault of ours.
 */
export interface Gate {
  readonly methods: GateMethods;
  /** What is for admins alone. */
  readonly fleet: FleetMethods;
  /** What is for approvers alone. */
  readonly approvals: ApprovalMethods;
  readonly link: LinkDoor;
  /** By which tokens say who calls. */
  readonly tokens: TokenDoor;
  readonly output: OutputDoor;
  readonly receipts: ReceiptDoor;
  /** Absent: there is no policy repository. */
  readonly policyFiles?: PolicyDoor;
  /** How it is at this moment. */
  health(): GateHealth;
  /** The id of the trace that an open execution is of; undefined: of none. For the log. */
  traceOf(executionId: string): string | undefined;
  /** To be called when the owners say something else: what waits is held against it, and every executor told to look. */
  ownersChanged(): Promise<void>;
  /** To be called before `signer` signs with another key: it is kept with those that verify. */
  keepKey(signer: Signer): Promise<void>;
  /** Stops the timers and closes store and logs; what was open goes on when a gate is made on the same directory. */
  close(): Promise<void>;
}

/** Opens the store, takes up what was open in it, and gives a gate. Throws STORE_UNAVAILABLE, POLICY_INVALID. */
export async function createGate(options: GateOptions, dependencies: GateDependencies = {}): Promise<Gate> {
  checkBindings(options.bindings, options.policies);
  const parts = await assemble(options, dependencies);
  const { executions, scheduler, store, output, onError } = parts;
  // What was offered or runs waits for its executor's Hello.
  const waits = ({ row }: LiveExecution): number => (row.state === ExecutionState.QUEUED ? 1 : 0);
  const open = await executions.restore();
  if (dependencies.store === undefined) await loseIfRestored(parts, open);
  for (const execution of open.toSorted((a, b) => waits(a) - waits(b))) {
    parts.telemetry?.runs.restored(execution);
    parts.traces?.saw(execution);
    scheduler.restore(execution);
  }
  await auditOwners(parts);
  // Of a reload that changes nothing of it, nothing is said again.
  let toldOfLog: string | undefined;
  const tellOtherLog = (): void => {
    const other = parts.otherLog();
    if (other !== undefined && other !== toldOfLog)
      parts.onWarning('the owners’ log.yaml names another log of receipts', { why: other });
    toldOfLog = other;
  };
  tellOtherLog();
  // The owners may have said something else while this gate was away.
  if (parts.owners.tellsHosts()) await reconsider(parts);
  let auditing: Promise<void> = Promise.resolve();
  const stopSweeping = startSweeping(parts);
  // There would be nothing to forget, and it looks at every output there is.
  const stopPruning = options.retention === undefined ? async () => {} : parts.retainer.start();
  parts.log?.start();
  parts.cosigning?.start();
  return {
    methods: withBounds(toMethods(parts)),
    fleet: forAdmins(toFleet(parts), {
      admin: (principal) => checkAdmin(parts.bindings, principal),
      auditReader: (principal) => checkAuditReader(parts.bindings, principal),
    }),
    approvals: approvalsWithinBounds(toApprovals(parts)),
    link: { open: (remote) => new Connection(parts, remote) },
    tokens: {
      issuers: () => parts.owners.issuers(),
      issuerKeys: parts.issuerKeys,
      now: () => parts.clock.now(),
    },
    receipts: {
      prove: async (executor, request) =>
        (await import('../log/prove-own.ts')).proveOwnReceipts(parts, executor, request),
    },
    ...(options.policyFiles === undefined ? {} : { policyFiles: options.policyFiles }),
    output: new OutputIntake({
      executions,
      store: output,
      offers: scheduler.offers,
      limits: parts.limits,
      onError,
    }),
    health: () => ({
      storeWritable: parts.storeWritable(),
      placing:
        parts.owners.freeze() === undefined && [...scheduler.peers.all()].some(({ resting }) => !resting),
    }),
    traceOf: (executionId) => {
      const trace = fromStoredTrace(executions.openById(executionId)?.row.trace_context);
      return trace === undefined ? undefined : traceIdOf(trace);
    },
    ownersChanged: async () => {
      tellOtherLog();
      // What they have taken back counts at once, also where that cannot be written down for now.
      auditing = auditing.then(() => auditOwners(parts)).catch(onError);
      scheduler.peers.expectRenewals();
      for (const peer of scheduler.peers.all()) peer.send({ $case: 'policyChanged', value: {} });
      await reconsider(parts);
      scheduler.place();
      await auditing;
    },
    keepKey: (signer) => registerOwnKey({ ...options, signer }, parts.store, parts.clock),
    close: async () => {
      stopSweeping();
      parts.webhooks?.close();
      await stopPruning();
      await parts.cosigning?.close();
      await parts.log?.close();
      await output.close();
      await store.close();
    },
  };
}

/**
 * Of a store that was restored from a backup, what had not begun then may have run since and is not placed a second time:
 * it is LOST, unless its executor comes with the receipt. Killed meanwhile, it is done again.
 */
async function loseIfRestored({ dataDir, finisher }: Parts, open: readonly LiveExecution[]): Promise<void> {
  const { restoredMark } = await import('../store/node-sqlite.ts');
  const mark = join(dataDir, `gate.db${restoredMark}`);
  if (!existsSync(mark)) return;
  const why =
    'this gate was restored from a backup, and it may have run since that was made: nothing is run twice';
  for (const execution of open)
    if (!execution.terminal && execution.row.state !== ExecutionState.RUNNING)
      await finisher.lost(execution, why, { ticket_epoch: null });
  rmSync(mark);
}

type Parts = Awaited<ReturnType<typeof assemble>>;

function toMethods(parts: Parts) {
  const { executions, keys } = parts;
  // Most gates are never asked, and that of csc run has none.
  const beside = async (principal: Principal, executionId: string, wanted: ProveReceiptsRequest) =>
    (await import('../log/prove.ts')).proveBeside(parts, principal, executionId, wanted);
  return {
    submit: async ({ principal, request, trace }) => {
      const { execution, existing } = await submit(parts, principal, request, trace);
      return {
        executionId: execution.id,
        decision: toDecision(execution.row),
        state: execution.row.state as SubmitResponse['state'],
        existing,
        mustNameHost: wantsBinding(execution.row) && !isTerminal(execution.row.state),
      };
    },
    run: async ({ principal, request, trace, write, gone }) => {
      const submitted = request.submit ?? SubmitRequest.fromPartial({});
      const { execution } = await submit(parts, principal, submitted, trace);
      await follow(parts, execution, write, gone, request);
      if (request.prove === undefined || gone.aborted || !isTerminal(execution.row.state)) return;
      const proof = await beside(principal, execution.id, request.prove);
      if (proof !== undefined)
        await write(encodeItem(itemField.proof, ProveReceiptsResponse.encode(proof).finish()));
    },
    bind: async ({ principal, request }) => {
      await bind(parts, principal, request, parts.clock.now());
      return {};
    },
    check: async ({ principal, request }) => check(parts, principal, request),
    watch: async ({ principal, request, write, gone }) => {
      const execution = await executions.visible(principal, request.executionId);
      for await (const event of watch(parts, execution, request.fromSequence, gone)) await write({ event });
      if (request.prove === undefined || gone.aborted || !isTerminal(execution.row.state)) return;
      const proof = await beside(principal, execution.id, request.prove);
      if (proof !== undefined) await write({ event: undefined, proof });
    },
    readOutput: ({ principal, request, write, gone }) => giveOutput(parts, principal, request, write, gone),
    cancel: ({ principal, request }) => cancel(parts, principal, request),
    sendInput: ({ principal, request }) => parts.relay.send(principal, request),
    getExecution: ({ principal, request }) => getExecution(parts, principal, request),
    listExecutions: ({ principal, request }) => listExecutions(parts, principal, request),
    getReceipt: async ({ principal, request }) => {
      const receipt = await getReceipt(parts, principal, request);
      if (request.prove === undefined) return receipt;
      return { ...receipt, proof: await beside(principal, request.executionId, request.prove) };
    },
    getKeys: async ({ request }) => getKeys(keys, request),
    listProfiles: async ({ principal }) => listProfiles(parts, principal),
    getStatus: async ({ principal }) => getStatus(parts, principal),
    proveReceipts: async ({ principal, request }) =>
      (await import('../log/prove.ts')).proveReceipts(parts, principal, request),
  } satisfies GateMethods;
}

function toFleet(parts: Parts): FleetMethods {
  return {
    listExecutors: () => listExecutors(parts),
    audit: ({ request, write, gone }) => readAudit(parts, request, write, gone),
    prune: ({ request }) => parts.retainer.prune(request.dryRun ? 'count' : 'forget'),
    resolve: ({ request }) => resolve(parts, request),
    readLogTile: async ({ request }) => (await import('../log/prove.ts')).readLogTile(parts, request),
  };
}

function toApprovals({ desk }: Parts): ApprovalMethods {
  return {
    list: ({ principal, request }) => desk.list(principal, request),
    watch: ({ principal, write, gone }) => desk.watch(principal, write, gone),
    get: ({ principal, request }) => desk.get(principal, request.executionId),
    review: ({ principal, request }) => desk.review(principal, request),
  };
}

async function assemble(options: GateOptions, dependencies: GateDependencies) {
  const { clock = systemClock, monotonicMs = () => performance.now() } = dependencies;
  const {
    onError = () => undefined,
    onNotice = () => undefined,
    onWarning = () => undefined,
    onStoreLost = () => undefined,
  } = dependencies;
  const { dataDir, limits } = options;
  // For its status, as long as it lasts.
  const troubles: string[] = [];
  const watcher: StoreWatcher = {
    onLost: onStoreLost,
    onTrouble: (error) => {
      troubles.push(error.message);
      onError(error);
    },
    onRecovered: () => {
      troubles.length = 0;
      onNotice('the store takes writes again', { data_dir: dataDir });
    },
  };
  const store = dependencies.store ?? (await openOnDisk(dataDir, watcher));
  // Before anything is written: it may know of numbers that this store has forgotten.
  const log = await openLog(options, store, onError);
  const cosigning = await openCosigning(options, log, onWarning, clock);
  // Of a gate that is none, no submission is for it.
  const trustDomain = parseIdentity(options.identity)?.trustDomain ?? '';
  const { policies, bindings } = options;
  const { owners = createOwners({ policies, bindings }) } = options;
  const { tracing } = dependencies;
  const traces = tracing === undefined ? undefined : new RunTraces(tracing);
  const told = { onError, onNotice, onWarning };
  const issuerKeys = createIssuerKeys({ clock });
  const base = { ...options, ...told, owners, trustDomain, issuerKeys, clock, monotonicMs, store, tracing };
  const output = new OutputStore(join(dataDir, 'output'));
  const { meter } = dependencies;
  const telemetry = meter === undefined ? undefined : createGateTelemetry(meter, monotonicMs);
  const timed = timedBy(telemetry);
  const saw = (execution: LiveExecution): void => {
    telemetry?.runs.saw(execution);
    traces?.saw(execution);
    desk.saw(execution);
    webhooks?.saw(execution);
  };
  const created = (execution: LiveExecution): void => {
    telemetry?.runs.created(execution);
    traces?.saw(execution);
    desk.saw(execution);
    webhooks?.saw(execution);
  };
  const storedBytesPerDay = (principal: string): number =>
    Math.min(limits.storedBytesPerDay, owners.limitsOf(principal).storedBytesPerDay);
  const executions = new Executions(
    store,
    (execution) => {
      output.wake(execution.id);
      scheduler.count(execution);
      saw(execution);
    },
    storedBytesPerDay,
    created,
  );
  const finisher = new Finisher({ ...base, executions });
  const minting = createMint(base);
  const mint: Mint = (row, seat) => {
    const facts = { 'csc.execution.id': row.execution_id, 'csc.executor.id': seat.peer.name };
    const parent = fromStoredTrace(row.trace_context);
    return timed('mint', () =>
      tracedNow(tracing, 'csc.gate.mint', { parent, facts }, () => minting(row, seat)),
    );
  };
  const scheduler: Scheduler = new Scheduler({ ...base, executions, finisher, mint });
  const webhooks = dependencies.openWebhooks?.({
    ...base,
    ended: (outcome) => telemetry?.told.add('csc_webhooks_total', { outcome }),
  });
  const reviewed: ReviewPorts['reviewed'] = (verdict, execution, by) => {
    telemetry?.told.add('csc_approvals_total', { verdict });
    webhooks?.reviewed(execution, { verdict, ...by });
  };
  const reviewing = { finisher, scheduler, storedBytesPerDay, reviewed };
  const desk: ApprovalDesk = new ApprovalDesk({ ...base, ...reviewing, executions });
  const absences = new Absences({ ...base, peers: scheduler.peers });
  const rates = new SubmissionRates(owners, monotonicMs);
  await registerOwnKey(options, store, clock);
  const keys = await ExecutorKeys.load({ store, clock, maxPerExecutor: limits.executorKeys });
  const known = telemetry === undefined ? [] : await store.executors(mostKnownExecutors);
  const storeWritable = (): boolean => troubles.length === 0;
  const facts = { scheduler, owners, known, storeWritable, log, cosigning, now: () => clock.now() };
  const came = telemetry === undefined ? undefined : observeGate(telemetry, facts);
  const roster = came === undefined ? new Roster(base) : tellingOf(new Roster(base), came);
  const relay = new TerminalRelay({ executions, scheduler });
  const retainer = new Retention({ ...base, output, retention: options.retention ?? keepAll });
  const contracts = new ContractMemo();
  const startedAt = clock.now();
  const { certificate } = dependencies;
  const otherLog = () => options.log && describeOtherLog(options.log, owners.log()?.vkey);
  const warnings = () => [
    ...troubles,
    ...logTroubles(log, cosigning, otherLog()),
    ...(dependencies.warnings?.() ?? []),
  ];
  return {
    ...base,
    ...{
      output,
      executions,
      finisher,
      mint,
      scheduler,
      absences,
      desk,
      webhooks,
      rates,
      storedBytesPerDay,
      contracts,
      log,
      cosigning,
      otherLog,
      keys,
      roster,
      relay,
      retainer,
      startedAt,
      certificate,
      warnings,
      telemetry,
      traces,
      timed,
      storeWritable,
    },
  };
}

// Its key was lost or replaced, or theirs is not published yet; those who refuse its receipts for it do not ask its owner.
function describeOtherLog(own: LogKey, named: string | undefined): string | undefined {
  if (named === undefined || named === own.vkey) return undefined;
  return `the log of receipts is that of ${own.vkey}, and the owners’ log.yaml names ${named}: who goes by it refuses this gate’s receipts; publish this key there, or bring back log/ of the data directory`;
}

// Who demands the log waits meanwhile, and sees no reason here.
function logTroubles(
  log: ReceiptLog | undefined,
  cosigning: Cosigning | undefined,
  other: string | undefined,
): string[] {
  const { trouble } = log ?? {};
  return [
    ...(other === undefined ? [] : [other]),
    ...(trouble === undefined ? [] : [`the log of receipts takes nothing in: ${trouble}`]),
    ...(cosigning?.failing ?? []).map(
      ({ name, why }) => `the witness ${name} does not cosign the log: ${why}`,
    ),
  ];
}

async function openLog(
  { log: key }: GateOptions,
  store: Store,
  onError: (error: unknown) => void,
): Promise<ReceiptLog | undefined> {
  if (key === undefined) return undefined;
  const { ReceiptLog } = await import('../log/receipt-log.ts');
  return ReceiptLog.open({ ...key, store, onError });
}

async function openCosigning(
  { witnesses = [] }: GateOptions,
  log: ReceiptLog | undefined,
  onWarning: (message: LogMessage<'warn'>, details: LogFields) => void,
  clock: Clock,
): Promise<Cosigning | undefined> {
  if (log === undefined || witnesses.length === 0) return undefined;
  const { Cosigning } = await import('../log/cosigning.ts');
  return new Cosigning({ log, witnesses, onWarning, clock });
}

// Loaded by gates that have a database alone, with SQLite and what writes its queries.
async function openOnDisk(dataDir: string, watcher: StoreWatcher): Promise<Store> {
  return (await import('../store/store.ts')).openStore(join(dataDir, 'gate.db'), watcher);
}

const mostKnownExecutors = 1000;

const keepAll: RetentionLimits = {
  maxAgeDays: 100_000,
  maxBytes: Number.MAX_SAFE_INTEGER,
  receiptsDays: 100_000,
};

// Kept with the executors' keys, so that what an older key of this gate signed still verifies.
async function registerOwnKey(
  { identity: owner, signer }: Pick<GateOptions, 'identity' | 'signer'>,
  store: Store,
  clock: Clock,
): Promise<void> {
  const known = await store.keys();
  if (known.some((row) => row.key_id === signer.keyId)) return;
  const since = toTimestamp(clock.now());
  await store.addKey({ key_id: signer.keyId, public_key: signer.publicKey, owner, since });
}
