import { createHash } from 'node:crypto';
import fs from 'node:fs';
import { isCoveredBy } from '@csc-fleet/common/paths';
import { type LeftOutReason, leftOutReasons } from '@csc-fleet/common/receipt';
import { decodePath, encodePath } from '@csc-fleet/sandbox/host';
import * as z from 'zod';
import { createArtifactHash, type HashAnswer, type HashRequest } from './artifact-hash.ts';
import { type AskEnd, type Credentials, MeasuringChild } from './measuring-child.ts';
import { type OutputPattern, toOutputPattern } from './output-search.ts';
import { createTreeWalk } from './tree-walk.ts';
import type { FileTime } from './written.ts';
import { nothingWritten, type Written } from './written.ts';

/** What a look at write scopes may take, in milliseconds. */
export interface MeasureRequest {
  readonly roots: readonly string[];
  readonly since: FileTime;
  readonly ms: number;
}

const system = { fs, onLinux: process.platform === 'linux', encodePath, decodePath };
const walk = createTreeWalk({ ...system, mayMove: false });
const hash = createArtifactHash({ ...system, createHash });

// What this process does itself, at once: most runs leave so little that a child would cost more than it saves.
const ownMs = 10;
const ownEntries = 1000;
const ownBytes = 1024 * 1024;
// What the child may be late, beyond the time that it keeps itself: it has to be started first.
const lateMs = 2000;
// What a child is good for, by the clock, unless one request may take longer. Its collector of garbage has threads as well.
const leastChildMs = 120_000;
const busyThreads = 2;

const count = z.int().min(0);
const writtenAnswer = z.strictObject({
  written: z.strictObject({ files: count, inodes: count, bytes: count, complete: z.boolean() }),
});
const hashAnswer = z.union([
  z.strictObject({ index: count, sha256: z.string().regex(/^[0-9a-f]{64}$/) }),
  z.strictObject({ index: count, reason: z.enum(leftOutReasons) }),
]);

const searchAnswer = z.union([
  z.strictObject({ index: count, path: z.string().startsWith('/') }),
  z.strictObject({ index: count, cut: z.enum(['receipt_bytes', 'artifact_sec', 'unreadable']) }),
]);

/** An expected output, and what it stands for. */
export interface FoundOutputs {
  readonly declared: string;
  /** In order; itself alone where it is no pattern, or one that nothing matches. */
  readonly paths: readonly string[];
  /** Why it may stand for more than these. Absent: it does not. */
  readonly cut?: LeftOutReason;
}

// Of all patterns of a contract together: a receipt has room for no more.
const mostFound = 10_000;

/**
 * Looks at what the commands of one execution have left. What is little, at once; what is more, in a child that runs as the
 * user of the jobs and is started when it is needed for the first time.
 */
export class Measurer {
  readonly #credentials: Credentials | undefined;
  readonly #lateMs: number;
  #child: MeasuringChild | undefined;
  #msLeft = 0;
  #isMuch = false;

  /**
   * @param credentials whom jobs run as; absent: as this process
   * @param patienceMs how long after its time a child that does not end by itself is left
   */
  constructor(credentials?: Credentials, patienceMs = lateMs) {
    this.#credentials = credentials;
    this.#lateMs = patienceMs;
  }

  /** What was written. Takes `ms` at most, a moment aside; what there was no time for makes it incomplete. */
  async measure({ roots, since, ms }: MeasureRequest): Promise<Written> {
    const outermost = withoutNested(roots);
    if (!this.#isMuch) {
      const written = walk({ roots: outermost, since, entries: ownEntries, ms: Math.min(ownMs, ms) });
      if (written.complete) return written;
      this.#isMuch = true;
    }
    let seen: Written = { ...nothingWritten, complete: false };
    const request = { roots: outermost, since: String(since), entries: Number.MAX_SAFE_INTEGER, ms };
    await this.#ask({ measure: request }, { ms }, (answer) => {
      seen = writtenAnswer.parse(answer).written;
    });
    return seen;
  }

  // Root can read what the job may not: a hash of it would tell what is in it, and pass it off as the job's.
  #mayReadMore(): boolean {
    return this.#credentials !== undefined && this.#credentials.uid !== process.getuid?.();
  }

  /**
   * What expected outputs stand for by now: a pattern, or a directory that is written with a slash at its end, for the
   * files that are there. Takes `ms` at most, a moment aside.
   */
  async find(
    declared: readonly string[],
    { roots, ms }: Pick<HashRequest, 'roots' | 'ms'>,
    signal: AbortSignal,
  ): Promise<FoundOutputs[]> {
    const patterns = declared.map(toOutputPattern).filter((it): it is OutputPattern => it !== undefined);
    const found = new Map(
      patterns.map((it) => [it.declared, { paths: [] as string[], cut: [] as LeftOutReason[] }]),
    );
    if (patterns.length > 0 && ms > 0) {
      const search = { patterns, roots: withoutNested(roots), most: mostFound, ms };
      const end = await this.#ask({ search }, { ms, signal }, (answer) => {
        const { index, ...result } = searchAnswer.parse(answer);
        const entry = found.get(patterns[index]?.declared ?? '');
        if (entry === undefined) throw new RangeError('the child has answered what was not asked');
        if ('path' in result) entry.paths.push(result.path);
        else entry.cut.push(result.cut);
      });
      const reason = signal.aborted ? 'cancelled' : 'artifact_sec';
      if (end === 'cut') for (const entry of found.values()) entry.cut.push(reason);
    }
    return declared.map((path): FoundOutputs => {
      const { paths = [], cut: [cut] = [] } = found.get(path) ?? {};
      const some = paths.length > 0 || cut !== undefined ? paths.sort() : [path];
      return { declared: path, paths: some, ...(cut === undefined ? {} : { cut }) };
    });
  }

  /** The hashes of artifacts, or why there is none, in the order of the paths. Takes `ms` at most, a moment aside. */
  async hash(request: HashRequest, signal: AbortSignal): Promise<HashAnswer[]> {
    const { paths } = request;
    const { answers, bytesLeft } = this.#mayReadMore() ? nothingYet(request) : hashAtOnce(request);
    const open = answers.flatMap((answer, index) => (answer === undefined ? [index] : []));
    if (open.length > 0 && request.ms > 0) {
      const rest = { ...request, paths: open.map((index) => paths[index] ?? ''), maxBytes: bytesLeft };
      await this.#ask({ hash: rest }, { ms: request.ms, signal }, (answer) => {
        const { index, ...result } = hashAnswer.parse(answer);
        const at = open[index];
        if (at === undefined) throw new RangeError('the child has answered what was not asked');
        answers[at] = result;
      });
    }
    const reason = signal.aborted ? 'cancelled' : 'artifact_sec';
    return answers.map((answer) => answer ?? { reason });
  }

  /** Ends the child, if there is one. */
  close(): void {
    this.#child?.kill();
  }

  async #ask(
    request: Parameters<MeasuringChild['ask']>[0],
    { ms, signal }: { readonly ms: number; readonly signal?: AbortSignal },
    onAnswer: (answer: unknown) => void,
  ): Promise<AskEnd> {
    const most = ms + this.#lateMs;
    const since = performance.now();
    try {
      const child = this.#childFor(most);
      return await child.ask(request, { ms: most, ...(signal === undefined ? {} : { signal }) }, onAnswer);
    } catch {
      // No descriptors or no processes left: what was not looked at is said to be so.
      return 'cut';
    } finally {
      this.#msLeft -= performance.now() - since;
    }
  }

  // One that could come to its bound of processor time within a request is replaced before it.
  #childFor(ms: number): MeasuringChild {
    if (this.#child?.isAlive === true && this.#msLeft >= ms) return this.#child;
    this.#child?.kill();
    this.#msLeft = Math.max(ms, leastChildMs);
    this.#child = new MeasuringChild(this.#credentials, Math.ceil((busyThreads * this.#msLeft) / 1000));
    return this.#child;
  }
}

interface Begun {
  readonly answers: (HashAnswer | undefined)[];
  readonly bytesLeft: number;
}

function nothingYet({ paths, maxBytes }: HashRequest): Begun {
  return { answers: new Array<undefined>(paths.length).fill(undefined), bytesLeft: maxBytes };
}

function hashAtOnce(request: HashRequest): Begun {
  const { answers } = nothingYet(request);
  const maxBytes = Math.min(ownBytes, request.maxBytes);
  const left = hash({ ...request, maxBytes, ms: Math.min(ownMs, request.ms) }, (index, answer) => {
    // Too much for here, which is not too much.
    if (!('reason' in answer) || !['artifact_bytes', 'artifact_sec'].includes(answer.reason))
      answers[index] = answer;
  });
  return { answers, bytesLeft: request.maxBytes - (maxBytes - left) };
}

function withoutNested(roots: readonly string[]): string[] {
  const sorted = [...new Set(roots)].sort();
  return sorted.filter((root) => !sorted.some((other) => other !== root && isCoveredBy(root, [other])));
}
