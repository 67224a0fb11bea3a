import { createHash, createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto';
import { existsSync, rmSync, statSync } from 'node:fs';
import { isAbsolute, join, relative, resolve } from 'node:path';
import {
  hashJoinToken,
  type JoinKeys,
  type JoinToken,
  joinFleet,
  parseJoinToken,
} from '@csc-fleet/common/ca';
import { makeKeyFile } from '@csc-fleet/common/crypto';
import { CscError, isCscError } from '@csc-fleet/common/errors';
import {
  checkWritableDirectory,
  makeDirectory,
  makeFile,
  readBoundedFile,
  replaceFile,
} from '@csc-fleet/common/files';
import { identityOfCertificate, validityOf } from '@csc-fleet/common/identity';
import { generateTlsKey, toTlsKey } from '@csc-fleet/common/pki';
import type { Role } from '@csc-fleet/common/rpc';
import { keepJoinedCa } from '../files/joined-ca.ts';
import { readGateKeys, readRoot } from './fleet-files.ts';

/** How a host, a gate or a client joins. */
export interface JoinOptions {
  readonly role: Role;
  /** `HOST:PORT`. */
  readonly ca: string;
  readonly token: string;
  /** Where its files go. */
  readonly dir: string;
  /** Whether it has joined before, and only its certificates are made anew. */
  readonly again: boolean;
  /** Instead of what the CA says. */
  readonly gate?: string;
  readonly gateKeys?: string;
  readonly policyRoot?: string;
  /** A plain folder of policies, in the place of the owners' repository. */
  readonly policies?: string;
  readonly stateDir?: string;
  /** Of a gate. */
  readonly listen?: string;
  readonly mode?: 'hardened' | 'local';
}

/** What came of it. */
export interface Joined {
  readonly identity: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly until: Date;
  /** Files that are new. */
  readonly made: readonly string[];
  /** Its private keys, made here; of those that were there when its certificates were made anew, none. */
  readonly keys: readonly string[];
  /** Absent: no config was written. */
  readonly config?: string;
  /** SHA-256, lower-case hex. */
  readonly caSha256: string;
  readonly policyRootSha256?: string;
}

const maxBytes = 512 * 1024;

/**
 * Joins a fleet: makes keys here, has the CA that the token names certify them, and writes certificates and config. No
 * config is ever overwritten; where it fails, the same command goes on with the same keys. Throws CONFIG_INVALID,
 * FILE_UNREADABLE, FILE_UNWRITABLE, and what joinFleet does.
 */
export async function joinCa(options: JoinOptions): Promise<Joined> {
  const { role, again } = options;
  const token = parseJoinToken(options.token);
  const dir = resolve(options.dir);
  const config = role === 'client' ? undefined : join(dir, `${role}.yaml`);
  if (config !== undefined && existsSync(config) !== again) {
    const message = again
      ? `${config} is not there: leave --again out`
      : `${config} is there already, and is not overwritten: take another --dir; --again has only its certificates made anew`;
    throw new CscError('CONFIG_INVALID', message);
  }
  const pki = folderOf(options, dir);
  checkPlace(options, dir, pki);
  const own = readOwn(options);
  // The service may run as another user than who joins; what is secret lies below, in pki.
  if (config !== undefined) makeDirectory(dir, { mode: 0o755 });
  makeDirectory(pki, { mode: 0o700 });
  const leave = enter(join(pki, 'joining'));
  try {
    return await joinIn(dir, config, token, { ...options, own });
  } finally {
    leave();
  }
}

// A token is used up once a CA has answered: what can be seen to be in the way is seen before.
function checkPlace({ role, again }: JoinOptions, dir: string, pki: string): void {
  checkWritableDirectory(dir);
  checkWritableDirectory(pki);
  const certificates =
    role === 'client' ? [] : [`${role}.pem`, ...(role === 'executor' ? ['receipts.pem'] : [])];
  const files = [
    ...[...certificates, 'ca.pem'].map((it) => join(pki, it)),
    ...(role === 'client' || again ? [] : ['gate-keys.json', 'root.json'].map((it) => join(dir, it))),
  ];
  const inTheWay = files.find((it) => existsSync(it) && !statSync(it).isFile());
  if (inTheWay !== undefined)
    throw new CscError('CONFIG_INVALID', `${inTheWay} is no file, and is to be one: move it away`);
}

/** What the command line gives in the place of what the CA says. */
interface OwnWord {
  readonly gateKeys?: Uint8Array;
  readonly policyRoot?: Uint8Array;
}

function readOwn({ gateKeys, policyRoot, policies }: JoinOptions): OwnWord {
  return {
    ...(gateKeys === undefined ? {} : { gateKeys: readGateKeys(gateKeys) }),
    ...(policyRoot === undefined || policies !== undefined ? {} : { policyRoot: readRoot(policyRoot) }),
  };
}

// Two at once would mix the certificates of two names. Gives what lets the next one in.
function enter(path: string): () => void {
  for (const isLast of [false, true]) {
    if (makeFile(path, String(process.pid), 0o600)) return () => rmSync(path, { force: true });
    const pid = Number(readBoundedFile(path, { maxBytes: 64 }).bytes.toString('utf8'));
    if (isLast || isRunning(pid))
      throw new CscError('CONFIG_INVALID', `process ${pid} is joining here already: wait for it to end`);
    rmSync(path, { force: true });
  }
  throw new CscError('INTERNAL', 'unreachable');
}

function isRunning(pid: number): boolean {
  try {
    return Number.isInteger(pid) && pid > 0 && process.kill(pid, 0);
  } catch (error) {
    return error instanceof Error && 'code' in error && error.code === 'EPERM';
  }
}

async function joinIn(
  dir: string,
  config: string | undefined,
  token: JoinToken,
  options: JoinOptions & { readonly own: OwnWord },
): Promise<Joined> {
  const { role, ca, again, own } = options;
  const place = placeOf(options, dir, token);
  const wasThere = existsSync(place.key);
  const newKeys = [place.key, place.receiptKey].filter((it) => it !== undefined && !existsSync(it));
  const keys = readKeys(place);
  // A client's files are named after it: there is room for another beside it.
  const known = role === 'client' || !existsSync(place.cert) ? '' : ownIdentity(place.cert);
  const { certificates, identity, labels, fleet, issued } = await certified(
    options,
    token,
    keys,
    known,
  ).catch((error: unknown) => {
    // Of a host or a gate the key stays where it belongs, for whatever token comes next.
    if (role === 'client' && isOver(error, wasThere)) rmSync(place.key, { force: true });
    throw error;
  });
  const made: string[] = [];
  const write = (path: string, data: string | Uint8Array): void => {
    replaceFile(path, data, 0o644);
    made.push(path);
  };
  const name = identity.slice(identity.lastIndexOf('/') + 1);
  const tlsFiles = role === 'client' ? clientFiles(dir, name, place) : place;
  write(tlsFiles.ca, certificates.ca);
  write(tlsFiles.cert, certificates.tls);
  if (role === 'client') {
    made.push(keepJoinedCa(dir, ca));
    rmSync(place.key);
    // Where earlier releases left a copy.
    rmSync(join(dir, 'pki', 'client.key'), { force: true });
  }
  if (certificates.receipt !== '') write(place.receiptCertificate, certificates.receipt);
  const receiptKeys = place.receiptKey === undefined ? [] : [place.receiptKey];
  const about = {
    identity,
    labels,
    keys: again ? newKeys.filter((it) => it !== undefined) : [tlsFiles.key, ...receiptKeys],
    until: validityOf(issued).until,
    caSha256: token.caSha256,
  };
  if (config === undefined || again) return { ...about, made };
  const given = readGiven(options, own, fleet);
  const parts = writeFleet(dir, given, write);
  const text = role === 'executor' ? executorYaml(options, dir, given, parts) : gateYaml(options, dir, parts);
  if (!makeFile(config, text, 0o644))
    throw new CscError('FILE_UNWRITABLE', `${config} was made meanwhile by somebody else`);
  made.push(config);
  const { policyRoot } = given;
  const rootHash = policyRoot === undefined ? {} : { policyRootSha256: sha256(policyRoot) };
  return { ...about, ...rootHash, made, config };
}

async function certified({ role, ca }: JoinOptions, token: JoinToken, keys: JoinKeys, known: string) {
  const { certificates, identity, labels, fleet } = await joinFleet(ca, token, keys, {
    role,
    identity: known,
    at: new Date(),
  });
  const issued = new X509Certificate(certificates?.tls ?? '');
  if (certificates === undefined || identityOfCertificate(issued.raw).role !== role)
    throw new CscError('CONFIG_INVALID', `the token is not of the role ${role}, but of ${identity}`);
  // A CA of before this release does not look at who was here.
  if ((known !== '' && identity !== known) || !issued.checkPrivateKey(keys.tls))
    throw new CscError(
      'CREDENTIALS_INVALID',
      `the token is of ${identity}, and here is ${known || 'another key'}`,
    );
  return { certificates, identity, labels, fleet, issued };
}

// True where the same command with the same key can come to nothing. With a key that was there already, an answer may have been
// lost: another CA in the place of this one proves nothing of that.
function isOver(error: unknown, wasThere: boolean): boolean {
  if (isCscError(error, 'CREDENTIALS_INVALID')) return !wasThere;
  return (['JOIN_REFUSED', 'REQUEST_INVALID', 'CONFIG_INVALID'] as const).some((code) =>
    isCscError(error, code),
  );
}

function ownIdentity(cert: string): string {
  const pem = readBoundedFile(cert, { maxBytes }).bytes;
  return identityOfCertificate(new X509Certificate(pem).raw).uri;
}

interface Place {
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
  readonly receiptKey?: string;
  readonly receiptCertificate: string;
}

// A client's is what --pki names.
function folderOf({ role }: Pick<JoinOptions, 'role'>, dir: string): string {
  return role === 'client' ? dir : join(dir, 'pki');
}

// An executor's receipt key is where it looks for it anyway. A client's key is named after the token until it is known whose
// it is: no other token gets it, and the same one goes on with it where an answer was lost.
function placeOf({ role, stateDir, again }: JoinOptions, dir: string, token: JoinToken): Place {
  const pki = folderOf({ role }, dir);
  const state = resolve(dir, stateDir ?? (again ? stateDirIn(join(dir, 'executor.yaml')) : 'state'));
  return {
    ca: join(pki, 'ca.pem'),
    cert: join(pki, `${role}.pem`),
    key: join(
      pki,
      role === 'client' ? `joining-${hashJoinToken(token.text).slice(0, 16)}.key` : `${role}.key`,
    ),
    ...(role === 'executor' ? { receiptKey: join(state, 'receipt-key.pem') } : {}),
    receiptCertificate: join(pki, 'receipts.pem'),
  };
}

// Of a config that joining has written, which says it on a line of its own.
function stateDirIn(config: string): string {
  if (!existsSync(config)) return 'state';
  const text = readBoundedFile(config, { maxBytes }).bytes.toString('utf8');
  const [, written] = /^state_dir: (".*")$/m.exec(text) ?? [];
  return written === undefined ? 'state' : String(JSON.parse(written));
}

function readKeys({ key, receiptKey }: Place): { tls: KeyObject; receipts?: KeyObject } {
  makeFile(key, generateTlsKey().export({ type: 'pkcs8', format: 'pem' }).toString(), 0o600);
  const tls = toTlsKey(readBoundedFile(key, { maxBytes }).bytes.toString('utf8'));
  if (receiptKey === undefined) return { tls };
  makeDirectory(join(receiptKey, '..'), { mode: 0o700 });
  makeKeyFile(receiptKey);
  return { tls, receipts: createPrivateKey(readBoundedFile(receiptKey, { maxBytes }).bytes) };
}

// As --pki DIR --as NAME finds them.
function clientFiles(dir: string, name: string, { key }: Place): Place {
  const own = join(dir, `client-${name}.key`);
  replaceFile(own, readBoundedFile(key, { maxBytes }).bytes, 0o600);
  return {
    ca: join(dir, 'ca.pem'),
    cert: join(dir, `client-${name}.pem`),
    key: own,
    receiptCertificate: '',
  };
}

interface Given {
  readonly gate: string;
  readonly gateKeys?: Uint8Array;
  readonly policyRoot?: Uint8Array;
}

function readGiven(
  { gate, policies, role }: JoinOptions,
  own: OwnWord,
  fleet: { gateAddress: string; gateKeys: Uint8Array; policyRoot: Uint8Array } | undefined,
): Given {
  const pick = (given: Uint8Array | undefined, sent: Uint8Array | undefined): Uint8Array | undefined => {
    if (given !== undefined) return given;
    return sent === undefined || sent.length === 0 ? undefined : sent;
  };
  const address = gate ?? fleet?.gateAddress ?? '';
  const keys = pick(own.gateKeys, fleet?.gateKeys);
  const root = policies === undefined ? pick(own.policyRoot, fleet?.policyRoot) : undefined;
  if (role === 'executor') {
    const missing = [
      ...(address === '' ? ['--gate HOST:PORT'] : []),
      ...(keys === undefined ? ['--gate-keys FILE (gate-keys.json of the gate’s data_dir)'] : []),
      ...(root === undefined && policies === undefined ? ['--policy-root FILE (the owners’ root.json)'] : []),
    ];
    const message = `the certificates are there; the CA does not know the rest of the fleet. Where it runs: csc ca fleet --help; and then here the same command once more. Or here the same command with ${missing.join(' and ')}`;
    if (missing.length > 0) throw new CscError('CONFIG_INVALID', message);
  }
  return {
    gate: address,
    ...(keys === undefined ? {} : { gateKeys: keys }),
    ...(root === undefined ? {} : { policyRoot: root }),
  };
}

interface FleetParts {
  readonly hasRoot: boolean;
}

function writeFleet(
  dir: string,
  { gateKeys, policyRoot }: Given,
  write: (path: string, data: Uint8Array) => void,
): FleetParts {
  if (gateKeys !== undefined) write(join(dir, 'gate-keys.json'), gateKeys);
  if (policyRoot !== undefined) write(join(dir, 'root.json'), policyRoot);
  return { hasRoot: policyRoot !== undefined };
}

const quote = (text: string): string => JSON.stringify(text);

function executorYaml(
  { ca, policies, stateDir, mode }: JoinOptions,
  dir: string,
  { gate }: Given,
  { hasRoot }: FleetParts,
): string {
  const isRoot = process.geteuid?.() === 0;
  return [
    '# Made by csc executor join; csc executor --config with this file runs it. deploy/config/executor.yaml has all members.',
    'gate:',
    `  address: ${quote(gate)}`,
    '# Renews the certificates below while the executor runs.',
    'ca:',
    `  address: ${quote(ca)}`,
    'tls:',
    '  ca: pki/ca.pem',
    '  cert: pki/executor.pem',
    '  key: pki/executor.key',
    'receipt_certificate: pki/receipts.pem',
    'trusted_gate_keys: gate-keys.json',
    ...(hasRoot
      ? ['policy_repository:', '  root: root.json', '  from: gate']
      : [`policies: ${quote(relativeTo(dir, policies ?? ''))}`]),
    `state_dir: ${quote(stateDir === undefined ? 'state' : relativeTo(dir, stateDir))}`,
    '# Its labels are those of its certificate.',
    ...(isRoot && mode !== 'local' ? ['run_as: auto'] : []),
    ...(mode === undefined ? [] : [`execution_mode: ${mode}`]),
    '',
  ].join('\n');
}

function gateYaml(
  { ca, listen = '0.0.0.0:7443', stateDir }: JoinOptions,
  dir: string,
  { hasRoot }: FleetParts,
): string {
  return [
    '# Made by csc gate join; csc gate --config with this file runs it. deploy/config/gate.yaml has all members.',
    `listen: ${quote(listen)}`,
    `data_dir: ${quote(stateDir === undefined ? 'data' : relativeTo(dir, stateDir))}`,
    '# Renews the certificate below while the gate runs.',
    'ca:',
    `  address: ${quote(ca)}`,
    'tls:',
    '  ca: pki/ca.pem',
    '  cert: pki/gate.pem',
    '  key: pki/gate.key',
    '# What the owners publish: csc policy init makes it, docs/policy-repository.md.',
    'policy_repository:',
    '  directory: policy-repository',
    `  root: ${hasRoot ? 'root.json' : 'policy-repository/root.json'}`,
    '  # Signs every five minutes that nothing newer was published. Without it somebody runs csc policy publish each day, or hosts',
    '  # take nothing more (POLICY_STALE).',
    `  ${hasRoot ? '# ' : ''}online_key: policy-repository/keys/online.key`,
    '',
  ].join('\n');
}

function relativeTo(dir: string, path: string): string {
  const at = resolve(path);
  const inside = relative(dir, at);
  return inside.startsWith('..') || isAbsolute(inside) ? at : inside;
}

function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}
