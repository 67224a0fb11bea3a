import { randomUUID } from 'node:crypto';
import { cpSync, existsSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { BaseFetcher, Updater } from 'tuf-js';
import { DownloadHTTPError, DownloadLengthMismatchError, ExpiredMetadataError } from 'tuf-js/dist/error.js';
import * as z from 'zod';
import { artifactBytes, type Clock, parseTimestamp, sha256Hex, toTimestamp } from '../encoding/index.ts';
import { CscError, isCscError } from '../errors/index.ts';
import { explainFileError, makeDirectory, readBoundedFile, replaceFile, syncPath } from '../files/index.ts';
import { hasBoundedMembers, signedAtOf, toRoot, toTargets, toTimestampMetadata } from './metadata.ts';
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
  /** Of the signed targets: what says something else under the same version is something else. */
  readonly contentSha256: string;
  /** The root that all of it was verified by: it says who signs for the owners. */
  readonly rootJson: Uint8Array;
  /** When this host last took it, from whomever. */
  readonly refreshedAt: Date;
  /** When whoever keeps the online key last signed that there was nothing newer. Absent: by an older `csc policy publish`. */
  readonly signedAt?: Date;
  /** When the owners signed the files. Absent: by an older `csc policy sign`. */
  readonly ownersSignedAt?: Date;
}

/** How long a source may take, in milliseconds. */
export interface SourceDeadlines {
  /** For one file. */
  readonly fileMs: number;
  /** For all that one refresh asks for. */
  readonly refreshMs: number;
}

export interface MirrorOptions {
  /** Holds the last good version; made if need be. */
  readonly directory: string;
  /** The bytes of the root.json that the host's owner has pinned. */
  readonly pinnedRoot: Uint8Array;
  readonly source: RepositorySource;
  readonly clock: Clock;
  /**
   * Told why what is kept on disk cannot be used: it then counts as nothing, and with it is lost what protects from
   * going back to an older version. Default: nobody is told.
   */
  readonly onDamage?: (error: unknown) => void;
  /** Default: 20 s for a file, 2 minutes for a refresh. */
  readonly deadlines?: SourceDeadlines;
}

/** Keeps a verified copy of the owners' policy repository on disk. */
export interface PolicyMirror {
  /** The last good version; undefined where there never was one, or where it cannot be used any more (`onDamage`). */
  load(): PublishedPolicy | undefined;
  /**
   * Fetches what is new, verifies all of it from the pinned root on (TUF §5), and makes it durable before it gives it
   * back; anything wrong, and the last good version stays. Throws POLICY_STALE where the newest metadata has expired,
   * POLICY_UNSIGNED where it does not verify or is older than what was seen before, POLICY_INVALID where what is
   * signed cannot be used, REPOSITORY_UNREACHABLE where a file could not be had in time, FILE_UNWRITABLE where this
   * host cannot keep it.
   */
  refresh(): Promise<PublishedPolicy>;
}

const maxMetadataBytes = 5_000_000;
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
export function createPolicyMirror(options: MirrorOptions): PolicyMirror {
  const { directory, pinnedRoot, source, clock, onDamage = () => undefined } = options;
  const pinned = sha256Hex(pinnedRoot);
  const deadlines = options.deadlines ?? { fileMs: 20_000, refreshMs: 120_000 };

  // A host must not be out of use for good because a disk lost a page: what cannot be read is fetched anew.
  const orNothing = <T>(read: () => T): T | undefined => {
    try {
      return read();
    } catch (error) {
      onDamage(error);
      return undefined;
    }
  };

  // Another root is the owner's deliberate act: what was verified by the one before counts for nothing.
  const ofThisRoot = (current: Current | undefined): Current | undefined =>
    current?.pinned_root_sha256 === pinned ? current : undefined;

  // What the next refresh builds on.
  const readBefore = (kept: Current | undefined): Current | undefined => {
    const before = ofThisRoot(kept);
    if (before !== undefined) checkMetadata(join(directory, before.directory, 'metadata'));
    return before;
  };

  const fetchNews = async (
    before: Current | undefined,
    name: string,
    fetcher: SourceFetcher,
  ): Promise<PublishedPolicy> => {
    // A source that answers slowly must not make what it says any younger.
    const refreshedAt = clock.now();
    const incoming = join(directory, name);
    makeDirectory(join(incoming, 'targets'), { mode: 0o700 });
    if (before === undefined) {
      makeDirectory(join(incoming, 'metadata'), { mode: 0o700 });
      writeFileSync(join(incoming, 'metadata', 'root.json'), pinnedRoot);
    } else
      cpSync(join(directory, before.directory, 'metadata'), join(incoming, 'metadata'), {
        recursive: true,
      });
    const updater = await fetchMetadata(incoming, fetcher);
    const place = before === undefined ? '' : join(directory, before.directory);
    const kept = before === undefined ? undefined : orNothing(() => readVersion(place));
    const known = kept !== undefined && isUnchanged(place, incoming) ? kept : undefined;
    if (known === undefined) {
      const targets = readMetadata(join(incoming, 'metadata'), 'targets.json');
      // Where the owners have signed nothing new, their files are asked of nobody.
      if (kept?.contentSha256 === sha256Hex(targets))
        cpSync(join(place, 'targets'), join(incoming, 'targets'), { recursive: true });
      else await fetchTargets(incoming, updater);
      await syncTree(incoming);
    }
    const owners = known ?? readVersion(incoming);
    const current = {
      directory: known === undefined ? name : (before?.directory ?? name),
      version: owners.version,
      refreshed_at: toTimestamp(refreshedAt),
      pinned_root_sha256: pinned,
    };
    writeCurrent(directory, current);
    removeOthers(directory, current.directory);
    return { ...owners, refreshedAt };
  };

  return {
    load: () =>
      orNothing(() => {
        const current = ofThisRoot(readCurrent(directory));
        if (current === undefined) return undefined;
        const refreshedAt = parseTimestamp(current.refreshed_at) ?? new Date(0);
        return { ...readVersion(join(directory, current.directory)), refreshedAt };
      }),
    refresh: async () => {
      const name = randomUUID();
      let isKept = false;
      const fetcher = new SourceFetcher(source, deadlines, join(directory, name));
      try {
        makeDirectory(directory, { mode: 0o700 });
        const kept = orNothing(() => readCurrent(directory));
        // What a process that was killed has left behind takes the room that is needed now.
        removeOthers(directory, kept?.directory);
        const before = orNothing(() => readBefore(kept));
        isKept = before !== undefined;
        return await fetchNews(before, name, fetcher);
      } catch (error) {
        rmSync(join(directory, name), { recursive: true, force: true });
        throw explain(error, fetcher, { directory, stays: isKept ? staysNote : noneNote });
      }
    },
  };
}

function readCurrent(directory: string): Current | undefined {
  const path = join(directory, 'current.json');
  if (!existsSync(path)) return undefined;
  const { bytes } = readBoundedFile(path, { maxBytes: 4096 });
  return currentSchema.parse(JSON.parse(bytes.toString()));
}

const roleFiles = ['root.json', 'timestamp.json', 'snapshot.json', 'targets.json'] as const;

function readMetadata(directory: string, name: string): Buffer {
  return readBoundedFile(join(directory, name), { maxBytes: maxMetadataBytes }).bytes;
}

// tuf-js goes over three of these in silence where they cannot be read, and would forget what it had seen.
function checkMetadata(directory: string): void {
  for (const name of roleFiles) JSON.parse(readMetadata(directory, name).toString());
  toRoot(readMetadata(directory, 'root.json'));
}

// Nothing is written again that is there: only that it was asked for.
function isUnchanged(kept: string, incoming: string): boolean {
  return roleFiles.every((name) =>
    readMetadata(join(kept, 'metadata'), name).equals(readMetadata(join(incoming, 'metadata'), name)),
  );
}

type Version = Omit<PublishedPolicy, 'refreshedAt'>;

// What lies on the disk is held against what was signed each time, so that nobody edits it there.
function readVersion(directory: string): Version {
  const bytes = readMetadata(join(directory, 'metadata'), 'targets.json');
  const targets = toTargets(bytes);
  const timestamp = toTimestampMetadata(readMetadata(join(directory, 'metadata'), 'timestamp.json'));
  const rootJson = readMetadata(join(directory, 'metadata'), 'root.json');
  const root = toRoot(rootJson);
  root.verifyDelegate('targets', targets);
  root.verifyDelegate('timestamp', timestamp);
  const files = readTargets(join(directory, 'targets'));
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
    contentSha256: sha256Hex(bytes),
    rootJson,
    ...(signedAt === undefined ? {} : { signedAt }),
    ...(ownersSignedAt === undefined ? {} : { ownersSignedAt }),
  };
}

function changed(path: string): CscError {
  return new CscError('POLICY_UNSIGNED', `what is kept of ${path} is not what the owners have signed`);
}

// tuf-js verifies and writes; it does not sync, so that nothing counts before syncTree has.
async function fetchMetadata(incoming: string, fetcher: SourceFetcher): Promise<Updater> {
  const updater = new Updater({
    metadataDir: join(incoming, 'metadata'),
    metadataBaseUrl: 'csc://repository/metadata',
    targetDir: join(incoming, 'targets'),
    targetBaseUrl: 'csc://repository/targets',
    fetcher,
  });
  await updater.refresh();
  return updater;
}

async function fetchTargets(incoming: string, updater: Updater): Promise<void> {
  const targets = Object.values(
    toTargets(readMetadata(join(incoming, 'metadata'), 'targets.json')).signed.targets,
  );
  const sizes = targets.map(({ length }) => length);
  if (sizes.some((size) => size > artifactBytes.ownersFile) || sum(sizes) > maxAllTargetBytes)
    throw tooMuch();
  for (const { path } of targets) {
    if (!isOwnersFile(path)) continue;
    const info = await updater.getTargetInfo(path);
    if (info !== undefined) await updater.downloadTarget(info);
  }
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, one) => total + one, 0);
}

function readTargets(directory: string): Map<string, Uint8Array> {
  const names = readdirSync(directory).sort();
  return new Map(
    names.map((name) => [
      decodeURIComponent(name),
      readBoundedFile(join(directory, name), { maxBytes: artifactBytes.ownersFile }).bytes,
    ]),
  );
}

// One refresh's. Nothing but the source is waited for in it, so that its deadlines bound the whole.
class SourceFetcher extends BaseFetcher {
  /** Why the last file could not be had, where that is what went wrong: tuf-js keeps only texts of it. */
  problem: unknown;
  /** What was not even read, for the same reason. */
  refusal: CscError | undefined;
  readonly #source: RepositorySource;
  readonly #fileMs: number;
  readonly #until: number;
  readonly #scratch: string;

  constructor(source: RepositorySource, { fileMs, refreshMs }: SourceDeadlines, scratch: string) {
    super();
    this.#source = source;
    this.#fileMs = fileMs;
    this.#until = performance.now() + refreshMs;
    this.#scratch = scratch;
  }

  // The library's own go by way of the system's temporary folder, where a full disk ends the process.
  override async downloadBytes(url: string, maxLength: number): Promise<Buffer> {
    const bytes = await this.#get(url);
    if (bytes.length > maxLength) throw new DownloadLengthMismatchError(`${url} is too long`);
    return Buffer.from(bytes);
  }

  override async downloadFile<T>(
    url: string,
    maxLength: number,
    handler: (file: string) => Promise<T>,
  ): Promise<T> {
    const file = join(this.#scratch, 'incoming');
    writeFileSync(file, await this.downloadBytes(url, maxLength));
    try {
      return await handler(file);
    } finally {
      rmSync(file);
    }
  }

  async fetch(url: string): Promise<ReadableStream<Uint8Array<ArrayBuffer>>> {
    return new Blob([Uint8Array.from(await this.#get(url))]).stream();
  }

  async #get(url: string): Promise<Uint8Array> {
    const path = decodeURIComponent(new URL(url).pathname.slice(1));
    const bytes = await this.#inTime(path).catch((error: unknown) => {
      this.problem = error;
      throw error;
    });
    // Every repository has one: where it is missing, there is none.
    if (bytes === undefined && path === 'metadata/timestamp.json') this.problem = nothingPublished();
    if (bytes === undefined) throw new DownloadHTTPError(`${url} is not there`, 404);
    if (path.startsWith('metadata/') && !hasBoundedMembers(bytes)) {
      this.refusal = tooMuch();
      throw this.refusal;
    }
    return bytes;
  }

  async #inTime(path: string): Promise<Uint8Array | undefined> {
    const ms = Math.max(0, Math.min(this.#fileMs, this.#until - performance.now()));
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(tooSlow(path)), ms);
    });
    try {
      return await Promise.race([this.#source.fetch(path), late]);
    } finally {
      clearTimeout(timer);
    }
  }
}

function tooMuch(): CscError {
  return new CscError('POLICY_INVALID', 'the policy repository holds more or larger files than a host takes');
}

function tooSlow(path: string): CscError {
  return new CscError('REPOSITORY_UNREACHABLE', `${path} did not come in time; it is asked for again`);
}

function nothingPublished(): CscError {
  const message =
    'no policy repository is published there: name the folder that csc policy publish has written (DIR/published), or have the gate serve it (policy_repository in its config)';
  return new CscError('REPOSITORY_UNREACHABLE', message);
}

const staysNote = 'the last good version stays';
const noneNote = 'there is no earlier version here to go on with';

/** Where it was to be kept, and what there is instead of it. */
interface Kept {
  readonly directory: string;
  readonly stays: string;
}

function explain(error: unknown, { problem, refusal }: SourceFetcher, { directory, stays }: Kept): unknown {
  if (isCscError(error)) return error;
  if (refusal !== undefined) return refusal;
  const why = error instanceof Error ? error.message : String(error);
  if (problem !== undefined) {
    const what = isCscError(problem) ? `: ${problem.message}` : '';
    const message = `the policy repository could not be read, and ${stays}${stays === staysNote ? ' until it is too old' : ''}${what}`;
    return new CscError('REPOSITORY_UNREACHABLE', message, { cause: problem });
  }
  if (error instanceof ExpiredMetadataError || /is expired/.test(why)) {
    const message = `what the policy repository offers has expired (${why}): publish it again, or see to it that its gate does`;
    return new CscError('POLICY_STALE', message, { cause: error });
  }
  const own = explainOwnDisk(error);
  if (own !== undefined) {
    const message = `this host could not keep the policy repository in ${directory}, and ${stays}: ${own}; make room there, or see to it that the service's user may write`;
    return new CscError('FILE_UNWRITABLE', message, { cause: error });
  }
  const hint = stays === staysNote ? '' : '; is the root that is pinned here that of this repository?';
  const message = `the policy repository was refused, and ${stays}: ${why}${hint}`;
  return new CscError('POLICY_UNSIGNED', message, { cause: error });
}

// Of the host's own file system: no word of an attack. tuf-js hands on only the text where it could not write.
function explainOwnDisk(error: unknown): string | undefined {
  if (!(error instanceof Error)) return undefined;
  if ('syscall' in error) return explainFileError(error);
  return /Failed to persist metadata .*/s.exec(error.message)?.[0];
}

function writeCurrent(directory: string, content: Current): void {
  replaceFile(join(directory, 'current.json'), `${JSON.stringify(content)}\n`, 0o600);
  syncPath(directory);
}

// All at once, and not on this thread: on a disk that takes seconds for each, one after the other is a minute for which the owners'
// word does not count, and nothing else is done meanwhile.
async function syncTree(path: string): Promise<void> {
  const entries = readdirSync(path, { withFileTypes: true, recursive: true });
  const paths = entries.map((entry) => join(entry.parentPath, entry.name));
  await Promise.all([...paths, path].map(syncAside));
}

async function syncAside(path: string): Promise<void> {
  const file = await open(path, 'r');
  try {
    await file.sync();
  } finally {
    await file.close();
  }
}

function removeOthers(directory: string, keep: string | undefined): void {
  for (const entry of readdirSync(directory, { withFileTypes: true }))
    if (entry.isDirectory() && entry.name !== keep)
      rmSync(join(directory, entry.name), { recursive: true, force: true });
}
