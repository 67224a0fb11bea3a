import { readdirSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { artifactBytes, sha256Hex } from '../encoding/index.ts';
import { CscError } from '../errors/index.ts';
import { makeDirectory, readBoundedFile } from '../files/index.ts';
import { signedAtOf, toRoot, toTargets, toTimestampMetadata } from './metadata.ts';
import { type Files, isOwnersFile, type OwnersFiles, readOwnersFiles } from './owners-files.ts';

const roles = ['root', 'timestamp', 'snapshot', 'targets'] as const;

/** The metadata of one version, as it was signed. */
export type RoleBytes = Readonly<Record<(typeof roles)[number], Buffer>>;

/** One version, as it was signed. */
export interface VersionFiles {
  readonly metadata: RoleBytes;
  readonly targets: Files;
}

/** What one version says. */
export interface Version extends OwnersFiles {
  /** Of the targets: grows by one with each change that the owners publish. */
  readonly version: number;
  /** Of the signed targets: what says something else under the same version is something else. */
  readonly contentSha256: string;
  /** The root that all of it was verified by: it says who signs for the owners. */
  readonly rootJson: Uint8Array;
  /** When whoever keeps the online key last signed that there was nothing newer. Absent: by an older `csc policy publish`. */
  readonly signedAt?: Date;
  /** When the owners signed the files. Absent: by an older `csc policy sign`. */
  readonly ownersSignedAt?: Date;
}

const maxMetadataBytes = 5_000_000;

/**
 * What of a version's metadata lies in its directory. Throws FILE_UNREADABLE, SyntaxError, or what the models throw: of
 * a file that cannot be read, what it protects from would be forgotten in silence.
 */
export function readMetadata(place: string): RoleBytes {
  const read = (role: keyof RoleBytes): Buffer => {
    const path = join(place, 'metadata', `${role}.json`);
    const { bytes } = readBoundedFile(path, { maxBytes: maxMetadataBytes });
    JSON.parse(bytes.toString());
    return bytes;
  };
  const metadata = {
    root: read('root'),
    timestamp: read('timestamp'),
    snapshot: read('snapshot'),
    targets: read('targets'),
  };
  toRoot(metadata.root);
  return metadata;
}

/** Whether both are the same, byte by byte. */
export function isUnchanged(kept: RoleBytes, incoming: RoleBytes): boolean {
  return roles.every((role) => kept[role].equals(incoming[role]));
}

/**
 * What the files say, held against what was signed each time, so that nobody edits them on a disk. Throws
 * POLICY_UNSIGNED, POLICY_INVALID where what is signed cannot be used, and what the models throw.
 */
export function toVersion({ metadata, targets: files }: VersionFiles): Version {
  const targets = toTargets(metadata.targets);
  const timestamp = toTimestampMetadata(metadata.timestamp);
  const root = toRoot(metadata.root);
  root.verifyDelegate('targets', targets);
  root.verifyDelegate('timestamp', timestamp);
  for (const { path, hashes } of Object.values(targets.signed.targets)) {
    if (!isOwnersFile(path)) continue;
    const file = files.get(path);
    if (file === undefined || sha256Hex(file) !== hashes['sha256']) throw changed(path);
  }
  for (const path of files.keys()) if (!Object.hasOwn(targets.signed.targets, path)) throw changed(path);
  const [signedAt, ownersSignedAt] = [signedAtOf(timestamp), signedAtOf(targets)];
  return {
    ...readOwnersFiles(files),
    version: targets.signed.version,
    contentSha256: sha256Hex(metadata.targets),
    rootJson: metadata.root,
    ...(signedAt === undefined ? {} : { signedAt }),
    ...(ownersSignedAt === undefined ? {} : { ownersSignedAt }),
  };
}

function changed(path: string): CscError {
  return new CscError('POLICY_UNSIGNED', `what is kept of ${path} is not what the owners have signed`);
}

/** The owners' files in its directory, by their paths in the repository. Throws FILE_UNREADABLE. */
export function readTargets(place: string): Files {
  const directory = join(place, 'targets');
  const names = readdirSync(directory).sort();
  return new Map(
    names.map((name) => [
      decodeURIComponent(name),
      readBoundedFile(join(directory, name), { maxBytes: artifactBytes.ownersFile }).bytes,
    ]),
  );
}

// Of descriptors a service has only so many, which connections need too.
const filesAtOnce = 16;

/**
 * Makes a version durable in a directory that is not there yet. Several files at once, and not on this thread: on a
 * disk that takes seconds for each, one after the other is a minute in which nothing else of this mirror is done.
 * Rejects with what the file system says.
 */
export async function writeVersion(place: string, { metadata, targets }: VersionFiles): Promise<void> {
  const folders = [join(place, 'metadata'), join(place, 'targets')] as const;
  for (const folder of folders) makeDirectory(folder, { mode: 0o700 });
  const files = [
    ...roles.map((role) => [join(folders[0], `${role}.json`), metadata[role]] as const),
    ...[...targets].map(([path, bytes]) => [join(folders[1], encodeURIComponent(path)), bytes] as const),
  ];
  for (let at = 0; at < files.length; at += filesAtOnce) {
    // All are waited for: what goes wrong with one takes the folder away.
    const written = files.slice(at, at + filesAtOnce).map(([path, bytes]) => syncAside(path, bytes));
    for (const result of await Promise.allSettled(written))
      if (result.status === 'rejected') throw result.reason;
  }
  for (const folder of [...folders, place]) await syncAside(folder);
}

async function syncAside(path: string, bytes?: Uint8Array): Promise<void> {
  const file = await open(path, bytes === undefined ? 'r' : 'wx', 0o600);
  try {
    if (bytes !== undefined) await file.writeFile(bytes);
    await file.sync();
  } finally {
    await file.close();
  }
}
