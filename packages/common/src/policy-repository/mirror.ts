import { createHash, randomUUID } from 'node:crypto';
import {
  closeSync,
  cpSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { BaseFetcher, Updater } from 'tuf-js';
import { DownloadHTTPError, ExpiredMetadataError } from 'tuf-js/dist/error.js';
import * as z from 'zod';
import { type Clock, parseTimestamp, toTimestamp } from '../encoding/index.ts';
import { CscError, isCscError } from '../errors/index.ts';
import { makeDirectory, readBoundedFile, replaceFile } from '../files/index.ts';
import { toTargets } from './metadata.ts';
import { isOwnersFile, type OwnersFiles, readOwnersFiles } from './owners-files.ts';

/** Where the published files come from: a gate, a directory. Whoever hands them over is believed nothing. */
export interface RepositorySource {
  /**
   * The bytes of `metadata/NAME` or `targets/NAME`; undefined where there is no such file. May reject with whatever
   * stands in the way.
   */
  fetch(path: string): Promise<Uint8Array | undefined>;
}

/** What the owners said last, as far as this host knows. */
export interface PublishedPolicy extends OwnersFiles {
  /** Of the targets: grows by one with each change that the owners publish. */
  readonly version: number;
  /** When the repository last proved that there was nothing newer. */
  readonly refreshedAt: Date;
}

export interface MirrorOptions {
  /** Holds the last good version; made if need be. */
  readonly directory: string;
  /** The bytes of the root.json that the host's owner has pinned. */
  readonly pinnedRoot: Uint8Array;
  readonly source: RepositorySource;
  readonly clock: Clock;
}

/** Keeps a verified copy of the owners' policy repository on disk. */
export interface PolicyMirror {
  /** The last good version; undefined where there never was one. Throws FILE_UNREADABLE or POLICY_INVALID. */
  load(): PublishedPolicy | undefined;
  /**
   * Fetches what is new, verifies all of it from the pinned root on (TUF §5), and makes it durable before it gives it
   * back; anything wrong, and the last good version stays. Throws POLICY_STALE where the newest metadata has expired,
   * POLICY_UNSIGNED where it does not verify or is older than what was seen before, POLICY_INVALID where what is
   * signed cannot be used, REPOSITORY_UNREACHABLE where a file could not be had.
   */
  refresh(): Promise<PublishedPolicy>;
}

const maxMetadataBytes = 5_000_000;
const maxTargets = 2000;
const maxTargetBytes = 8 * 1_048_576;
const maxAllTargetBytes = 64 * 1_048_576;

/** Which directory counts, and since when nothing newer was known. */
const currentSchema = z.strictObject({
  directory: z.string().regex(/^[0-9a-f-]+$/),
  version: z.int().min(1),
  refreshed_at: z.string(),
  pinned_root_sha256: z.string(),
});
type Current = z.infer<typeof currentSchema>;

/** A mirror in a directory that only its host writes. One process at a time. */
export function createPolicyMirror({ directory, pinnedRoot, source, clock }: MirrorOptions): PolicyMirror {
  const pinned = createHash('sha256').update(pinnedRoot).digest('hex');
  const fetcher = new SourceFetcher(source);

  // Another root is the owner's deliberate act: what was verified by the one before counts for nothing.
  const readCurrent = (): Current | undefined => {
    const path = join(directory, 'current.json');
    if (!existsSync(path)) return undefined;
    const { bytes } = readBoundedFile(path, { maxBytes: 4096 });
    const current = currentSchema.parse(JSON.parse(bytes.toString()));
    return current.pinned_root_sha256 === pinned ? current : undefined;
  };

  const read = (current: Current): PublishedPolicy => ({
    ...readOwnersFiles(readTargets(join(directory, current.directory, 'targets'))),
    version: current.version,
    refreshedAt: parseTimestamp(current.refreshed_at) ?? new Date(0),
  });

  const update = async (): Promise<PublishedPolicy> => {
    makeDirectory(directory, { mode: 0o700 });
    const before = readCurrent();
    // A source that answers slowly must not make what it says any younger.
    const refreshedAt = clock.now();
    const name = randomUUID();
    const incoming = join(directory, name);
    mkdirSync(join(incoming, 'targets'), { recursive: true, mode: 0o700 });
    try {
      if (before === undefined) {
        mkdirSync(join(incoming, 'metadata'), { mode: 0o700 });
        writeFileSync(join(incoming, 'metadata', 'root.json'), pinnedRoot);
      } else
        cpSync(join(directory, before.directory, 'metadata'), join(incoming, 'metadata'), {
          recursive: true,
        });
      const version = await fetchAll(incoming, fetcher);
      const owners = readOwnersFiles(readTargets(join(incoming, 'targets')));
      syncTree(incoming);
      writeCurrent(directory, {
        directory: name,
        version,
        refreshed_at: toTimestamp(refreshedAt),
        pinned_root_sha256: pinned,
      });
      removeOthers(directory, name);
      return { ...owners, version, refreshedAt };
    } catch (error) {
      rmSync(incoming, { recursive: true, force: true });
      throw explain(error, fetcher);
    }
  };

  return {
    load: () => {
      const current = readCurrent();
      return current === undefined ? undefined : read(current);
    },
    refresh: update,
  };
}

// tuf-js verifies and writes; it does not sync, so that nothing counts before syncTree has.
async function fetchAll(incoming: string, fetcher: SourceFetcher): Promise<number> {
  fetcher.problem = undefined;
  const metadataDir = join(incoming, 'metadata');
  const updater = new Updater({
    metadataDir,
    metadataBaseUrl: 'csc://repository/metadata',
    targetDir: join(incoming, 'targets'),
    targetBaseUrl: 'csc://repository/targets',
    fetcher,
  });
  await updater.refresh();
  const { bytes } = readBoundedFile(join(metadataDir, 'targets.json'), { maxBytes: maxMetadataBytes });
  const { signed } = toTargets(bytes);
  const targets = Object.values(signed.targets);
  const sizes = targets.map(({ length }) => length);
  if (
    targets.length > maxTargets ||
    sizes.some((size) => size > maxTargetBytes) ||
    sum(sizes) > maxAllTargetBytes
  )
    throw new CscError(
      'POLICY_INVALID',
      'the policy repository holds more or larger files than a host takes',
    );
  for (const { path } of targets) {
    if (!isOwnersFile(path)) continue;
    const info = await updater.getTargetInfo(path);
    if (info !== undefined) await updater.downloadTarget(info);
  }
  return signed.version;
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, one) => total + one, 0);
}

function readTargets(directory: string): Map<string, Uint8Array> {
  const names = readdirSync(directory).sort();
  return new Map(
    names.map((name) => [
      decodeURIComponent(name),
      readBoundedFile(join(directory, name), { maxBytes: maxTargetBytes }).bytes,
    ]),
  );
}

class SourceFetcher extends BaseFetcher {
  /** Why the last file could not be had, where that is what went wrong: tuf-js keeps only texts of it. */
  problem: unknown;
  readonly #source: RepositorySource;

  constructor(source: RepositorySource) {
    super();
    this.#source = source;
  }

  async fetch(url: string): Promise<ReadableStream<Uint8Array<ArrayBuffer>>> {
    const path = decodeURIComponent(new URL(url).pathname.slice(1));
    const bytes = await this.#source.fetch(path).catch((error: unknown) => {
      this.problem = error;
      throw error;
    });
    // Every repository has one: where it is missing, there is none.
    if (bytes === undefined && path === 'metadata/timestamp.json') this.problem = nothingPublished();
    if (bytes === undefined) throw new DownloadHTTPError(`${url} is not there`, 404);
    return new ReadableStream({
      start: (controller) => {
        controller.enqueue(Uint8Array.from(bytes));
        controller.close();
      },
    });
  }
}

function nothingPublished(): CscError {
  const message =
    'no policy repository is published there: name the folder that csc policy publish has written (DIR/published), or have the gate serve it (policy_repository in its config)';
  return new CscError('REPOSITORY_UNREACHABLE', message);
}

function explain(error: unknown, { problem }: SourceFetcher): unknown {
  if (isCscError(error)) return error;
  const why = error instanceof Error ? error.message : String(error);
  if (problem !== undefined) {
    const what = isCscError(problem) ? `: ${problem.message}` : '';
    const message = `the policy repository could not be read, and the last good version stays until it is too old${what}`;
    return new CscError('REPOSITORY_UNREACHABLE', message, { cause: problem });
  }
  if (error instanceof ExpiredMetadataError || /is expired/.test(why)) {
    const message = `what the policy repository offers has expired (${why}): publish it again, or see to it that its gate does`;
    return new CscError('POLICY_STALE', message, { cause: error });
  }
  const message = `the policy repository was refused, and the last good version stays: ${why}`;
  return new CscError('POLICY_UNSIGNED', message, { cause: error });
}

function writeCurrent(directory: string, content: Current): void {
  replaceFile(join(directory, 'current.json'), `${JSON.stringify(content)}\n`, 0o600);
  sync(directory);
}

function syncTree(path: string): void {
  for (const entry of readdirSync(path, { withFileTypes: true, recursive: true }))
    sync(join(entry.parentPath, entry.name));
  sync(path);
}

function sync(path: string): void {
  const fd = openSync(path, 'r');
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

function removeOthers(directory: string, keep: string): void {
  for (const entry of readdirSync(directory, { withFileTypes: true }))
    if (entry.isDirectory() && entry.name !== keep)
      rmSync(join(directory, entry.name), { recursive: true, force: true });
}
