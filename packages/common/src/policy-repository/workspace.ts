import { existsSync, readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { Metadata, Root, Targets, Timestamp } from '@tufjs/models';
import { artifactBytes, sha256Hex } from '../encoding/index.ts';
import { CscError } from '../errors/index.ts';
import { makeDirectory, readBoundedFile, replaceFile } from '../files/index.ts';
import {
  type AnyMetadata,
  type RoleName,
  signedAtOf,
  signedBy,
  toHashedName,
  toRoot,
  toTargets,
  toTimestampMetadata,
} from './metadata.ts';
import type { Files } from './owners-files.ts';

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

/** Where a workspace of the owners holds their files as they stand, what waits for signatures, and what hosts fetch. */
export const at = {
  targets: (directory: string) => join(directory, 'targets'),
  staged: (directory: string, role: 'root' | 'targets' | 'stop') => join(directory, 'staged', `${role}.json`),
  metadata: (directory: string, name: string) => join(directory, 'published', 'metadata', name),
  target: (directory: string, name: string) => join(directory, 'published', 'targets', name),
};

/** Of any file of it. */
export const maxBytes = artifactBytes.ownersFile;

/** The owners' files in the workspace, by their names in the repository. */
export function workspaceFiles(directory: string): Files {
  const root = at.targets(directory);
  const names = readdirSync(root, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(root.length + 1))
    .sort();
  return new Map(names.map((name) => [name, readBoundedFile(join(root, name), { maxBytes }).bytes]));
}

/** Whether these are the very files that are signed. */
export function sameFiles({ signed }: Metadata<Targets>, files: Files): boolean {
  const { targets } = signed;
  if (Object.keys(targets).length !== files.size) return false;
  return [...files].every(([name, bytes]) => targets[name]?.hashes['sha256'] === sha256Hex(bytes));
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

/** Throws FILE_UNREADABLE. */
export function readOwnFile(path: string): Uint8Array {
  return readBoundedFile(path, { maxBytes }).bytes;
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

/**
 * When whoever has the online key signed it, in milliseconds; 0 for one from before there was signed_at, which is made
 * anew at once.
 */
export function vouchedAt(timestamp: Metadata<Timestamp>): number {
  return signedAtOf(timestamp)?.getTime() ?? 0;
}

/** Publishes these, by their hashes; what is there already is left alone. */
export function writeTargets(directory: string, files: Files): void {
  for (const [name, bytes] of files) {
    const path = at.target(directory, toPublishedName(name, bytes));
    if (!holds(path, sha256Hex(bytes))) write(path, bytes);
  }
}

/** Whether a file is there, and is what has this hash (lower-case hex). */
export function holds(path: string, sha256: string | undefined): boolean {
  try {
    return sha256Hex(readBoundedFile(path, { maxBytes }).bytes) === sha256;
  } catch {
    return false;
  }
}

/** What cannot be read at all is as good as not there: damaged, or yet to be made. */
export function orUndefined<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch {
    return undefined;
  }
}

function toPublishedName(name: string, bytes: Uint8Array): string {
  return toHashedName(name, sha256Hex(bytes));
}

/** Throws POLICY_UNSIGNED where too few of the keys that `judge` names have signed it. */
export function checkSigned(judge: Metadata<Root>, role: 'root' | 'targets', metadata: AnyMetadata): void {
  if (isSigned(judge, role, metadata)) return;
  const { threshold = 1, keyIDs = [] } = judge.signed.roles[role] ?? {};
  const count = signedBy(judge.signed, role, metadata).length;
  throw unsigned(
    `${role} version ${metadata.signed.version} has ${count} of the ${threshold} signatures that it needs, of ${keyIDs.length} keys`,
  );
}

/** Whether enough of them have. */
export function isSigned(judge: Metadata<Root>, role: 'root' | 'targets', metadata: AnyMetadata): boolean {
  return signedBy(judge.signed, role, metadata).length >= (judge.signed.roles[role]?.threshold ?? 1);
}

export function publishedTimestamp(directory: string): Metadata<Timestamp> | undefined {
  return readMetadata(at.metadata(directory, 'timestamp.json'), toTimestampMetadata);
}

/** The newest root that is published, or, before that, the one that is staged: what hosts pin. */
export function currentRoot(directory: string): Metadata<Root> {
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

export function stagedRoot(directory: string): Metadata<Root> | undefined {
  return readMetadata(at.staged(directory, 'root'), toRoot);
}

export function stagedStop(directory: string): Metadata<Targets> | undefined {
  return readMetadata(at.staged(directory, 'stop'), toTargets);
}

export function publishedRoot(directory: string): Metadata<Root> | undefined {
  return readMetadata(at.metadata(directory, `${newest(directory, 'root')}.root.json`), toRoot);
}

export function publishedTargets(directory: string): Metadata<Targets> | undefined {
  return readMetadata(at.metadata(directory, `${newest(directory, 'targets')}.targets.json`), toTargets);
}

/** The newest version of it that is published; 0: there is none. */
export function newest(directory: string, role: RoleName): number {
  const metadata = dirname(at.metadata(directory, 'timestamp.json'));
  if (!existsSync(metadata)) return 0;
  const versions = readdirSync(metadata).flatMap((name) => {
    const [, version] = new RegExp(`^(\\d+)\\.${role}\\.json$`).exec(name) ?? [];
    return version === undefined ? [] : [Number(version)];
  });
  return Math.max(0, ...versions);
}

/** Undefined where there is no such file. Throws FILE_UNREADABLE, and POLICY_INVALID where it holds no such metadata. */
export function readMetadata<T>(path: string, parse: (bytes: Uint8Array) => T): T | undefined {
  if (!existsSync(path)) return undefined;
  const { bytes } = readBoundedFile(path, { maxBytes });
  try {
    return parse(bytes);
  } catch (cause) {
    if (cause instanceof CscError) throw cause;
    const why = cause instanceof Error ? cause.message : String(cause);
    const message = `${path} is damaged (${why}): put it back as csc policy publish had written it, from a copy such as a gate's or a backup`;
    throw new CscError('POLICY_INVALID', message, { cause });
  }
}

/** For everybody to read, whole or not at all. */
export function write(path: string, bytes: Uint8Array): void {
  makeDirectory(dirname(path));
  replaceFile(path, bytes, 0o644);
}

/** What has to be signed first, or by more. */
export function unsigned(message: string): CscError {
  return new CscError('POLICY_UNSIGNED', message);
}
