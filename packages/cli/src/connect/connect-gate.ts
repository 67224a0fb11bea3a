import { X509Certificate } from 'node:crypto';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import {
  connect,
  type ExecutorKey,
  type GateClient,
  type KnownExecutors,
  type SubmissionSigner,
  type TokenMember,
} from '@csc-fleet/client';
import { type KeyEntry, readKeyRing, toKeyRingJson } from '@csc-fleet/common/crypto';
import { CscError } from '@csc-fleet/common/errors';
import { defaultStateDir, isPemText, type PemSource, readPem } from '@csc-fleet/common/files';
import { certificatesIn, endingSoon, tellEnding } from '@csc-fleet/common/identity';
import { writeFileWhole } from '../files/write-file.ts';
import { note } from '../terminal/streams.ts';
import { plainLine } from '../terminal/text.ts';
import {
  type GateAddress,
  type GateOptions,
  resolveGate,
  resolveIssuing,
  resolveLog,
} from './gate-options.ts';
import { readOwnersLog } from './owners-log.ts';
import { renewWhenDue } from './renewing.ts';
import { sealKeysIn } from './seal-keys.ts';
import { openSeenChains } from './seen-chains.ts';
import { openSeenLogs, seenLogsKind } from './seen-logs.ts';
import { openSignedSubmissions } from './signed-submissions.ts';

// An outage takes many attempts, and is one piece of news.
const quietMs = 10_000;

/** What of the command line matters beside who and where the gate is. */
interface ConnectGateOptions extends GateOptions {
  readonly json?: true;
  readonly quiet?: true;
}

/** Who signs, and who says things meanwhile. */
interface ConnectGatePorts {
  /** Absent: nothing is signed. */
  readonly submitter?: SubmissionSigner | undefined;
  /** Who this is by a token. Absent: the certificate of the command line says so. */
  readonly identified?: TokenMember | undefined;
  /** Says a line for people. Absent: on stderr, whatever else is written there. */
  readonly say?: ((line: string) => void) | undefined;
}

/** A client of the gate that the command line names; says when it has to reconnect. */
export function connectGate(
  options: ConnectGateOptions,
  { submitter, identified, say = note }: ConnectGatePorts = {},
): GateClient {
  let saidAt = Number.NEGATIVE_INFINITY;
  const gate =
    identified === undefined
      ? resolveGate(options, process.env)
      : { address: resolveIssuing(options, process.env).address, ...identified };
  const pinned = options.keys.length === 0 ? undefined : options.keys;
  if (isPemText(options.key ?? '')) note(openKeyNote);
  const isLoud = options.json !== true && options.quiet !== true;
  if (identified === undefined)
    lookAfter(gate.tls, isLoud ? (what) => note(plainLine(`csc: WARNING ${what}`)) : undefined);
  const state = (kind: string) => (): string =>
    `${options.knownExecutors ?? defaultKnownExecutorsFile(gate.tls.ca, process.env)}.${kind}`;
  const warn = (what: string) => (error: CscError) => {
    if (options.json === true || options.quiet === true) return;
    say(plainLine(`csc: WARNING ${what} not remembered: ${error.message}`));
  };
  const log = resolveLog(options, process.env);
  const { logOf } = options;
  return connect({
    submitter,
    ...gate,
    log: {
      ...log,
      ...(logOf === undefined ? {} : { demanded: () => readOwnersLog(logOf, options.ownersRoot) }),
      seen: openSeenLogs(state(seenLogsKind), warn('what was met of the log is')),
      onWarning: (message) => say(plainLine(`csc: WARNING ${message}`)),
    },
    connectTimeout: options.wait,
    signedSubmissions: openSignedSubmissions(state('submissions'), warn('what was signed is')),
    executorKeys: pinned,
    fleetCa:
      options.fleetCa === undefined ? undefined : readPem(options.fleetCa, '--fleet-ca', maxPemBytes).bytes,
    ownersRoot: options.ownersRoot,
    sealKeys: options.raw === true ? undefined : sealKeysIn(process.env, options.sealKey),
    knownExecutors:
      pinned === undefined && options.fleetCa === undefined
        ? lazily(() => remember(gate, options, say))
        : undefined,
    seenChains: openSeenChains(state('chains'), warn('the place of the receipt in its chain is')),
    onReconnect: (error) => {
      if (performance.now() - saidAt < quietMs) return;
      saidAt = performance.now();
      say(plainLine(`csc: ${error.message}; trying again …`));
    },
  });
}

/** Where the same command line remembers what it has met of logs. Throws CONFIG_INVALID. */
export function seenLogsFile(options: GateOptions): string {
  const { tls } = resolveGate(options, process.env);
  return `${options.knownExecutors ?? defaultKnownExecutorsFile(tls.ca, process.env)}.${seenLogsKind}`;
}

// Whether it counts at all is for connect to say.
function lookAfter(
  { ca, cert, key }: GateAddress['tls'],
  warn: (what: string) => void = () => undefined,
): void {
  const { bytes, origin } = readPem(cert, 'cert', maxPemBytes);
  const [own] = bytes.includes('-----BEGIN CERTIFICATE-----') ? certificatesIn(bytes, origin) : [];
  if (own === undefined) return;
  const now = new Date();
  for (const ending of endingSoon([own], now)) if (ending.days >= 0) warn(tellEnding(ending));
  if (isPemText(cert) || isPemText(key) || isPemText(ca)) return;
  const files = { ca: String(ca), cert: String(cert), key: String(key) };
  void renewWhenDue({ files, certificate: own.certificate }, now, (why) =>
    warn(`the certificate ${cert} could not be renewed, and counts on meanwhile: ${why}`),
  );
}

const openKeyNote =
  'csc: WARNING --key was given the key itself (PEM text), and every user of this host can read a command line: put it into CSC_KEY or a file';

function remember(
  { tls }: GateAddress,
  options: ConnectGateOptions,
  say: (line: string) => void,
): KnownExecutors {
  const file = options.knownExecutors ?? defaultKnownExecutorsFile(tls.ca, process.env);
  const silent = options.json === true || options.quiet === true;
  return openKnownExecutors(file, {
    remembered: ({ owner, keyId }: ExecutorKey) => {
      if (silent) return;
      say(plainLine(`csc: first receipt of ${owner}: its key ${keyId} is remembered in ${file}`));
    },
    notRemembered: (error: CscError) => {
      if (!silent) say(plainLine(`csc: WARNING the executor's key is not remembered: ${error.message}`));
    },
  });
}

// Most commands never see a receipt: they need not know where keys are kept, nor that they cannot be.
function lazily(open: () => KnownExecutors): KnownExecutors {
  let opened: KnownExecutors | undefined;
  const known = (): KnownExecutors => {
    opened ??= open();
    return opened;
  };
  return {
    get place() {
      return known().place;
    },
    keysOf: (owner) => known().keysOf(owner),
    remember: (key) => known().remember(key),
  };
}

const maxPemBytes = 1024 * 1024;

/**
 * Where the executors of one fleet are remembered unless the user says otherwise: a file for each CA, as that is what
 * the names of executors are of. `ca` has been read before.
 */
function defaultKnownExecutorsFile(ca: PemSource, env: NodeJS.ProcessEnv): string {
  const { bytes } = readPem(ca, 'ca', maxPemBytes);
  const fingerprint = new X509Certificate(bytes).fingerprint256.replaceAll(':', '').toLowerCase();
  return join(defaultStateDir(env), 'known-executors', `${fingerprint.slice(0, 16)}.json`);
}

/** What happens to a key that is met for the first time. */
interface KnownExecutorsEvents {
  remembered(key: ExecutorKey): void;
  /** It counts all the same, in this process; the next one begins anew. */
  notRemembered(error: CscError): void;
}

/** Executors remembered in a key ring file, which `--keys` takes as well. Its reads throw KEY_INVALID. */
function openKnownExecutors(file: string, events: KnownExecutorsEvents): KnownExecutors {
  const fresh: ExecutorKey[] = [];
  const all = (): ExecutorKey[] => [...readKnown(file), ...fresh];
  return {
    place: file,
    keysOf: async (owner) => all().filter((key) => key.owner === owner),
    remember: async ({ keyId, publicKey, owner }) => {
      const known = all();
      refuseTaken(known, keyId, file);
      const key = { keyId, publicKey, owner };
      try {
        writeFileWhole(file, toKeyRingJson([...known, key]));
        events.remembered(key);
      } catch (error) {
        if (!(error instanceof CscError)) throw error;
        fresh.push(key);
        events.notRemembered(error);
      }
    },
  };
}

function readKnown(file: string): ExecutorKey[] {
  if (!existsSync(file)) return [];
  return readKeyRing(file).entries().filter(hasOwner);
}

function hasOwner(key: KeyEntry): key is ExecutorKey {
  return key.owner !== undefined;
}

// Two keys of one id would make the file unreadable, and the next executor as good as new.
function refuseTaken(known: readonly ExecutorKey[], keyId: string, file: string): void {
  const taken = known.find((key) => key.keyId === keyId);
  if (taken === undefined) return;
  const message = `the key id ${JSON.stringify(keyId)} is that of ${taken.owner} already, in ${file}`;
  throw new CscError('KEY_CHANGED', message);
}
