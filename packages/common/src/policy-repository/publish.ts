import { rmSync } from 'node:fs';
import type { Metadata, Root, Targets, Timestamp } from '@tufjs/models';
import type { Signer } from '../crypto/index.ts';
import { CscError, openings } from '../errors/index.ts';
import { readBoundedFile } from '../files/index.ts';
import {
  type AnyMetadata,
  addSignature,
  createSnapshot,
  createTimestamp,
  signedBy,
  toBytes,
  toTargets,
  toTufKey,
} from './metadata.ts';
import {
  at,
  checkSigned,
  currentRoot,
  defaultLifetimes,
  defaultResignMs,
  isSigned,
  type Lifetimes,
  maxBytes,
  newest,
  publishedRoot,
  publishedTargets,
  publishedTimestamp,
  readMetadata,
  sameFiles,
  stagedRoot,
  stagedStop,
  standingFiles,
  unsigned,
  vouchedAt,
  workspaceFiles,
  write,
  writeTargets,
} from './workspace.ts';

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
  return new CscError('KEY_UNKNOWN', `${openings.noSay}${JSON.stringify(keyId)}: it is not its online key`);
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
