import { randomUUID } from 'node:crypto';
import { existsSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import * as z from 'zod';
import { type Clock, parseTimestamp, sha256Hex, toTimestamp } from '../encoding/index.ts';
import type { CscError } from '../errors/index.ts';
import { makeDirectory, readBoundedFile, replaceFile, syncPath } from '../files/index.ts';
import { scratchDirectories } from '../processes/index.ts';
import { fetchNews, type News, type RepositorySource, type SourceDeadlines } from './fetch.ts';
import type { Files } from './owners-files.ts';
import { explainUnkept } from './refusals.ts';
import {
  isUnchanged,
  type RoleBytes,
  readMetadata,
  readTargets,
  toVersion,
  type Version,
  type VersionFiles,
  writeVersion,
} from './version.ts';

/** What the owners said last, as far as this host knows. */
export interface PublishedPolicy extends Version {
  /** When this host last took it, from whomever. */
  readonly refreshedAt: Date;
  /** Why it is not on this host's disk (FILE_UNWRITABLE): a restart knows only what was kept before. Absent: it is. */
  readonly unkept?: CscError;
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
  /**
   * Where files lie while they are verified, each tried where those before it take none. Default: in memory where the
   * system has such a place, then in `directory`.
   */
  readonly scratchDirectories?: readonly string[];
}

/** Keeps a verified copy of the owners' policy repository on disk. */
export interface PolicyMirror {
  /** The last good version on disk; undefined where there never was one, or where it cannot be used any more (`onDamage`). */
  load(): PublishedPolicy | undefined;
  /**
   * Fetches what is new, verifies all of it from the pinned root on (TUF §5), and makes it durable before it gives it
   * back, or says why it could not (`unkept`): what ends a run must not wait for room on a disk, and the next refresh builds on
   * it either way, and keeps it if it can. Anything else that is wrong, and the last good version stays. Throws POLICY_STALE
   * where the newest metadata has expired, POLICY_UNSIGNED where it does not verify or is older than what was seen before,
   * POLICY_INVALID where what is signed cannot be used, REPOSITORY_UNREACHABLE where a file could not be had in time,
   * FILE_UNWRITABLE where none of `scratchDirectories` takes what is to be verified.
   */
  refresh(): Promise<PublishedPolicy>;
}

/** Which directory counts, and since when nothing newer was known. */
const currentSchema = z.strictObject({
  directory: z.string().regex(/^[0-9a-f-]+$/),
  version: z.int().min(1),
  refreshed_at: z.string(),
  pinned_root_sha256: z.string(),
});
type Current = z.infer<typeof currentSchema>;

/** What a refresh builds on. */
interface Before {
  readonly metadata: RoleBytes;
  /** Throws where they cannot be read. */
  readonly targets: () => Files;
}

/** A mirror in a directory that only its host writes. One process at a time. */
export function createPolicyMirror(options: MirrorOptions): PolicyMirror {
  const { directory, pinnedRoot, source, clock, onDamage = () => undefined } = options;
  const pinned = sha256Hex(pinnedRoot);
  const deadlines = options.deadlines ?? { fileMs: 20_000, refreshMs: 120_000 };
  /** The last good version, where the disk has not got it. */
  let unkept: VersionFiles | undefined;

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

  const readBefore = (kept: Current | undefined): Before | undefined => {
    const before = ofThisRoot(kept);
    if (before === undefined) return undefined;
    const place = join(directory, before.directory);
    return { metadata: readMetadata(place), targets: () => readTargets(place) };
  };

  const knownBefore = (kept: Current | undefined): Before | undefined => {
    if (unkept === undefined) return readBefore(kept);
    const { metadata, targets } = unkept;
    return { metadata, targets: () => targets };
  };

  // What it has not got on disk yet stays what is to be kept.
  const take = async (
    before: Before | undefined,
    { metadata, fetchTargets }: News,
  ): Promise<{ readonly version: Version; readonly files: VersionFiles | undefined }> => {
    const known = before && orNothing(() => toKnown(before));
    // Nothing is written again that is there: only that it was asked for.
    if (known !== undefined && isUnchanged(known.files.metadata, metadata))
      return { version: known.version, files: unkept };
    // Where the owners have signed nothing new, their files are asked of nobody.
    const isSameContent = known?.version.contentSha256 === sha256Hex(metadata.targets);
    const targets = known && isSameContent ? known.files.targets : await fetchTargets();
    const files = { metadata, targets };
    return { version: toVersion(files), files };
  };

  const keep = async (
    kept: Current | undefined,
    files: VersionFiles | undefined,
    current: Omit<Current, 'directory'>,
  ): Promise<void> => {
    makeDirectory(directory, { mode: 0o700 });
    // What a process that was killed has left behind takes the room that is needed now.
    removeOthers(directory, kept?.directory);
    const counting = files === undefined && kept !== undefined ? kept.directory : randomUUID();
    if (files !== undefined)
      await writeVersion(join(directory, counting), files).catch((error: unknown) => {
        rmSync(join(directory, counting), { recursive: true, force: true });
        throw error;
      });
    writeCurrent(directory, { ...current, directory: counting });
    removeOthers(directory, counting);
  };

  return {
    load: () =>
      orNothing(() => {
        const current = ofThisRoot(readCurrent(directory));
        if (current === undefined) return undefined;
        const refreshedAt = parseTimestamp(current.refreshed_at) ?? new Date(0);
        const place = join(directory, current.directory);
        const version = toVersion({ metadata: readMetadata(place), targets: readTargets(place) });
        return { ...version, refreshedAt };
      }),
    refresh: async () => {
      // A source that answers slowly must not make what it says any younger.
      const refreshedAt = clock.now();
      const kept = orNothing(() => readCurrent(directory));
      const before = orNothing(() => knownBefore(kept));
      makeIfPossible(directory);
      const { version, files } = await fetchNews(
        {
          known: before?.metadata ?? { root: Buffer.from(pinnedRoot) },
          source,
          deadlines,
          scratchDirectories: options.scratchDirectories ?? scratchDirectories(directory),
          remains: before === undefined ? 'nothing' : 'version',
        },
        (news) => take(before, news),
      );
      const current = {
        version: version.version,
        refreshed_at: toTimestamp(refreshedAt),
        pinned_root_sha256: pinned,
      };
      try {
        await keep(kept, files, current);
        unkept = undefined;
        return { ...version, refreshedAt };
      } catch (error) {
        unkept = files;
        return { ...version, refreshedAt, unkept: explainUnkept(error, directory) };
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

function toKnown({ metadata, targets }: Before): { readonly files: VersionFiles; readonly version: Version } {
  const files = { metadata, targets: targets() };
  return { files, version: toVersion(files) };
}

function writeCurrent(directory: string, content: Current): void {
  replaceFile(join(directory, 'current.json'), `${JSON.stringify(content)}\n`, 0o600);
  syncPath(directory);
}

// What is verified may have to lie in it. Where it cannot be made, `keep` says so.
function makeIfPossible(directory: string): void {
  try {
    makeDirectory(directory, { mode: 0o700 });
  } catch {}
}

function removeOthers(directory: string, keep: string | undefined): void {
  for (const entry of readdirSync(directory, { withFileTypes: true }))
    if (entry.isDirectory() && entry.name !== keep)
      rmSync(join(directory, entry.name), { recursive: true, force: true });
}
