import { join } from 'node:path';
import type { DualControl } from '@csc-fleet/common/approval';
import type { Signer } from '@csc-fleet/common/crypto';
import { type Clock, systemClock, toTimestamp } from '@csc-fleet/common/encoding';
import type { CscError } from '@csc-fleet/common/errors';
import { parseIdentity } from '@csc-fleet/common/identity';
import { createIssuerKeys } from '@csc-fleet/common/issuer-keys';
import type { Validity } from '@csc-fleet/common/messages';
import type { Bindings, PolicySet } from '@csc-fleet/common/policy';
import type { LogFields, LogMessage } from '@csc-fleet/common/service';
import { fromStoredTrace, type Tracing, tracedNow } from '@csc-fleet/common/tracing';
import type { Meter } from '@opentelemetry/api';
import { ApprovalDesk } from '../approval/desk.ts';
import type { ReviewPorts } from '../approval/review.ts';
import type { LiveExecution } from '../execution/execution.ts';
import { Executions } from '../execution/executions.ts';
import { Finisher } from '../execution/finisher.ts';
import { ExecutorKeys } from '../link/executor-keys.ts';
import { Roster } from '../link/roster.ts';
import { TerminalRelay } from '../link/terminal-relay.ts';
import type { WitnessAddress } from '../log/cosigning.ts';
import type { LogKey } from '../log/log-key.ts';
import { OutputStore } from '../output/output-store.ts';
import { createOwners, type Owners } from '../owners/index.ts';
import { Retention, type RetentionLimits } from '../retention/retention.ts';
import type { PolicyDoor } from '../rpc/link-service.ts';
import { Absences } from '../schedule/absences.ts';
import { createMint, type Mint } from '../schedule/mint.ts';
import { Scheduler } from '../schedule/scheduler.ts';
import type { Store, StoreWatcher } from '../store/store.ts';
import { ContractMemo } from '../submit/contract-memo.ts';
import { SubmissionRates } from '../submit/rates.ts';
import { createGateTelemetry, observeGate, tellingOf, timedBy } from '../telemetry/observe.ts';
import { RunTraces } from '../telemetry/run-traces.ts';
import type { WebhookPorts, Webhooks } from '../webhooks/webhooks.ts';
import type { GateLimits } from './config.ts';
import { openLogParts } from './log-parts.ts';

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

/** What a gate is made of. Throws STORE_UNAVAILABLE. */
export async function assemble(options: GateOptions, dependencies: GateDependencies) {
  const { clock = systemClock, monotonicMs = () => performance.now() } = dependencies;
  const {
    onError = () => undefined,
    onNotice = () => undefined,
    onWarning = () => undefined,
    onStoreLost = () => undefined,
  } = dependencies;
  const { dataDir, limits } = options;
  const { troubles, watcher } = watchStore(dataDir, { onStoreLost, onError, onNotice });
  const store = dependencies.store ?? (await openOnDisk(dataDir, watcher));
  // Before anything is written: it may know of numbers that this store has forgotten.
  const logParts = await openLogParts(options, { store, clock, onError, onWarning });
  const { log, cosigning } = logParts;
  // Of a gate that is none, no submission is for it.
  const trustDomain = parseIdentity(options.identity)?.trustDomain ?? '';
  const { policies, bindings } = options;
  const { owners = createOwners({ policies, bindings }) } = options;
  const { tracing } = dependencies;
  const traces = tracing === undefined ? undefined : new RunTraces(tracing);
  const told = { onError, onNotice, onWarning };
  const issuerKeys = createIssuerKeys(clock);
  const base = { ...options, ...told, owners, trustDomain, issuerKeys, clock, monotonicMs, store, tracing };
  const output = new OutputStore(join(dataDir, 'output'));
  const { meter } = dependencies;
  const telemetry = meter === undefined ? undefined : createGateTelemetry(meter, monotonicMs);
  const timed = timedBy(telemetry);
  const saw = (execution: LiveExecution): void => {
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
      telemetry?.runs.saw(execution);
      saw(execution);
    },
    storedBytesPerDay,
    (execution) => {
      telemetry?.runs.created(execution);
      saw(execution);
    },
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
  const otherLog = () => logParts.describeOther(owners.log()?.vkey);
  const warnings = () => [
    ...troubles,
    ...logParts.troubles(otherLog()),
    ...(dependencies.warnings?.() ?? []),
  ];
  return {
    ...base,
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
  };
}

export type Parts = Awaited<ReturnType<typeof assemble>>;

/** Notes what is wrong with the store, for the gate's status, as long as it lasts. */
function watchStore(
  dataDir: string,
  {
    onStoreLost,
    onError,
    onNotice,
  }: Required<Pick<GateDependencies, 'onStoreLost' | 'onError' | 'onNotice'>>,
): { readonly troubles: readonly string[]; readonly watcher: StoreWatcher } {
  const troubles: string[] = [];
  return {
    troubles,
    watcher: {
      onLost: onStoreLost,
      onTrouble: (error) => {
        troubles.push(error.message);
        onError(error);
      },
      onRecovered: () => {
        troubles.length = 0;
        onNotice('the store takes writes again', { data_dir: dataDir });
      },
    },
  };
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

/** Kept with the executors' keys, so that what an older key of this gate signed still verifies. */
export async function registerOwnKey(
  { identity: owner, signer }: Pick<GateOptions, 'identity' | 'signer'>,
  store: Store,
  clock: Clock,
): Promise<void> {
  const known = await store.keys();
  if (known.some((row) => row.key_id === signer.keyId)) return;
  const since = toTimestamp(clock.now());
  await store.addKey({ key_id: signer.keyId, public_key: signer.publicKey, owner, since });
}
