import { existsSync, readdirSync, rmSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { Metadata, Root, Targets, Timestamp } from '@tufjs/models';
import type { Signer } from '../crypto/index.ts';
import { artifactBytes, sha256Hex, toTimestamp } from '../encoding/index.ts';
import { CscError, quoteBriefly } from '../errors/index.ts';
import { makeDirectory, readBoundedFile, replaceFile } from '../files/index.ts';
import {
  type AnyMetadata,
  addSignature,
  createRoot,
  createSnapshot,
  createTargets,
  createTimestamp,
  type RoleKeys,
  type RoleName,
  signedAtOf,
  signedBy,
  toBytes,
  toHashedName,
  toRoot,
  toSnapshotMetadata,
  toTargets,
  toTimestampMetadata,
  toTufKey,
} from './metadata.ts';
import { checkOwnersFile, checkProfiles, checkQuorums, type Files, readOwnersFiles } from './owners-files.ts';

/** How long what is signed is good for, in milliseconds. */
export interface Lifetimes {
  readonly root: number;
  readonly targets: number;
  /** Of snapshot and timestamp: for how long they can be handed over. */
  readonly online: number;
}

/** How old the timestamp gets before whoever keeps the online key signs another, in milliseconds. */
export const defaultResignMs = 5 * 60_000;

const day = 86_400_000;
export const defaultLifetimes: Lifetimes = { root: 365 * day, targets: 90 * day, online: day };

/** Who may sign what of a repository. */
export interface RepositoryKeys {
  readonly root: RoleKeys;
  readonly targets: RoleKeys;
  /** 32 bytes. */
  readonly online: Uint8Array;
}

// What a workspace of the owners holds: their files as they stand, what waits for signatures, and what hosts fetch.
const at = {
  targets: (directory: string) => join(directory, 'targets'),
  staged: (directory: string, role: 'root' | 'targets' | 'stop') => join(directory, 'staged', `${role}.json`),
  metadata: (directory: string, name: string) => join(directory, 'published', 'metadata', name),
  target: (directory: string, name: string) => join(directory, 'published', 'targets', name),
};

const maxBytes = artifactBytes.ownersFile;

/**
 * Makes a workspace for a new repository, whose first root waits for its signatures. Throws FILE_UNWRITABLE where there
 * is one already, KEY_INVALID for a threshold that its keys cannot reach.
 */
export function initRepository(
  directory: string,
  keys: RepositoryKeys,
  now: Date,
  lifetimes = defaultLifetimes,
): void {
  if (existsSync(join(directory, 'staged')) || existsSync(join(directory, 'published')))
    throw new CscError('FILE_UNWRITABLE', `${directory} holds a policy repository already`);
  makeDirectory(at.targets(directory));
  stageRoot(directory, keys, 1, now, lifetimes);
}

/** Stages a root with other keys, one version on: it needs the signatures of the old root's keys and of its own. */
export function rotateRoot(
  directory: string,
  keys: RepositoryKeys,
  now: Date,
  lifetimes = defaultLifetimes,
): void {
  const { version } = currentRoot(directory).signed;
  stageRoot(directory, keys, version + 1, now, lifetimes);
}

function stageRoot(
  directory: string,
  keys: RepositoryKeys,
  version: number,
  now: Date,
  lifetimes: Lifetimes,
): void {
  for (const [name, role] of Object.entries({ root: keys.root, targets: keys.targets }))
    checkThreshold(name, role);
  const expires = new Date(now.getTime() + lifetimes.root);
  write(at.staged(directory, 'root'), toBytes(createRoot({ ...keys, version, expires })));
}

function checkThreshold(name: string, { publicKeys, threshold }: RoleKeys): void {
  const count = new Set(publicKeys.map((key) => toTufKey(key).keyID)).size;
  if (Number.isInteger(threshold) && threshold >= 1 && threshold <= count) return;
  const message = `the threshold of ${name} must be from 1 to ${count}, the number of its keys, not ${threshold}`;
  throw new CscError('KEY_INVALID', message);
}

/**
 * Puts files of the owners into the workspace, in the place of those of their names; all or none. Throws POLICY_INVALID,
 * also for a profile that its samples, added or there, contradict: who changes both adds both at once.
 */
export function addFiles(directory: string, files: Files): void {
  for (const [name, bytes] of files) checkOwnersFile(name, bytes);
  checkProfiles(new Map([...workspaceFiles(directory), ...files]), [...files.keys()]);
  for (const [name, bytes] of files) write(join(at.targets(directory), name), bytes);
}

/** The same of one file. */
export function addFile(directory: string, name: string, bytes: Uint8Array): void {
  addFiles(directory, new Map([[name, bytes]]));
}

/** Takes a file out of the workspace, and with the next publication out of the repository. Throws FILE_UNREADABLE. */
export function removeFile(directory: string, name: string): void {
  if (!workspaceFiles(directory).has(name))
    throw new CscError('FILE_UNREADABLE', `the policy repository holds no ${quoteBriefly(name)}`);
  rmSync(join(at.targets(directory), name));
}

/** The owners' files in the workspace, by their names in the repository. */
export function workspaceFiles(directory: string): Files {
  const root = at.targets(directory);
  const names = readdirSync(root, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(root.length + 1))
    .sort();
  return new Map(names.map((name) => [name, readBoundedFile(join(root, name), { maxBytes }).bytes]));
}

/** The roles that a signature was added for. */
export type SignedRoles = readonly ('root' | 'targets')[];

/**
 * Signs what is staged, as far as the key has a say in it; the owners' files are staged first, where they have changed
 * since. A change that waits for signatures (`stageStop`) is signed in the place of the files. Throws KEY_UNKNOWN where the key is of no role, POLICY_INVALID where the files cannot be used.
 */
export function signStaged(
  directory: string,
  signer: Signer,
  now: Date,
  lifetimes = defaultLifetimes,
): SignedRoles {
  const { keyID } = toTufKey(signer.publicKey);
  const root = stagedRoot(directory);
  const roots = [root, publishedRoot(directory)].filter((it) => it !== undefined);
  const stop = stagedStop(directory);
  const signed: ('root' | 'targets')[] = [];
  if (root !== undefined && roots.some(({ signed: it }) => it.roles['root']?.keyIDs.includes(keyID))) {
    sign(at.staged(directory, 'root'), root, signer);
    signed.push('root');
  }
  if (stop !== undefined && roots.some(({ signed: it }) => it.roles['targets']?.keyIDs.includes(keyID))) {
    sign(at.staged(directory, 'stop'), stop, signer);
    signed.push('targets');
  }
  // The draft would get the version of the stop: it waits until that is published.
  const targets = stop === undefined ? stageTargets(directory, now, lifetimes) : undefined;
  if (
    targets !== undefined &&
    (root ?? currentRoot(directory)).signed.roles['targets']?.keyIDs.includes(keyID)
  ) {
    sign(at.staged(directory, 'targets'), targets, signer);
    signed.push('targets');
  }
  if (signed.length > 0) return signed;
  const held = roots.some(({ signed: it }) => it.keys[keyID] !== undefined);
  if (held) return signed;
  throw noSay(signer);
}

function noSay({ keyId }: Signer): CscError {
  return new CscError('KEY_UNKNOWN', `the key ${JSON.stringify(keyId)} has no say in this policy repository`);
}

function sign(path: string, metadata: AnyMetadata, signer: Signer): void {
  addSignature(metadata, signer);
  write(path, toBytes(metadata));
}

// Undefined where there is nothing to publish: no files, or none that differ.
function stageTargets(directory: string, now: Date, lifetimes: Lifetimes): Metadata<Targets> | undefined {
  const files = workspaceFiles(directory);
  if (files.size === 0) return undefined;
  const staged = readMetadata(at.staged(directory, 'targets'), toTargets);
  if (staged !== undefined && sameFiles(staged, files)) return staged;
  const published = publishedTargets(directory);
  if (
    staged === undefined &&
    published !== undefined &&
    sameFiles(published, files) &&
    !isOld(published, now, lifetimes)
  )
    return undefined;
  checkQuorums(readOwnersFiles(files));
  const version = (published?.signed.version ?? 0) + 1;
  const expires = new Date(now.getTime() + lifetimes.targets);
  const made = createTargets(files, { version, expires, signedAt: now });
  write(at.staged(directory, 'targets'), toBytes(made));
  return made;
}

// The same files are signed anew once half of their time is over, and where they are to be good for less than they are.
function isOld({ signed }: Metadata<Targets>, now: Date, { targets }: Lifetimes): boolean {
  const left = Date.parse(signed.expires) - now.getTime();
  return left < targets / 2 || left > targets;
}

function sameFiles({ signed }: Metadata<Targets>, files: Files): boolean {
  const { targets } = signed;
  if (Object.keys(targets).length !== files.size) return false;
  return [...files].every(([name, bytes]) => targets[name]?.hashes['sha256'] === sha256Hex(bytes));
}

/** One file of the owners as it is to be, from what it is; undefined where there is none. */
export interface Stop {
  readonly name: 'freeze.yaml' | 'revoked.yaml';
  readonly next: (before: Uint8Array | undefined) => Uint8Array;
}

/**
 * Stages and signs one change to what is *published*, so that an emergency stop neither publishes what else was changed in
 * the workspace nor waits until that can be used; `publishStaged` publishes it before anything else. The workspace's file
 * is changed the same way (or replaced, where it cannot be read), or else what is published next would take it back. Whoever has signed the draft signs it again.
 * Throws POLICY_UNSIGNED where nothing is published, KEY_UNKNOWN where a key does not sign files.
 */
export function stageStop(
  directory: string,
  { name, next }: Stop,
  signers: readonly Signer[],
  now: Date,
  lifetimes = defaultLifetimes,
): void {
  const before = standingFiles(directory);
  const bytes = next(before.get(name));
  const files = new Map([...before, [name, bytes]]);
  readOwnersFiles(files);
  const version = (publishedTargets(directory)?.signed.version ?? 0) + 1;
  const expires = new Date(now.getTime() + lifetimes.targets);
  const stop = createTargets(files, { version, expires, signedAt: now });
  const { keyIDs = [] } = currentRoot(directory).signed.roles['targets'] ?? {};
  for (const signer of signers) {
    if (!keyIDs.includes(toTufKey(signer.publicKey).keyID)) throw noSay(signer);
    addSignature(stop, signer);
  }
  // Under its hash it is no part of anything before the metadata name it.
  writeTargets(directory, files);
  const draft = join(at.targets(directory), name);
  const drafted = orUndefined(() => next(existsSync(draft) ? readOwnFile(draft) : undefined));
  write(draft, drafted ?? bytes);
  write(at.staged(directory, 'stop'), toBytes(stop));
}

/** The owners' files as they are published, with what `stageStop` has staged. Throws POLICY_UNSIGNED where nothing is. */
export function standingFiles(directory: string): Files {
  const targets = stagedStop(directory) ?? publishedTargets(directory);
  if (targets === undefined)
    throw unsigned('nothing is published here, so that no host runs anything by it: csc policy publish');
  return new Map(
    Object.values(targets.signed.targets).map(({ path, hashes: { sha256 = '' } }) => [
      path,
      readPublished(directory, path, sha256),
    ]),
  );
}

// What was damaged since is taken from the workspace, where it still is what was signed.
function readPublished(directory: string, name: string, sha256: string): Uint8Array {
  const places = [at.target(directory, toHashedName(name, sha256)), join(at.targets(directory), name)];
  const path = places.find((it) => holds(it, sha256));
  if (path !== undefined) return readOwnFile(path);
  throw new CscError('FILE_UNREADABLE', `${places[0]} is not what was signed, and no copy of it is here`);
}

function readOwnFile(path: string): Uint8Array {
  return readBoundedFile(path, { maxBytes }).bytes;
}

/** True where the workspace holds anything else than what is published, even if that cannot be used. */
export function hasDraft(directory: string): boolean {
  const published = publishedTargets(directory);
  return (
    published !== undefined && orUndefined(() => sameFiles(published, workspaceFiles(directory))) !== true
  );
}

/**
 * Publishes what is staged, if enough have signed it, and a new snapshot and timestamp in any case. The timestamp comes
 * last, so that whoever fetches meanwhile finds one version or the other, whole. What `stageStop` has staged is published
 * alone: the rest is signed and published after it. Gives the version of the targets.
 * Throws POLICY_UNSIGNED with what is missing.
 */
export function publishStaged(
  directory: string,
  online: Signer,
  now: Date,
  lifetimes = defaultLifetimes,
): number {
  const stop = stagedStop(directory);
  const root = stop === undefined ? publishRoot(directory) : rootForStop(directory, stop);
  const targets = stop === undefined ? publishTargets(directory, root) : publishStop(directory, root, stop);
  publishOnline(directory, { root, targets, online, now, lifetimes });
  return targets.signed.version;
}

/**
 * Signs anew that what is published is the newest, and leaves alone what is staged: for whoever keeps the online key, so
 * that hosts go on hearing that nothing is newer. The timestamp is made anew once it is `resignMs` old, the snapshot with it
 * only once half of its time is over. Does nothing where nothing is published. Throws KEY_UNKNOWN where it is not the
 * repository's online key.
 */
export function refreshPublished(
  directory: string,
  online: Signer,
  now: Date,
  { resignMs = defaultResignMs, lifetimes = defaultLifetimes } = {},
): 'refreshed' | 'fresh' {
  const timestamp = publishedTimestamp(directory);
  // Of the future, too: a clock was wrong, and hosts believe no such date.
  const ageMs = Math.abs(now.getTime() - (timestamp === undefined ? 0 : vouchedAt(timestamp)));
  if (timestamp === undefined || ageMs < resignMs) return 'fresh';
  const root = publishedRoot(directory);
  const targets = publishedTargets(directory);
  if (root === undefined || targets === undefined) return 'fresh';
  const due = { root, targets, online, now, lifetimes };
  if (Date.parse(timestamp.signed.expires) - now.getTime() < lifetimes.online / 2)
    publishOnline(directory, due);
  else publishTimestamp(directory, timestamp, due);
  return 'refreshed';
}

/** Throws KEY_UNKNOWN where it is not the online key of what is published; says nothing where nothing is. */
export function checkOnlineKey(directory: string, { publicKey, keyId }: Signer): void {
  const root = publishedRoot(directory);
  const { keyIDs } = root?.signed.roles['timestamp'] ?? {};
  if (keyIDs === undefined || keyIDs.includes(toTufKey(publicKey).keyID)) return;
  throw notOnline(keyId);
}

/**
 * Throws CONFIG_INVALID where this is no root of a policy repository. No signature is verified.
 * @param path where it was read
 */
export function checkRoot(bytes: Uint8Array, path: string): void {
  try {
    toRoot(bytes);
  } catch (cause) {
    const message = `${path} is no root of a policy repository: pin the root.json that csc policy publish writes`;
    throw new CscError('CONFIG_INVALID', message, { cause });
  }
}

// One from before there was signed_at is made anew at once.
function vouchedAt(timestamp: Metadata<Timestamp>): number {
  return signedAtOf(timestamp)?.getTime() ?? 0;
}

interface Online {
  readonly root: Metadata<Root>;
  readonly targets: Metadata<Targets>;
  readonly online: Signer;
  readonly now: Date;
  readonly lifetimes: Lifetimes;
}

function publishOnline(directory: string, { root, targets, online, now, lifetimes }: Online): void {
  // Not below a timestamp that was made anew without it.
  const newestTimestamp = publishedTimestamp(directory)?.signed.version ?? 0;
  const version = Math.max(newest(directory, 'snapshot'), newestTimestamp) + 1;
  const expires = new Date(now.getTime() + lifetimes.online);
  const targetsBytes = readBoundedFile(at.metadata(directory, `${targets.signed.version}.targets.json`), {
    maxBytes,
  }).bytes;
  const snapshot = createSnapshot(targetsBytes, targets.signed.version, version, expires);
  addSignature(snapshot, online);
  const timestamp = createTimestamp(toBytes(snapshot), version, { version, expires, signedAt: now });
  addSignature(timestamp, online);
  checkOnline(root, 'snapshot', snapshot, online);
  checkOnline(root, 'timestamp', timestamp, online);
  write(at.metadata(directory, `${version}.snapshot.json`), toBytes(snapshot));
  write(at.metadata(directory, 'timestamp.json'), toBytes(timestamp));
}

// The snapshot's files would otherwise be as many as there were timestamps.
function publishTimestamp(
  directory: string,
  before: Metadata<Timestamp>,
  { root, online, now }: Pick<Online, 'root' | 'online' | 'now'>,
): void {
  const { version: snapshotVersion } = before.signed.snapshotMeta;
  const path = at.metadata(directory, `${snapshotVersion}.snapshot.json`);
  const { bytes } = readBoundedFile(path, { maxBytes });
  const [version, expires] = [before.signed.version + 1, new Date(before.signed.expires)];
  const timestamp = createTimestamp(bytes, snapshotVersion, { version, expires, signedAt: now });
  addSignature(timestamp, online);
  checkOnline(root, 'timestamp', timestamp, online);
  write(at.metadata(directory, 'timestamp.json'), toBytes(timestamp));
}

function checkOnline(
  root: Metadata<Root>,
  role: 'snapshot' | 'timestamp',
  metadata: AnyMetadata,
  { keyId }: Signer,
): void {
  if (signedBy(root.signed, role, metadata).length > 0) return;
  throw notOnline(keyId);
}

function notOnline(keyId: string): CscError {
  return new CscError('KEY_UNKNOWN', `the key ${JSON.stringify(keyId)} is not this repository's online key`);
}

function publishRoot(directory: string): Metadata<Root> {
  const staged = stagedRoot(directory);
  if (staged === undefined) return currentRoot(directory);
  for (const judge of [publishedRoot(directory), staged])
    if (judge !== undefined) checkSigned(judge, 'root', staged);
  write(at.metadata(directory, `${staged.signed.version}.root.json`), toBytes(staged));
  rmSync(at.staged(directory, 'root'));
  return staged;
}

// A rotation that waits for signatures does not hold a stop up; one that has them helps where the old keys are too few.
function rootForStop(directory: string, stop: Metadata<Targets>): Metadata<Root> {
  const [published, staged] = [publishedRoot(directory), stagedRoot(directory)];
  if (published === undefined) return publishRoot(directory);
  const rotates = staged !== undefined && [published, staged].every((it) => isSigned(it, 'root', staged));
  return rotates && !isSigned(published, 'targets', stop) ? publishRoot(directory) : published;
}

function publishStop(directory: string, root: Metadata<Root>, stop: Metadata<Targets>): Metadata<Targets> {
  checkSigned(root, 'targets', stop);
  writeTargets(directory, standingFiles(directory));
  write(at.metadata(directory, `${stop.signed.version}.targets.json`), toBytes(stop));
  // The draft as it was signed has this version, too, and knows nothing of the stop.
  rmSync(at.staged(directory, 'targets'), { force: true });
  rmSync(at.staged(directory, 'stop'));
  return stop;
}

function publishTargets(directory: string, root: Metadata<Root>): Metadata<Targets> {
  const staged = readMetadata(at.staged(directory, 'targets'), toTargets);
  if (staged === undefined) {
    const published = publishedTargets(directory);
    if (published === undefined)
      throw unsigned('nothing is signed yet: csc policy add, then csc policy sign');
    checkSigned(root, 'targets', published);
    const files = workspaceFiles(directory);
    // What was damaged since is mended from what the owners have.
    if (sameFiles(published, files)) writeTargets(directory, files);
    return published;
  }
  checkSigned(root, 'targets', staged);
  const files = workspaceFiles(directory);
  if (!sameFiles(staged, files))
    throw unsigned('the files have changed since they were signed: sign them again');
  writeTargets(directory, files);
  write(at.metadata(directory, `${staged.signed.version}.targets.json`), toBytes(staged));
  rmSync(at.staged(directory, 'targets'));
  return staged;
}

function writeTargets(directory: string, files: Files): void {
  for (const [name, bytes] of files) {
    const path = at.target(directory, toPublishedName(name, bytes));
    if (!holds(path, sha256Hex(bytes))) write(path, bytes);
  }
}

function holds(path: string, sha256: string | undefined): boolean {
  try {
    return sha256Hex(readBoundedFile(path, { maxBytes }).bytes) === sha256;
  } catch {
    return false;
  }
}

/**
 * What lies in a published folder and is not what was signed, from the timestamp on: hosts would refuse it. Names as in
 * `targets/policies/HASH.build.yaml`; none where all is well or nothing is published. No signature is verified.
 * @param directory the folder above `published`
 */
export function findDamage(directory: string): string[] {
  return publishedParts(directory)
    .filter(({ path, sha256 }) => !holds(path, sha256))
    .map(({ name }) => name);
}

/** Changes whenever one of the files that findDamage reads does: cheap to ask. */
export function publishedStamp(directory: string): string {
  return publishedParts(directory)
    .map(({ path }) => {
      const stat = statSync(path, { throwIfNoEntry: false });
      return `${path} ${stat?.ino} ${stat?.size} ${stat?.mtimeMs} ${stat?.ctimeMs}`;
    })
    .join('\n');
}

interface PublishedPart {
  readonly name: string;
  readonly path: string;
  readonly sha256: string | undefined;
}

function publishedParts(directory: string): PublishedPart[] {
  const timestamp = orUndefined(() => publishedTimestamp(directory));
  if (timestamp === undefined) return [];
  const { version, hashes } = timestamp.signed.snapshotMeta;
  const metadata = (name: string, sha256: string | undefined): PublishedPart => ({
    name: `metadata/${name}`,
    path: at.metadata(directory, name),
    sha256,
  });
  const first = metadata(`${version}.snapshot.json`, hashes?.['sha256']);
  const meta = orUndefined(() => readMetadata(first.path, toSnapshotMetadata))?.signed.meta['targets.json'];
  if (meta === undefined) return [first];
  const second = metadata(`${meta.version}.targets.json`, meta.hashes?.['sha256']);
  const targets = orUndefined(() => readMetadata(second.path, toTargets))?.signed.targets ?? {};
  const files = Object.values(targets).map(({ path, hashes: { sha256 = '' } }) => {
    const name = toHashedName(path, sha256);
    return { name: `targets/${name}`, path: at.target(directory, name), sha256 };
  });
  return [first, second, ...files];
}

// What cannot be read at all is damaged, too.
function orUndefined<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch {
    return undefined;
  }
}

function toPublishedName(name: string, bytes: Uint8Array): string {
  return toHashedName(name, sha256Hex(bytes));
}

function checkSigned(judge: Metadata<Root>, role: 'root' | 'targets', metadata: AnyMetadata): void {
  if (isSigned(judge, role, metadata)) return;
  const { threshold = 1, keyIDs = [] } = judge.signed.roles[role] ?? {};
  const count = signedBy(judge.signed, role, metadata).length;
  throw unsigned(
    `${role} version ${metadata.signed.version} has ${count} of the ${threshold} signatures that it needs, of ${keyIDs.length} keys`,
  );
}

function isSigned(judge: Metadata<Root>, role: 'root' | 'targets', metadata: AnyMetadata): boolean {
  return signedBy(judge.signed, role, metadata).length >= (judge.signed.roles[role]?.threshold ?? 1);
}

/** Where a repository stands, for people and for programs. */
export interface RepositoryStatus {
  readonly root: RoleStatus;
  readonly targets?: RoleStatus;
  readonly stagedRoot?: StagedStatus;
  readonly stagedTargets?: StagedStatus;
  /** Until when hosts take what is published without a refresh. Absent: nothing is published. */
  readonly freshUntil?: string;
  /** When it was last signed that this is the newest. Absent: nothing is published, or the timestamp says no date. */
  readonly vouchedAt?: string;
  readonly files: readonly string[];
  /** What is published and is not what was signed: hosts refuse it. Absent: nothing. */
  readonly damaged?: readonly string[];
}

export interface RoleStatus {
  readonly version: number;
  readonly expires: string;
  /** Absent: it says no date. */
  readonly signedAt?: string;
}

export interface StagedStatus extends RoleStatus {
  readonly signatures: number;
  readonly threshold: number;
}

/** Throws FILE_UNREADABLE where there is no repository. */
export function repositoryStatus(directory: string): RepositoryStatus {
  const root = currentRoot(directory);
  const targets = publishedTargets(directory);
  const staged = stagedStop(directory) ?? readMetadata(at.staged(directory, 'targets'), toTargets);
  const rootStaged = stagedRoot(directory);
  const timestamp = publishedTimestamp(directory);
  const { expires: freshUntil, signedAt: vouchedAt } = timestamp === undefined ? {} : toStatus(timestamp);
  const damaged = findDamage(directory);
  return {
    root: toStatus(root),
    files: [...workspaceFiles(directory).keys()],
    ...(targets === undefined ? {} : { targets: toStatus(targets) }),
    ...(rootStaged === undefined ? {} : { stagedRoot: toStagedStatus(root, 'root', rootStaged) }),
    ...(staged === undefined ? {} : { stagedTargets: toStagedStatus(root, 'targets', staged) }),
    ...(freshUntil === undefined ? {} : { freshUntil }),
    ...(vouchedAt === undefined ? {} : { vouchedAt }),
    ...(damaged.length === 0 ? {} : { damaged }),
  };
}

function publishedTimestamp(directory: string): Metadata<Timestamp> | undefined {
  return readMetadata(at.metadata(directory, 'timestamp.json'), toTimestampMetadata);
}

function toStatus(metadata: AnyMetadata): RoleStatus {
  const { version, expires } = metadata.signed;
  const signedAt = signedAtOf(metadata);
  return { version, expires, ...(signedAt === undefined ? {} : { signedAt: toTimestamp(signedAt) }) };
}

function toStagedStatus(judge: Metadata<Root>, role: RoleName, metadata: AnyMetadata): StagedStatus {
  const threshold = judge.signed.roles[role]?.threshold ?? 1;
  return { ...toStatus(metadata), threshold, signatures: signedBy(judge.signed, role, metadata).length };
}

/** The newest root that is published, or, before that, the one that is staged: what hosts pin. */
function currentRoot(directory: string): Metadata<Root> {
  const root = publishedRoot(directory) ?? stagedRoot(directory);
  if (root === undefined)
    throw new CscError('FILE_UNREADABLE', `${directory} holds no policy repository: csc policy init`);
  return root;
}

/** The bytes of the newest root that is published: what a host's owner pins. Throws POLICY_UNSIGNED before that. */
export function rootBytes(directory: string): Buffer {
  const version = newest(directory, 'root');
  if (version === 0) throw unsigned('the root is not signed yet: csc policy sign, then csc policy publish');
  return readBoundedFile(at.metadata(directory, `${version}.root.json`), { maxBytes }).bytes;
}

function stagedRoot(directory: string): Metadata<Root> | undefined {
  return readMetadata(at.staged(directory, 'root'), toRoot);
}

function stagedStop(directory: string): Metadata<Targets> | undefined {
  return readMetadata(at.staged(directory, 'stop'), toTargets);
}

function publishedRoot(directory: string): Metadata<Root> | undefined {
  return readMetadata(at.metadata(directory, `${newest(directory, 'root')}.root.json`), toRoot);
}

function publishedTargets(directory: string): Metadata<Targets> | undefined {
  return readMetadata(at.metadata(directory, `${newest(directory, 'targets')}.targets.json`), toTargets);
}

// 0: there is none.
function newest(directory: string, role: RoleName): number {
  const metadata = dirname(at.metadata(directory, 'timestamp.json'));
  if (!existsSync(metadata)) return 0;
  const versions = readdirSync(metadata).flatMap((name) => {
    const [, version] = new RegExp(`^(\\d+)\\.${role}\\.json$`).exec(name) ?? [];
    return version === undefined ? [] : [Number(version)];
  });
  return Math.max(0, ...versions);
}

function readMetadata<T>(path: string, parse: (bytes: Uint8Array) => T): T | undefined {
  return existsSync(path) ? parse(readBoundedFile(path, { maxBytes }).bytes) : undefined;
}

function write(path: string, bytes: Uint8Array): void {
  makeDirectory(dirname(path));
  replaceFile(path, bytes, 0o644);
}

function unsigned(message: string): CscError {
  return new CscError('POLICY_UNSIGNED', message);
}
