import { join } from 'node:path';
import type { Renewal } from '@csc-fleet/common/ca';
import { createReloadableSigner, type Signer } from '@csc-fleet/common/crypto';
import { CscError, isCscError } from '@csc-fleet/common/errors';
import { identityOfCertificate, validityOf } from '@csc-fleet/common/identity';
import { createJsonLog } from '@csc-fleet/common/json-log';
import { createFreezeTeller } from '@csc-fleet/common/owners';
import { readOwnIdentity, type TlsFiles, type TlsMaterial, TlsSource } from '@csc-fleet/common/rpc';
import {
  createUpkeep,
  installLastHandler,
  keepServiceRecord,
  type Log,
  type LogFields,
  type LogMessage,
  unsoundExitCode,
} from '@csc-fleet/common/service';
import { openMetrics } from '@csc-fleet/common/telemetry';
import { openTraces } from '@csc-fleet/common/tracing';
import { version } from '@csc-fleet/common/version';
import { openLogKey, toWitnesses } from './log/log-key.ts';
import { createOwners, type OwnersWord } from './owners/index.ts';
import { checkGateConfig } from './service/check-config.ts';
import { createGate, type Gate, type GateDependencies } from './service/compose.ts';
import { type GateConfig, readGateConfig } from './service/config.ts';
import { createReload, followRepository, readFirstWord } from './service/reload.ts';
import { type GateServer, startServer, toAddress } from './service/server.ts';
import { openSigningKey, renewableKey } from './service/signing-key.ts';
import { readWebhooks } from './webhooks/config.ts';

const graceMs = 5_000;

export interface RunGateOptions {
  /** Read and try everything, start nothing: resolves to what its owner should look at, for people. */
  readonly checkOnly?: boolean;
}

/**
 * Runs a gate until SIGTERM or SIGINT; SIGHUP reloads policies, bindings, certificates, keys and the log level;
 * certificates and keys are taken up by themselves, too. Throws before it listens: FILE_UNREADABLE, CONFIG_INVALID,
 * CREDENTIALS_INVALID, POLICY_INVALID, KEY_INVALID, STORE_UNAVAILABLE.
 */
export async function runGate(
  configFile: string,
  { checkOnly = false }: RunGateOptions = {},
): Promise<readonly string[]> {
  const config = readGateConfig(configFile);
  if (checkOnly) return checkGateConfig(config);
  const log = createJsonLog(config.logLevel, { name: 'csc-gate', pid: process.pid });
  const { word, repository, renewables } = await readFirstWord(config, log);
  const owners = createOwners(word);
  const tellFreeze = createFreezeTeller(log);
  tellFreeze(word.freeze);
  // Once the gate is there.
  let look = (): void => undefined;
  const parts = { owners, log, look: () => look() };
  const signer = createReloadableSigner(openSigningKey(config));
  const prepareRest = createReload(configFile, config, parts);
  const upkeep = createUpkeep({ renewables, prepareRest, log });
  // Whoever reads it may send SIGHUP at once.
  upkeep.tell(keepServiceRecord(config.dataDir, (error) => log.warn({ error }, recordNote)));
  const tlsFiles = config.tls ?? (await developmentTls(config, log));
  const onError = (error: unknown): void => {
    const executionId = isCscError(error) ? error.executionId : undefined;
    const about = executionId === undefined ? {} : { executionId };
    log.error({ ...about, error }, 'an error that no caller waits for');
  };
  const onNotice = (message: LogMessage<'info'>, details: LogFields): void => log.info(details, message);
  const onWarning = (message: LogMessage<'warn'>, details: LogFields): void => log.warn(details, message);
  // Fails closed: a gate that cannot write down what it does must not do it. Its supervisor starts it again.
  const onStoreLost = (error: CscError): void => {
    log.error({ error }, 'ending, to be started again');
    process.exit(unsoundExitCode);
  };
  const { policies, bindings } = owners;
  const policyFiles = repository === undefined ? {} : { policyFiles: repository.files };
  const { uri: identity } = readOwnIdentity(tlsFiles.cert, 'gate');
  const logKey = openLogKey(config.dataDir, identity);
  log.info({ vkey: logKey.vkey }, 'this gate keeps a log of receipts');
  const witnesses = toWitnesses(config.witnesses);
  const tls = new TlsSource(tlsFiles, (next) => checkStays(next, identity));
  upkeep.add(tls);
  const certificate = () => {
    const { from: notBefore, until: notAfter } = validityOf(tls.material.own.certificate);
    return { notBefore, notAfter };
  };
  const tracing = await openTraces(
    config.telemetry,
    { name: 'csc-gate', version, instance: config.gateId },
    log,
  );
  const metrics = await openMetrics(config.telemetry, 'csc-gate');
  const openWebhooks = await webhooksOf(config);
  const gate = await createGate(
    {
      ...config,

      identity,
      signer,
      owners,
      policies,
      bindings,
      ...policyFiles,
      log: logKey,
      witnesses,
    },
    {
      onError,
      onNotice,
      onWarning,
      onStoreLost,
      certificate,
      warnings: () => [...upkeep.warnings(), ...(repository?.warnings() ?? [])],
      meter: metrics?.meter,
      tracing,
      openWebhooks,
    },
  );
  log.traceBy((executionId) => gate.traceOf(executionId));
  let renewal: Renewal | undefined;
  await metrics?.start(log, {
    directory: { name: 'data_dir', path: config.dataDir },
    certificates: () => upkeep.certificates(),
    renewalFailures: () => renewal?.failures,
    policy: () => repository?.current(),
    policyFaults: () => repository?.faults(),
  });
  const take = async (next: OwnersWord): Promise<void> => {
    owners.replace(next);
    tellFreeze(next.freeze);
    await gate.ownersChanged();
  };
  const takeKey = (next: Signer): void => {
    gate.keepKey(next).then(
      () => signer.replace(next),
      (error: unknown) => log.error({ error }, 'the new signing key could not be kept; the old one goes on'),
    );
  };
  upkeep.add(renewableKey(config, signer, takeKey));
  const following = followRepository(repository, config.policyRepository?.refreshSec ?? 0, take, log);
  look = following.look;
  // From before it is told that the gate listens: whoever was told may end it at once.
  const stopped = stopSignal();
  const server = await startServer(gate, {
    ...config,
    tls,
    log: (id, error) => log.error({ error, error_id: id }, 'internal error'),
    peers: log,
    tracing,
  });
  const listen = toAddress(config.listen, server.port);
  const takeAway = installLastHandler({
    log: (fields, message) => log.error(fields, message),
    stop: () => stop(gate, server),
  });
  log.info(
    { listen, policies: policies.all().map((it) => it.policy.name), key_id: signer.keyId },
    'listening',
  );
  upkeep.start();
  renewal = await renewByCa(config, tls, tlsFiles, log);
  await stopped;
  renewal?.stop();
  upkeep.stop();
  following.stop();
  log.info({}, 'stopping');
  await stop(gate, server);
  await metrics?.close();
  await tracing?.close();
  takeAway();
  return [];
}

const recordNote = 'what csc admin reload looks at cannot be written';

// Loaded where there is a CA to ask.
async function renewByCa(
  { ca }: GateConfig,
  tls: TlsSource,
  files: TlsFiles,
  log: Log,
): Promise<Renewal | undefined> {
  if (ca === undefined) return undefined;
  const { startRenewal } = await import('@csc-fleet/common/ca');
  return startRenewal({ address: ca.address, tls, files, log });
}

// What was signed and bound for this gate names it: as somebody else it has to begin anew.
function checkStays({ own }: TlsMaterial, identity: string): void {
  const { uri } = identityOfCertificate(own.certificate.raw);
  if (uri === identity) return;
  throw new CscError(
    'CONFIG_INVALID',
    `${own.name} is of ${uri}, and this gate is ${identity}: that takes a restart`,
  );
}

// Loaded where there are any. Throws CONFIG_INVALID for a secret that is none.
async function webhooksOf({ webhooks }: GateConfig): Promise<GateDependencies['openWebhooks']> {
  if (webhooks.length === 0) return undefined;
  const hooks = readWebhooks(webhooks);
  const { createWebhooks } = await import('./webhooks/webhooks.ts');
  return (ports) => createWebhooks(hooks, ports);
}

// Loaded here only: a gate with certificates of its own never makes any.
async function developmentTls(config: GateConfig, log: Log): Promise<TlsFiles> {
  const { createDevelopmentPki } = await import('@csc-fleet/common/pki');
  const directory = join(config.dataDir, 'pki');
  await createDevelopmentPki(directory, { gate: config.gateId, clients: ['dev'], executors: ['dev'] });
  log.warn(
    { directory },
    'no tls in the config: using a development PKI whose CA key lies beside it; clients use client-dev, executors executor-dev',
  );
  return {
    ca: join(directory, 'ca.pem'),
    cert: join(directory, 'gate.pem'),
    key: join(directory, 'gate.key'),
  };
}

function stopSignal(): Promise<void> {
  return new Promise((resolve) => {
    process.once('SIGTERM', () => resolve());
    process.once('SIGINT', () => resolve());
  });
}

async function stop(gate: Gate, server: GateServer): Promise<void> {
  await server.stop(graceMs);
  await gate.close();
}
