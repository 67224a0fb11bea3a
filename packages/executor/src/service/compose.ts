import type { X509Certificate } from 'node:crypto';
import { join } from 'node:path';
import type { DualControl } from '@csc-fleet/common/approval';
import type { KeyRing, Signer } from '@csc-fleet/common/crypto';
import { type Clock, systemClock } from '@csc-fleet/common/encoding';
import { parseIdentity } from '@csc-fleet/common/identity';
import { createIssuerKeys } from '@csc-fleet/common/issuer-keys';
import { narrowLimits } from '@csc-fleet/common/limits';

import { type Log, silentLog, sparingLog } from '@csc-fleet/common/service';
import type { Tracing } from '@csc-fleet/common/tracing';
import { type Cgroups, openCgroups, type Reserve } from '@csc-fleet/sandbox/cgroup';
import { type DoctorOptions, probeHost } from '@csc-fleet/sandbox/doctor';
import {
  findProxyUser,
  type JobUserLeases,
  JobUserPool,
  type RunAs,
  shareUser,
} from '@csc-fleet/sandbox/host';
import { createBwrapLauncher, createLocalLauncher, type Launcher } from '@csc-fleet/sandbox/launch';
import { defaultReserve, defaultRunLimits, type HostFacts, type RunLimits } from '@csc-fleet/sandbox/plan';
import type { Meter } from '@opentelemetry/api';
import { defaultCeiling, type HostCeiling } from '../admission/host-ceiling.ts';
import type { Owners } from '../admission/owners.ts';
import { createTrialLog, defaultSubmissionRules, type SubmissionRules } from '../admission/submission.ts';
import { Archive, archiveDirectory, reconcileArchive, withArchive } from '../archive/index.ts';
import { DiskReserve, openWith, withReserve } from '../disk/index.ts';
import { createEgress, noEgress, type OpenEgress, proxyLimits } from '../egress/index.ts';
import type { ExecutionMode } from '../evidence/index.ts';
import { type ExecutionPorts, execute } from '../execute.ts';
import { type Journal, journalFile, openSqliteJournal } from '../journal/index.ts';
import { Deliveries } from '../link/deliver.ts';
import { type Executor, LinkedExecutor } from '../link/linked-executor.ts';
import { Outbox } from '../link/outbox.ts';
import type { AskProofs, LogWatch, LogWatchPorts, UntakenWatch } from '../log-watch/index.ts';
import { type OutputSink, SpoolDirectory } from '../output/index.ts';
import { defaultOutputLimits, type OutputLimits } from '../output/limits.ts';
import { createLocalWorkplace } from '../run/local-workplace.ts';
import { createSandboxWorkplace } from '../run/sandbox-workplace.ts';
import type { Environment, Workplace } from '../run/workplace.ts';
import type { SecretProvider } from '../secrets/index.ts';
import { createExecutorTelemetry, type ExecutorTelemetry, observeExecutor } from '../telemetry/observe.ts';
import { openTerminal } from '../terminal/index.ts';

import { createOutlastCheck, watchCertificates } from './certificate-ends.ts';
import { followLabels } from './labels.ts';
import { recover } from './recover.ts';
import { watchRevocation } from './revoked-host.ts';
import { readReceiptSigner, withCertificates } from './signing-key.ts';
import { claimStateDir } from './state-dir.ts';

/** What the operator decides of an executor. */
export interface ExecutorOptions {
  /** The audience of its tickets. */
  readonly executorId: string;
  /** The whole SPIFFE id of its certificate, which the gate knows it by: its NAME is `executorId`. */
  readonly identity: string;
  /** Holds the journal, the output logs and, where `deps.signer` is absent, the receipt key. Made if need be. */
  readonly stateDir: string;
  /** Where its certificate says some, `deps.tlsCertificate`, those of it count, and these must be among them. Default: none. */
  readonly labels?: Readonly<Record<string, string>>;
  /** Of the CA that renews the certificates of this host. Absent: none does. */
  readonly caAddress?: string | undefined;
  /** Executions at once. Default: 1. */
  readonly slots?: number;
  /** Values of the variables that a contract's env_allow may name. Default: none. */
  readonly env?: Environment;
  readonly limits?: Partial<OutputLimits>;
  /** The most that one command may use up. */
  readonly runLimits?: Partial<RunLimits>;
  /** What all jobs together leave to the executor and the rest of the host. */
  readonly reserve?: Partial<Reserve>;
  /** Whether jobs may run where this host has no cgroups to offer. Default: false. */
  readonly acceptRlimitsOnly?: boolean;
  /** A file with a further system call filter, which can only take away. */
  readonly seccompProfile?: string;
  /** The most that this host ever does. Default: no network, no secrets, no inline code. */
  readonly ceiling?: HostCeiling;
  /** What a submission must be. Default: none is asked for, and where one comes it must hold. */
  readonly submissions?: Partial<SubmissionRules>;
  /** Default: false. */
  readonly acceptUnsignedApprovals?: boolean;
  /** What a contract's dual_control_required comes to. Default: "refuse". */
  readonly dualControl?: DualControl;
  /** Default: "hardened". */
  readonly executionMode?: ExecutionMode;
  /** A PEM file with the certificate of the receipt key, and those between it and the fleet's CA. Absent: none. */
  readonly receiptCertificate?: string;
  /** Whether every receipt of what ran is attested. Absent: those whose submission asks for it. */
  readonly attestReceipts?: boolean;
  /** Days that receipts are kept in the state directory, whatever the gate acknowledges. Absent: until it has. */
  readonly receiptRetentionDays?: number;
  /** Bytes of receipts that are kept at most, by whole months. Absent: all of those days. */
  readonly receiptRetentionBytes?: number;
  /** Whom jobs of a root executor run as. */
  readonly runAs?: RunAs;
  /** True: it ends after one run, and makes nothing ahead that one run does not need. Default: false. */
  readonly once?: boolean;
}

/** What an executor is given. */
export interface ExecutorDeps {
  /** The keys of the gates whose tickets count here. */
  readonly gateKeys: KeyRing;
  /** Whose policies count here. */
  readonly owners: Owners;
  /** Called when the gate is there, and when it has heard something new of the owners. */
  readonly onPolicyNews?: () => void;
  /** Where output logs go: the gate's `output`, or a gRPC channel. */
  readonly output: OutputSink;
  /** Asks the gate for proofs that this host's receipts are in its log. Absent: nobody looks for them. */
  readonly prove?: AskProofs;
  /** Signs the receipts. Default: a key in the state directory. */
  readonly signer?: Signer;
  /** Of its links, as it counts now. Absent: they have none, or nobody asks whether it has ended. */
  readonly tlsCertificate?: () => X509Certificate;
  readonly journal?: Journal;
  /** What hardened mode stands on. Default: probed here. */
  readonly facts?: HostFacts;
  readonly launcher?: Launcher;
  /** Goes between the executor and its launcher: it sees every launch, and may change what is launched. */
  readonly wrapLauncher?: (launcher: Launcher) => Launcher;
  /** Where secrets come from. Absent: there are none. */
  readonly secrets?: SecretProvider;
  readonly clock?: Clock;
  readonly log?: Log;
  /** Where its metrics go. Absent: nothing is measured. */
  readonly meter?: Meter | undefined;
  /** Where its traces go. Absent: nothing is traced. */
  readonly tracing?: Tracing | undefined;
}

// How often what is over is forgotten.
const pruneMs = 60 * 1000;

/**
 * An executor on this host: what an earlier one has left behind is made up for before it takes anything. Throws
 * SANDBOX_UNAVAILABLE with what to do, CONFIG_INVALID for another executor's state directory, STORE_UNAVAILABLE,
 * FILE_UNWRITABLE, or what the signing key's file throws.
 */
export async function createExecutor(options: ExecutorOptions, deps: ExecutorDeps): Promise<Executor> {
  claimStateDir(options.stateDir, options.identity);
  const telemetry = deps.meter === undefined ? undefined : createExecutorTelemetry(deps.meter);
  const { reserve, ...chosen } = await choosePorts(options, deps);
  const ports = withTelemetry(chosen, telemetry);
  const { journal, clock, log, signer, site } = ports;
  const outbox = new Outbox();
  const delivered = (seconds: number): void => telemetry?.took('deliver', seconds);
  const logWatch = await watchLog(options, deps, { ...ports, connectedMs: () => outbox.openMs });
  const isLookedFor = (): boolean => logWatch?.isDue ?? false;
  const deliveries = new Deliveries({ ...ports, delivered, isLookedFor }, outbox, deps.output);
  const untaken = await watchUntaken(options, deps, { deliveries, outbox, log });
  const endedCertificate = watchCertificates({ ...ports, tlsCertificate: deps.tlsCertificate });
  const { executorId, identity, slots = 1 } = options;
  const names = () => ({ executorId, identity, receiptKey: signer });
  const revocation = watchRevocation({ owners: deps.owners, names, log });
  revocation();
  const recovery = await recover(ports, deliveries);
  const lookAfter = async (): Promise<void> => {
    await recovery.again();
    await deliveries.again();
    await prune(ports);
    revocation();
  };
  void prune(ports);
  const pruning = setInterval(() => void lookAfter(), pruneMs).unref();
  const labels = labelsFor(options, deps);
  const wouldRefuse = (): number => ports.trials.count;
  const executor = new LinkedExecutor({
    introduction: {
      executorId,
      identity,
      signer,
      policies: { all: () => deps.owners.current().policies.all() },
      executionMode: site.workplace.mode,
      sandbox: describeSandbox(options, deps.facts),
      get labels() {
        return labels();
      },
      slots,
    },
    execute: (offer, run, link) => execute(offer, run, ports, telemetry?.counting(link) ?? link),
    journal,
    outbox,
    deliveries,
    clock,
    log,
    wouldRefuse,
    receiptless: () => recovery.receiptless(),
    shortage: () => {
      reserve.refill();
      return reserve.shortage ?? journal.trouble() ?? endedCertificate();
    },
    endedCertificate,
    reconsidered: revocation,
    onPolicyNews: deps.onPolicyNews ?? (() => undefined),
    async release() {
      clearInterval(pruning);
      await logWatch?.close();
      untaken?.close();
      await deliveries.close();
      site.launcher.close();
      await journal.close();
    },
  });
  if (telemetry !== undefined)
    observeExecutor(telemetry, {
      slots,
      executor,
      outbox,
      deliveries,
      spools: ports.spools,
      reserve,
      wouldRefuse,
      logWatch,
      untaken,
      isRevoked: () => revocation() !== undefined,
    });
  return executor;
}

// Those of a certificate that is replaced count from then on, for what its owners bound by them, too.
function labelsFor(
  { labels = {} }: ExecutorOptions,
  { tlsCertificate }: ExecutorDeps,
): () => Readonly<Record<string, string>> {
  return tlsCertificate === undefined ? () => labels : followLabels(labels, tlsCertificate);
}

// Loaded where there is a gate to ask, which `csc run` has in its own process.
async function watchLog(
  { stateDir }: ExecutorOptions,
  { prove: ask, owners }: ExecutorDeps,
  ports: Pick<ExecutionPorts, 'journal' | 'clock' | 'log'> & Pick<LogWatchPorts, 'connectedMs'>,
): Promise<LogWatch | undefined> {
  if (ask === undefined) return undefined;
  const { LogWatch } = await import('../log-watch/index.ts');
  const named = () => owners.current().log;
  const { journal, clock, log, connectedMs } = ports;
  const watch = new LogWatch({ journal, named, ask, connectedMs, stateDir, clock, log });
  watch.start();
  return watch;
}

async function watchUntaken(
  { stateDir }: ExecutorOptions,
  { prove }: ExecutorDeps,
  { deliveries, outbox, log }: { deliveries: Deliveries; outbox: Outbox; log: Log },
): Promise<UntakenWatch | undefined> {
  if (prove === undefined) return undefined;
  const { UntakenWatch } = await import('../log-watch/index.ts');
  const [brought, connectedMs] = [() => deliveries.brought(), () => outbox.openMs];
  const watch = new UntakenWatch({ brought, connectedMs, stateDir, log });
  watch.start();
  return watch;
}

function withTelemetry(ports: ExecutionPorts, telemetry: ExecutorTelemetry | undefined): ExecutionPorts {
  if (telemetry === undefined) return ports;
  const { timed, took } = telemetry;
  return { ...ports, timed, took };
}

async function choosePorts(
  options: ExecutorOptions,
  deps: ExecutorDeps,
): Promise<ExecutionPorts & { readonly reserve: DiskReserve }> {
  const { executorId, stateDir, ceiling = defaultCeiling } = options;
  const limits = { ...defaultOutputLimits, ...options.limits };
  const clock = deps.clock ?? systemClock;
  const log = sparingLog(deps.log ?? silentLog);
  const { jobUsers, workplace, launcher, openEgress, runLimits } = await chooseWorkplace(options, deps);
  const reserve = new DiskReserve(stateDir, log);
  const journal = withReserve(await openJournal(options, deps.journal, { clock, log, reserve }), reserve);
  reserve.refill();
  const signer = chooseSigner(options, deps.signer);
  const submissions = { ...defaultSubmissionRules, ...options.submissions };
  const labels = labelsFor(options, deps);
  const needsEpoch = submissions.required && submissions.enforce === 'enforce';
  return {
    trust: {
      gateKeys: deps.gateKeys,
      executorId,
      // It may begin another one while this runs.
      get epoch() {
        return journal.epoch;
      },
      needsEpoch,
    },
    self: {
      identity: options.identity,
      trustDomain: parseIdentity(options.identity)?.trustDomain ?? '',
      get labels() {
        return labels();
      },
    },
    rules: {
      owners: deps.owners,
      submissions,
      ceiling,
      approvals: {
        acceptUnsigned: options.acceptUnsignedApprovals ?? false,
        dualControl: options.dualControl ?? 'refuse',
      },
      runLimits,
      outputCaps: { stdout: limits.stdoutBytes, stderr: limits.stderrBytes },
    },
    stock: {
      jobUsers,
      ...(deps.secrets === undefined ? {} : { secrets: deps.secrets }),
      ...(workplace.mode === 'hardened' ? { terminals: openTerminal } : {}),
    },
    site: { workplace, launcher, openEgress, log },
    spools: new SpoolDirectory(join(stateDir, 'spool'), limits.spoolBytes, reserve),
    signer,
    checkOutlast: createOutlastCheck({ signer, clock, renews: options.caAddress !== undefined }),
    attestReceipts: options.attestReceipts,
    issuerKeys: createIssuerKeys(clock),
    journal,
    clock,
    log,
    tracing: deps.tracing,
    trials: createTrialLog(log),
    reserve,
  };
}

// For people who look at the fleet; nothing is decided by it.
function describeSandbox(
  { executionMode, ceiling = defaultCeiling }: ExecutorOptions,
  facts?: HostFacts,
): string[] {
  if (executionMode === 'local') return ['none'];
  if (facts === undefined) return [];
  const { bwrapVersion, cgroups, jobUsers } = facts;
  return [
    `bubblewrap ${bwrapVersion}`,
    cgroups === 'none' ? 'limits by rlimits only' : 'limits by cgroups',
    jobUsers.pooled ? `${jobUsers.all.length} job users` : 'one job user',
    `network ${ceiling.network}`,
  ];
}

function chooseSigner(
  { executorId, identity, stateDir, receiptCertificate }: ExecutorOptions,
  given?: Signer,
): Signer {
  const signer = given ?? readReceiptSigner(executorId, stateDir);
  return receiptCertificate === undefined ? signer : withCertificates(signer, receiptCertificate, identity);
}

async function openJournal(
  { stateDir, receiptRetentionDays, receiptRetentionBytes }: ExecutorOptions,
  given: Journal | undefined,
  { clock, log, reserve }: { readonly clock: Clock; readonly log: Log; readonly reserve: DiskReserve },
): Promise<Journal> {
  const journal = given ?? openWith(reserve, () => openSqliteJournal(join(stateDir, journalFile), { clock }));
  if (receiptRetentionDays === undefined) return journal;
  const archive = Archive.open(join(stateDir, archiveDirectory), clock);
  if (await reconcileArchive(archive, journal)) log.warn({ epoch: journal.epoch }, olderJournal);
  return withArchive(journal, archive, { days: receiptRetentionDays, maxBytes: receiptRetentionBytes });
}

const olderJournal =
  'the journal is older than the receipts beside it: was it restored? It begins a new epoch, and nothing from before counts';

/** What commands run in and as. */
interface ChosenWorkplace {
  readonly jobUsers: JobUserLeases;
  readonly workplace: Workplace;
  readonly launcher: Launcher;
  readonly openEgress: OpenEgress;
  readonly runLimits: RunLimits;
}

async function chooseWorkplace(
  options: ExecutorOptions,
  { launcher: own, facts: given, wrapLauncher = (launcher) => launcher, log = silentLog }: ExecutorDeps,
): Promise<ChosenWorkplace> {
  const { executionMode, env = {} } = options;
  const runLimits = { ...defaultRunLimits(), ...options.runLimits };
  if (executionMode === 'local') {
    const launcher = wrapLauncher(own ?? createLocalLauncher());
    return {
      jobUsers: shareUser(),
      workplace: createLocalWorkplace(env),
      launcher,
      openEgress: noEgress,
      runLimits,
    };
  }
  const facts = given ?? (await probeHost(toProbe(options)));
  const { jobUsers } = facts;
  const groups = openJobGroups(facts, options);
  const launcher = own ?? createBwrapLauncher({ facts, ...groups, once: options.once ?? false });
  const most = groups.cgroups?.most ?? {};
  return {
    jobUsers: jobUsers.pooled ? new JobUserPool(jobUsers, log) : shareUser(jobUsers.all[0]),
    workplace: createSandboxWorkplace(facts, env, options.stateDir),
    launcher: wrapLauncher(launcher),
    openEgress: createEgress({
      facts,
      launcher,
      user: findProxyUser(jobUsers),
      limits: narrowLimits(proxyLimits, { open_files: runLimits.open_files, ...most }),
    }),
    // No command is promised more than all of them have together.
    runLimits: narrowLimits(runLimits, most),
  };
}

/** What an executor's options say of the host that it needs. */
export function toProbe({
  runAs,
  acceptRlimitsOnly,
  seccompProfile,
  runLimits,
}: Pick<ExecutorOptions, 'runAs' | 'acceptRlimitsOnly' | 'seccompProfile' | 'runLimits'>): DoctorOptions {
  return {
    ...(runLimits === undefined ? {} : { runLimits }),
    ...(runAs === undefined ? {} : { runAs }),
    ...(acceptRlimitsOnly === undefined ? {} : { acceptRlimitsOnly }),
    ...(seccompProfile === undefined ? {} : { seccompProfile }),
  };
}

function openJobGroups({ cgroups }: HostFacts, { reserve }: ExecutorOptions): { cgroups?: Cgroups } {
  if (cgroups === 'none') return {};
  return { cgroups: openCgroups({ reserve: { ...defaultReserve, ...reserve } }) };
}

async function prune({
  journal,
  clock,
  log,
}: Pick<ExecutionPorts, 'journal' | 'clock' | 'log'>): Promise<void> {
  try {
    while ((await journal.prune(clock.now())) > 0) {}
  } catch (error) {
    log.warn({ error }, 'the journal could not be pruned');
  }
}
