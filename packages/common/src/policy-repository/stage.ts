import { existsSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { Metadata, Targets } from '@tufjs/models';
import type { Signer } from '../crypto/index.ts';
import { CscError, openings, quoteBriefly } from '../errors/index.ts';
import { makeDirectory } from '../files/index.ts';
import {
  type AnyMetadata,
  addSignature,
  createRoot,
  createTargets,
  type RoleKeys,
  toBytes,
  toTargets,
  toTufKey,
} from './metadata.ts';
import { checkOwnersFile, checkProfiles, checkQuorums, type Files, readOwnersFiles } from './owners-files.ts';
import {
  at,
  currentRoot,
  defaultLifetimes,
  type Lifetimes,
  orUndefined,
  publishedRoot,
  publishedTargets,
  readMetadata,
  readOwnFile,
  sameFiles,
  stagedRoot,
  stagedStop,
  standingFiles,
  workspaceFiles,
  write,
  writeTargets,
} from './workspace.ts';

/** Who may sign what of a repository. */
export interface RepositoryKeys {
  readonly root: RoleKeys;
  readonly targets: RoleKeys;
  /** 32 bytes. */
  readonly online: Uint8Array;
}

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
  refuseRepository(directory);
  makeDirectory(at.targets(directory));
  stageRoot(directory, keys, 1, now, lifetimes);
}

/** Throws FILE_UNWRITABLE where there is a repository in this directory already. */
export function refuseRepository(directory: string): void {
  if (existsSync(join(directory, 'staged')) || existsSync(join(directory, 'published')))
    throw new CscError('FILE_UNWRITABLE', `${directory} holds a policy repository already`);
}

/** Stages a root with other keys, one version on: it needs the signatures of the old root's keys and of its own. */
export function rotateRoot(directory: string, keys: RepositoryKeys, now: Date): void {
  const { version } = currentRoot(directory).signed;
  stageRoot(directory, keys, version + 1, now, defaultLifetimes);
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

/**
 * Throws what `addFiles` and then `signStaged` would of these files, and changes nothing: POLICY_INVALID. A workspace that is
 * not there yet has no others.
 */
export function checkFiles(directory: string, files: Files): void {
  for (const [name, bytes] of files) checkOwnersFile(name, bytes);
  const there = existsSync(at.targets(directory)) ? workspaceFiles(directory) : [];
  checkQuorums(readOwnersFiles(new Map([...there, ...files])));
}

/** The same as `addFiles` of one file. */
export function addFile(directory: string, name: string, bytes: Uint8Array): void {
  addFiles(directory, new Map([[name, bytes]]));
}

/** Takes a file out of the workspace, and with the next publication out of the repository. Throws FILE_UNREADABLE. */
export function removeFile(directory: string, name: string): void {
  if (!workspaceFiles(directory).has(name))
    throw new CscError('FILE_UNREADABLE', `the policy repository holds no ${quoteBriefly(name)}`);
  rmSync(join(at.targets(directory), name));
}

/** The roles that a signature was added for. */
export type SignedRoles = readonly ('root' | 'targets')[];

/**
 * Signs what is staged, as far as the key has a say in it; the owners' files are staged first, where they have changed
 * since. A change that waits for signatures (`stageStop`) is signed in the place of the files. Throws KEY_UNKNOWN where
 * the key is of no role, POLICY_INVALID where the files cannot be used.
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
  return new CscError('KEY_UNKNOWN', `${openings.noSay}${JSON.stringify(keyId)}`);
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

/** One file of the owners as it is to be, from what it is; undefined where there is none. */
export interface Stop {
  readonly name: 'freeze.yaml' | 'revoked.yaml';
  readonly next: (before: Uint8Array | undefined) => Uint8Array;
}

/**
 * Stages and signs one change to what is *published*, so that an emergency stop neither publishes what else was changed
 * in the workspace nor waits until that can be used; `publishStaged` publishes it before anything else. The workspace's
 * file is changed the same way (or replaced, where it cannot be read), or else what is published next would take it
 * back. Whoever has signed the draft signs it again. Throws POLICY_UNSIGNED where nothing is published, KEY_UNKNOWN
 * where a key does not sign files.
 */
export function stageStop(
  directory: string,
  { name, next }: Stop,
  signers: readonly Signer[],
  now: Date,
): void {
  const before = standingFiles(directory);
  const bytes = next(before.get(name));
  const files = new Map([...before, [name, bytes]]);
  readOwnersFiles(files);
  const version = (publishedTargets(directory)?.signed.version ?? 0) + 1;
  const expires = new Date(now.getTime() + defaultLifetimes.targets);
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

/** True where the workspace holds anything else than what is published, even if that cannot be used. */
export function hasDraft(directory: string): boolean {
  const published = publishedTargets(directory);
  return (
    published !== undefined && orUndefined(() => sameFiles(published, workspaceFiles(directory))) !== true
  );
}
