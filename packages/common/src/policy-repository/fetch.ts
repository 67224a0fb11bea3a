import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Fetcher, Updater } from 'tuf-js';
import { DownloadHTTPError, DownloadLengthMismatchError } from 'tuf-js/dist/error.js';
import { artifactBytes } from '../encoding/index.ts';
import type { CscError } from '../errors/index.ts';
import { readBoundedFile } from '../files/index.ts';
import { makeScratch } from '../processes/index.ts';
import { hasBoundedMembers, toTargets } from './metadata.ts';
import { type Files, isOwnersFile } from './owners-files.ts';
import {
  explainRefusal,
  explainSource,
  findOwnFault,
  nothingPublished,
  nowhereToVerify,
  type Remains,
  tooMuch,
  tooSlow,
} from './refusals.ts';
import { type RoleBytes, readMetadata } from './version.ts';

/** Where the published files come from: a gate, a directory. Whoever hands them over is believed nothing. */
export interface RepositorySource {
  /**
   * The bytes of `metadata/NAME` or `targets/NAME`; undefined where there is no such file. May reject with whatever
   * stands in the way.
   */
  fetch(path: string): Promise<Uint8Array | undefined>;
}

/** How long a source may take, in milliseconds. */
export interface SourceDeadlines {
  /** For one file. */
  readonly fileMs: number;
  /** For all that one refresh asks for. */
  readonly refreshMs: number;
}

/** One refresh. */
export interface Refresh {
  /** What it builds on: of whoever has heard nothing yet, the pinned root. */
  readonly known: Pick<RoleBytes, 'root'> & Partial<RoleBytes>;
  readonly source: RepositorySource;
  readonly deadlines: SourceDeadlines;
  /** Where its files lie meanwhile: in the first that takes them. */
  readonly scratchDirectories: readonly string[];
  /** Where nothing comes of it. */
  readonly remains: Remains;
}

/** The newest metadata, verified from what is known on (TUF §5), and the way to what it names. */
export interface News {
  readonly metadata: RoleBytes;
  /** The owners' files, each as it was signed. Throws POLICY_INVALID for more than a host takes. */
  fetchTargets(): Promise<Files>;
}

/**
 * Has tuf-js fetch and verify what is new, and `take` say what comes of it. tuf-js takes no file that it cannot write
 * down: its files lie in a directory of this moment, so that a host whose disk is full hears its owners too. Throws what
 * the source does where that is a CscError, REPOSITORY_UNREACHABLE for all else that keeps a file from coming in time,
 * POLICY_STALE for what has expired, POLICY_UNSIGNED for what does not verify, POLICY_INVALID for more than a host takes,
 * FILE_UNWRITABLE where none of the directories takes the files, and what `take` throws.
 */
export async function fetchNews<T>(refresh: Refresh, take: (news: News) => Promise<T>): Promise<T> {
  const { scratchDirectories, deadlines, remains } = refresh;
  const until = performance.now() + deadlines.refreshMs;
  const faults = new Map<string, string>();
  for (const directory of scratchDirectories) {
    const fetcher = new SourceFetcher(refresh, until);
    try {
      return await inScratch(directory, async (place) => take(await update(place, refresh, fetcher)));
    } catch (error) {
      if (fetcher.failure !== undefined) throw fetcher.failure;
      const why = findOwnFault(error);
      if (why === undefined) throw explainRefusal(error, remains);
      faults.set(directory, why);
    }
  }
  throw nowhereToVerify(faults, remains);
}

async function inScratch<T>(directory: string, use: (place: string) => Promise<T>): Promise<T> {
  const place = makeScratch(directory);
  try {
    return await use(place);
  } finally {
    rmSync(place, { recursive: true, force: true });
  }
}

async function update(place: string, { known }: Refresh, fetcher: SourceFetcher): Promise<News> {
  const [metadataDir, targetDir] = [join(place, 'metadata'), join(place, 'targets')];
  for (const folder of [metadataDir, targetDir]) mkdirSync(folder);
  for (const [role, bytes] of Object.entries(known)) writeFileSync(join(metadataDir, `${role}.json`), bytes);
  fetcher.incoming = join(place, 'incoming');
  const updater = new Updater({
    metadataDir,
    metadataBaseUrl: 'csc://repository/metadata',
    targetDir,
    targetBaseUrl: 'csc://repository/targets',
    fetcher,
  });
  await updater.refresh();
  const metadata = readMetadata(place);
  return { metadata, fetchTargets: () => fetchTargets(metadata, updater) };
}

const maxAllTargetBytes = 64 * 1_048_576;

async function fetchTargets({ targets }: RoleBytes, updater: Updater): Promise<Files> {
  const files = Object.values(toTargets(targets).signed.targets);
  const sizes = files.map(({ length }) => length);
  if (sizes.some((size) => size > artifactBytes.ownersFile) || sum(sizes) > maxAllTargetBytes)
    throw tooMuch();
  const taken = new Map<string, Uint8Array>();
  for (const { path } of files) {
    const info = isOwnersFile(path) ? await updater.getTargetInfo(path) : undefined;
    if (info === undefined) continue;
    const file = await updater.downloadTarget(info);
    taken.set(path, readBoundedFile(file, { maxBytes: artifactBytes.ownersFile }).bytes);
    // One at a time is all the room that they take.
    rmSync(file);
  }
  return taken;
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, one) => total + one, 0);
}

/** tuf-js's way to a source. Nothing else is waited for in it, so that its deadlines bound the whole. */
class SourceFetcher implements Fetcher {
  /** Why a file could not be had, or was not even read, where that is what went wrong: tuf-js keeps only texts of it. */
  failure: CscError | undefined;
  /** Where a target lies until it is verified. */
  incoming = '';
  readonly #refresh: Refresh;
  readonly #until: number;

  /** @param until by `performance.now()` */
  constructor(refresh: Refresh, until: number) {
    this.#refresh = refresh;
    this.#until = until;
  }

  // The library's own go by way of the system's temporary folder, where a full disk ends the process.
  async downloadBytes(url: string, maxLength: number): Promise<Buffer> {
    const bytes = await this.#get(url);
    if (bytes.length > maxLength) throw new DownloadLengthMismatchError(`${url} is too long`);
    return Buffer.from(bytes);
  }

  async downloadFile<T>(url: string, maxLength: number, handler: (file: string) => Promise<T>): Promise<T> {
    writeFileSync(this.incoming, await this.downloadBytes(url, maxLength));
    try {
      return await handler(this.incoming);
    } finally {
      rmSync(this.incoming);
    }
  }

  async #get(url: string): Promise<Uint8Array> {
    const { remains } = this.#refresh;
    const path = decodeURIComponent(new URL(url).pathname.slice(1));
    const bytes = await this.#inTime(path).catch((error: unknown) => {
      throw this.#fail(explainSource(error, remains));
    });
    if (bytes === undefined) {
      // Every repository has one: where it is missing, there is none.
      if (path === 'metadata/timestamp.json') throw this.#fail(nothingPublished(remains));
      throw new DownloadHTTPError(`${path} is not there`, 404);
    }
    if (path.startsWith('metadata/') && !hasBoundedMembers(bytes)) throw this.#fail(tooMuch());
    return bytes;
  }

  #fail(failure: CscError): CscError {
    this.failure = failure;
    return failure;
  }

  async #inTime(path: string): Promise<Uint8Array | undefined> {
    const { source, deadlines } = this.#refresh;
    const ms = Math.max(0, Math.min(deadlines.fileMs, this.#until - performance.now()));
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(tooSlow(path)), ms);
    });
    try {
      return await Promise.race([source.fetch(path), late]);
    } finally {
      clearTimeout(timer);
    }
  }
}
