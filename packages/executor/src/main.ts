import { statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { Renewal } from '@csc-fleet/common/ca';
import { createReloadableKeyRing, type ReloadableKeyRing } from '@csc-fleet/common/crypto';
import { CscError, isCscError } from '@csc-fleet/common/errors';
import { makeDirectory } from '@csc-fleet/common/files';
import { identityOfCertificate, type NamedCertificate } from '@csc-fleet/common/identity';
import type { JsonLog } from '@csc-fleet/common/json-log';
import { createFreezeTeller } from '@csc-fleet/common/owners';
import {
  createPolicySet,
  createReloadablePolicySet,
  type ReloadablePolicySet,
} from '@csc-fleet/common/policy';
import type { Identity, TlsMaterial, TlsSource } from '@csc-fleet/common/rpc';
import type { Log } from '@csc-fleet/common/service';
import { createUpkeep, installLastHandler, keepServiceRecord } from '@csc-fleet/common/service';
import { openMetrics, type PolicyWord } from '@csc-fleet/common/telemetry';
import { openTraces } from '@csc-fleet/common/tracing';
import { version } from '@csc-fleet/common/version';
import { sweepCgroups } from '@csc-fleet/sandbox/cgroup';
import { lockJobUsers, lockStateDirectory, sweepLeftovers } from '@csc-fleet/sandbox/host';
import type { HostFacts } from '@csc-fleet/sandbox/plan';
import type { GateLink } from './link/grpc-link.ts';
import type { Executor } from './link/linked-executor.ts';
import { localModeNote } from './run/local-workplace.ts';
import { checkExecutorConfig, checkJobUsers } from './service/check-config.ts';
import { createExecutor, type ExecutorDeps } from './service/compose.ts';
import { checkRunAs, type ExecutorConfig, readExecutorConfig } from './service/config.ts';
import { labelsOf } from './service/labels.ts';
import { findOpenKeys, nameOpenKeys, openKeysNote } from './service/open-keys.ts';
import { type OwnHost, requireOwnHost } from './service/own-host.ts';
import {
  createPlainOwners,
  createRepositoryOwners,
  type HostOwners,
  repositoryDirectory,
} from './service/owners.ts';
import { readOwnersGateKeys, readOwnersPolicies, readPinnedRoot } from './service/owners-files.ts';
import { createReload } from './service/reload.ts';
import { createReloadableSecrets, renewableGateKeys, renewableSigner } from './service/renewables.ts';
import { defaultKeyFile } from './service/signing-key.ts';

export interface RunExecutorOptions {
  /** Reads and tries all that the config names, and starts nothing: resolves to what its owner should look at, for people. */
  readonly checkOnly?: boolean;
  /** Goes between the executor and its launcher: it sees every launch, and may change what is launched. */
  readonly wrapLauncher?: ExecutorDeps['wrapLauncher'];
  /** How often it looks whether certificates and keys have been replaced, in milliseconds. Default: that of every service. */
  readonly lookEveryMs?: number | undefined;
}

/**
 * Runs an executor until SIGTERM or SIGINT: the first drains it, the second ends what still runs. SIGHUP reloads its
 * policies, certificates, keys, secrets and log level; certificates and keys are taken up by themselves, too. Throws before it takes anything where the config, a file or the host is not as it must be.
 */
export async function runExecutor(
  configPath: string,
  options: RunExecutorOptions = {},
): Promise<readonly string[]> {
  const config = readExecutorConfig(configPath);
  checkRunAs(config);
  if (options.checkOnly === true) checkJobUsers(config);
  const parts = await readParts(config, configPath);
  if (options.checkOnly === true) {
    parts.link.close();
    const labels = labelsOf(config.labels, parts.tls.material.own.certificate);
    return checkExecutorConfig(configPath, { ...config, labels }, parts);
  }
  prepareStateDirectory(config.stateDir);
  // Loaded here only: `csc run` has no log, and no time to lose.
  const { createJsonLog } = await import('@csc-fleet/common/json-log');
  const log = createJsonLog(config.logLevel, { executor: parts.executorId });
  const locks = [lockStateDirectory(config.stateDir)];
  const owners = openOwners(config, parts, log);
  const secrets = createReloadableSecrets(config.secrets);
  const { signer, renewable } = renewableSigner(config, parts, () => parts.link.renew());
  const upkeep = createUpkeep({
    renewables: [parts.tls, renewableGateKeys(config.trustedGateKeys, parts.gateKeys), renewable],
    prepareRest: createReload(configPath, config, { ...parts, owners, log, secrets }),
    log,
    everyMs: options.lookEveryMs,
  });
  parts.tls.onReplaced(() => parts.link.redial());
  // Whoever reads it may send SIGHUP at once.
  upkeep.tell(keepServiceRecord(config.stateDir, (error) => log.warn({ error }, recordNote)));
  upkeep.start();
  const renewal = await renewByCa(config, parts, log);
  try {
    const { jobUsers } = parts.facts ?? {};
    if (jobUsers?.pooled === true) locks.push(await lockJobUsers(jobUsers));
    const openKeys = nameOpenKeys(findOpenKeys(configPath, config, owners.current().policies.all()));
    if (openKeys !== undefined) log.warn({ why: openKeys }, openKeysNote);
    if (config.executionMode === 'local') log.warn({}, localModeNote);
    else await sweepHost(log);
    const certificates = () => upkeep.certificates();
    const renewalFailures = () => renewal?.failures;
    const tlsCertificate = () => parts.tls.material.own.certificate;
    const shown = { certificates, renewalFailures };
    await serve(config, { ...parts, owners, signer, secrets, tlsCertificate, ...shown }, log, options);
  } finally {
    renewal?.stop();
    upkeep.stop();
    owners.close();
    for (const lock of locks) lock.release();
  }
  return [];
}

/** What the config's files and the host hold. */
interface Parts {
  readonly executorId: string;
  readonly identity: string;
  readonly gateKeys: ReloadableKeyRing;
  readonly tls: TlsSource;
  /** In a plain folder. Absent: there is a repository. */
  readonly policies?: ReloadablePolicySet;
  readonly facts?: HostFacts;
  readonly host?: OwnHost;
  readonly link: GateLink;
}

// Loaded where there is a CA to ask.
async function renewByCa(
  config: ExecutorConfig,
  { tls }: Pick<Parts, 'tls'>,
  log: Log,
): Promise<Renewal | undefined> {
  const { caAddress: address, receiptCertificate, stateDir, tls: files } = config;
  if (address === undefined) return undefined;
  const { startRenewal } = await import('@csc-fleet/common/ca');
  const { signingKey: key = join(stateDir, defaultKeyFile) } = config;
  const receipts =
    receiptCertificate === undefined ? {} : { receipts: { key, certificate: receiptCertificate } };
  return startRenewal({ address, tls, files, ...receipts, log });
}

async function readParts(config: ExecutorConfig, configPath: string): Promise<Parts> {
  // Loaded here: nobody who only composes an executor should wait for gRPC.
  const { createGateLink } = await import('./link/grpc-link.ts');
  const { TlsSource } = await import('@csc-fleet/common/rpc');
  const { name: executorId, uri: identity } = await readIdentity(config);
  const certified = asJoined(config, configPath, executorId);
  const tls = certified(() => new TlsSource(config.tls, (next) => checkStays(next, identity, config.labels)));
  const link = createGateLink({ address: config.gateAddress, tls });
  return {
    executorId,
    identity,
    tls,
    gateKeys: createReloadableKeyRing(readOwnersGateKeys(config.trustedGateKeys)),
    ...(await readPolicySource(config)),
    ...(config.executionMode === 'hardened' ? toParts(await requireOwnHost(configPath, config)) : {}),
    link,
  };
}

function toParts(host: OwnHost): Pick<Parts, 'facts' | 'host'> {
  return { host, facts: host.facts };
}

// A repository is read once the state directory is ours; that its root can be, is tried at once.
async function readPolicySource({
  policies,
  policyRepository,
}: ExecutorConfig): Promise<Pick<Parts, 'policies'>> {
  if (policyRepository !== undefined) {
    const { checkRoot } = await import('@csc-fleet/common/policy-repository');
    checkRoot(readPinnedRoot(policyRepository.root), policyRepository.root);
  }
  return policies === undefined ? {} : { policies: createReloadablePolicySet(readOwnersPolicies(policies)) };
}

function openOwners(
  { policyRepository: config, stateDir }: ExecutorConfig,
  { policies, link }: Pick<Parts, 'policies' | 'link'>,
  log: Log,
): HostOwners {
  if (config !== undefined) {
    return createRepositoryOwners({
      config,
      directory: repositoryDirectory(stateDir),
      gate: link.repository,
      log,
    });
  }
  log.warn({}, plainOwnersNote);
  return createPlainOwners(policies ?? createPolicySet([]));
}

const plainOwnersNote =
  'policies come from a plain folder: this host trusts its gate to say who asks and who may use which policy (policy_repository ends that)';

const recordNote = 'what csc admin reload looks at cannot be written';

// Whoever was off for longer than a certificate of the CA lasts comes back with one that has ended.
function asJoined({ caAddress }: ExecutorConfig, configPath: string, name: string) {
  return <T>(read: () => T): T => {
    try {
      return read();
    } catch (cause) {
      if (caAddress === undefined || !isCscError(cause, 'CREDENTIALS_INVALID')) throw cause;
      const message = `${cause.message}. The CA renews none that has ended. Where the CA runs: csc ca token --role executor --name ${name} --again; and then here: csc executor join --again --ca ${caAddress} --dir ${dirname(configPath)} --token …`;
      throw new CscError('CREDENTIALS_INVALID', message, { cause });
    }
  };
}

// Journal, receipts and key are of this name.
// Throws CONFIG_INVALID where it is of somebody else, or certifies other labels than the config says.
function checkStays({ own }: TlsMaterial, identity: string, labels: ExecutorConfig['labels']): void {
  const { uri } = identityOfCertificate(own.certificate.raw);
  labelsOf(labels, own.certificate);
  if (uri === identity) return;
  const message = `${own.name} is of ${uri}, and this executor is ${identity}: that takes a restart`;
  throw new CscError('CONFIG_INVALID', message);
}

// Processes first: a group can be removed only when it is empty.
async function sweepHost(log: Log): Promise<void> {
  const left = { ...(await sweepLeftovers()), cgroups: await sweepCgroups() };
  if (Object.values(left).some((count) => count > 0))
    log.info(left, 'cleared away what killed executors had left');
}

async function readIdentity({ executorId, tls }: ExecutorConfig): Promise<Identity> {
  const { readOwnIdentity } = await import('@csc-fleet/common/rpc');
  const identity = readOwnIdentity(tls.cert, 'executor');
  if (executorId !== undefined && executorId !== identity.name) {
    const message = `executor_id is ${executorId}, and ${tls.cert} says ${identity.name}: leave executor_id out, or mend it`;
    throw new CscError('CONFIG_INVALID', message);
  }
  return identity;
}

// It holds the receipt key and the output of every job.
function prepareStateDirectory(path: string): void {
  makeDirectory(path, { mode: 0o700, as: `state_dir ${path}` });
  if ((statSync(path).mode & 0o077) === 0) return;
  throw new CscError(
    'CONFIG_INVALID',
    `state_dir ${path} is open to others than its owner: run chmod 700 ${path}`,
  );
}

async function serve(
  config: ExecutorConfig,
  {
    link,
    owners,
    ...parts
  }: Parts &
    Pick<ExecutorDeps, 'signer' | 'secrets' | 'tlsCertificate'> & {
      readonly owners: HostOwners;
      readonly certificates: () => readonly NamedCertificate[];
      readonly renewalFailures: () => number | undefined;
    },
  log: JsonLog,
  { wrapLauncher }: RunExecutorOptions,
): Promise<void> {
  // The signer has its certificates already.
  const { receiptCertificate: _, ...rest } = config;
  const options = { ...rest, executorId: parts.executorId, identity: parts.identity };
  const wrap = wrapLauncher === undefined ? {} : { wrapLauncher };
  const news = { onPolicyNews: () => owners.hearNews() };
  const service = { name: 'csc-executor', version, instance: parts.executorId };
  const tracing = await openTraces(config.telemetry, service, log);
  const metrics = await openMetrics(config.telemetry, 'csc-executor');
  const shown = { meter: metrics?.meter, tracing };
  const ask = { output: link.output, prove: link.prove };
  const deps = { ...parts, ...news, ...wrap, owners, ...ask, log, ...shown };
  const executor = await createExecutor(options, deps);
  log.traceBy((executionId) => executor.traceOf(executionId));
  await metrics?.start(log, {
    directory: { name: 'state_dir', path: config.stateDir },
    certificates: parts.certificates,
    renewalFailures: parts.renewalFailures,
    policy: () => toPolicyWord(owners.current(), config),
  });
  const tellFreeze = createFreezeTeller(log);
  tellFreeze(owners.current().freeze);
  owners.onChange((word) => {
    tellFreeze(word.freeze);
    executor.reconsider(word);
    link.renew();
  });
  await refreshFirst(config, owners);
  const takeAway = installLastHandler({
    log: (fields, message) => log.error(fields, message),
    stop() {
      executor.endAll('fault', 0);
      return executor.drain();
    },
  });
  link.run(executor, log);
  log.info(
    { gate: config.gateAddress, mode: config.executionMode, slots: config.slots },
    'the executor is up',
  );
  await stopped(executor, log);
  await executor.close();
  // What it asks for just now ends with the link, and is no news.
  owners.close();
  link.close();
  await metrics?.close();
  await tracing?.close();
  takeAway();
}

// Of a plain folder, nobody can say how old it is.
function toPolicyWord(
  word: ReturnType<HostOwners['current']>,
  { policyRepository }: ExecutorConfig,
): PolicyWord | undefined {
  const { version, refreshedAt } = word;
  const maxAgeSec = policyRepository?.maxStalenessSec;
  return version === undefined || refreshedAt === undefined
    ? undefined
    : { ...word, version, refreshedAt, ...(maxAgeSec === undefined ? {} : { maxAgeSec }) };
}

// Through the gate it is fetched once the gate is there.
async function refreshFirst({ policyRepository }: ExecutorConfig, owners: HostOwners): Promise<void> {
  if (policyRepository !== undefined && policyRepository.from !== 'gate') await owners.refresh();
}

// What the gate does not take within this time is delivered at the next start.
const deliveryMs = 5000;

async function stopped(executor: Executor, log: Log): Promise<void> {
  await nextSignal();
  log.info({}, 'draining: what runs may end; a second signal ends it');
  const again = nextSignal().then(() => executor.endAll('stopped', 0));
  await Promise.race([executor.drain(), again.then(() => executor.drain())]);
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, deliveryMs);
  });
  await Promise.race([executor.delivered(), late]);
  clearTimeout(timer);
}

function nextSignal(): Promise<void> {
  return new Promise((resolve) => {
    const signals = ['SIGTERM', 'SIGINT'] as const;
    const onSignal = () => {
      for (const signal of signals) process.off(signal, onSignal);
      resolve();
    };
    for (const signal of signals) process.on(signal, onSignal);
  });
}
