import { createKeyRing, type KeyRing, readKeyRing, readOwnSigner } from '@csc-fleet/common/crypto';
import { CscError, isCscError, quoteBriefly } from '@csc-fleet/common/errors';
import type { SubmissionSigner } from '@csc-fleet/common/evidence';
import { type FleetCa, parseCertificates, readOwnersKeys } from '@csc-fleet/common/evidence';
import { type PemSource, readBoundedFile, readPem } from '@csc-fleet/common/files';
import {
  type ChannelCredentials,
  channelOptions,
  channelTo,
  explainDrop,
  GateClient as GateStub,
  type Identity,
  parseIdentity,
  readChannelCredentials,
  readOwnIdentity,
  type TlsFiles,
  TlsSource,
} from '@csc-fleet/common/rpc';
import type { SealKeys } from '@csc-fleet/common/seal';
import { createSignedSubmissions, type SignedSubmissions } from './calls/signed.ts';
import type { Submitter } from './calls/submitter.ts';
import type { Connection, Route } from './connection/connection.ts';
import type { SeenChains } from './verify/chains.ts';
import {
  certifiedKeys,
  createKnownExecutors,
  type KeySource,
  type KnownExecutors,
  knownKeys,
  pinnedKeys,
} from './verify/keys.ts';
import type { LogCheck, LogDemand, LogOptions } from './verify/log.ts';
import { noRoot, type OwnersTrust } from './verify/resolution.ts';

/** How to reach a gate and as whom. */
export type ConnectOptions = {
  /** `host:port`. */
  readonly address: string;
  /**
   * The executors' receipt keys with their owners, pinned: no other key counts. The path of a file that `csc executor keys --export`
   * writes, of several, or a KeyRing; with none in it, no key counts. Absent: trust on first use.
   */
  readonly executorKeys?: string | readonly string[] | KeyRing | undefined;
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
   * where that is less; 0: one attempt, which has 5 seconds to connect.
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

/** Loaded when it is first needed; who demands a log is told before anything is handed in where it cannot be. */
export function lazilyChecked(log: LogOptions, options: ConnectOptions): LogDemand {
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

/** The way to the gate. Throws FILE_UNREADABLE, KEY_INVALID, CONFIG_INVALID, CREDENTIALS_INVALID. */
export function openRoute(options: ConnectOptions): Route {
  if (!('tls' in options)) return { ...openStub(options.address, options.credentials), explain: (it) => it };
  const source = new TlsSource(options.tls);
  const stub = openStub(
    options.address,
    readChannelCredentials(source, { role: 'gate', bearer: options.bearer }),
  );
  return { ...stub, explain: (error) => explainDrop(error, source.material) };
}

/** Which keys of executors count. Throws FILE_UNREADABLE, KEY_INVALID, CREDENTIALS_INVALID. */
export function chooseKeys(options: ConnectOptions, connection: Connection): KeySource {
  const { knownExecutors: known = createKnownExecutors(), fleetCa } = options;
  const pinned = toKeyRing(options.executorKeys);
  if (fleetCa !== undefined)
    return certifiedKeys(
      { ca: readFleetCa(fleetCa), trustDomain: trustDomainOf(options) },
      pinned,
      connection,
    );
  return pinned === undefined ? knownKeys(known, connection) : pinnedKeys(pinned, connection);
}

function toKeyRing(source: ConnectOptions['executorKeys']): KeyRing | undefined {
  if (source === undefined) return undefined;
  if (typeof source === 'string') return readKeyRing(source);
  if ('find' in source && 'entries' in source && !Array.isArray(source)) return source as KeyRing;
  return createKeyRing((source as readonly string[]).flatMap((path) => readKeyRing(path).entries()));
}

function readFleetCa(source: PemSource): FleetCa {
  const { bytes, origin } = readPem(source, 'fleetCa', maxPemBytes);
  return parseCertificates(bytes, origin);
}

const maxPemBytes = 1024 * 1024;

/** Undefined: what the owners have signed is not verified. Throws FILE_UNREADABLE, and what is said of a root that is none. */
export function toOwnersTrust(options: ConnectOptions): OwnersTrust | undefined {
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

/** Undefined: nothing is signed. Throws FILE_UNREADABLE, KEY_INVALID, CONFIG_INVALID. */
export function toSubmitter(options: ConnectOptions): Submitter | undefined {
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
