import { CscError, isCscError, orThrow } from '../errors/index.ts';
import type { ChainEntry } from '../evidence/index.ts';
import {
  ageUnlogged,
  CoveredTimes,
  cosignedAt,
  cosignedSince,
  isSame,
  type LogEntry,
  type LogTrust,
  leafHash,
  loggedWithinMs,
  openCheckpoint,
  parseBundle,
  parseCheckpoint,
  parseEntry,
  TreeEdge,
  tilePath,
  tileWidth,
  widthIn,
} from '../tlog/index.ts';
import type { BundleFault } from './fault.ts';
import { places } from './manifest.ts';

/** What the log in a bundle says of the receipts in it. */
export interface BundleLog {
  readonly origin: string;
  /** Entries of the whole log. */
  readonly size: number;
  /** By how many of the witnesses that were given. */
  readonly cosigners: number;
  /** When as many of them as are due had, ISO 8601. Undefined: none is due. */
  readonly cosignedAt: string | undefined;
  /** Whether a key was given that has signed the checkpoint: otherwise the log is whoever's made the bundle. */
  readonly isSigned: boolean;
  /** Receipts here that are in it. */
  readonly included: number;
  /** Receipts here of the last minutes, or of before the part of the log that is here. */
  readonly outside: number;
  /** Entries of executors whose receipt is not here, as it is of before or after what the bundle is of. */
  readonly beyond: number;
}

/** What the receipts and the log of a bundle are held against. */
export interface BundleSpan {
  /** The numbers of the first and the last record of the audit. Absent: it has none. */
  readonly first?: number | undefined;
  readonly last?: number | undefined;
  /** When the first of them was, by the gate's clock, milliseconds since the epoch. Infinity: none says. */
  readonly firstAt: number;
  /** What the bundle was asked for, by its manifest. */
  readonly asked: Readonly<Record<string, string>>;
  /** When it was made, milliseconds since the epoch. */
  readonly madeAt: number;
  readonly now: Date;
}

type Faults = BundleFault[];

/** Where a file of the log lies in a bundle. @param path as in a log (C2SP tlog-tiles) */
export const logPath = (path: string): string => `${places.log}${path}`;

const mostFaults = 1000;

/**
 * Holds receipts against the part of a log that is in the bundle: its entries from some multiple of 256 on, and the
 * tiles of those before. The checkpoint's root proves that they are of that log. Undefined where there is no log.
 * Whatever does not hold is a fault, and so is an entry whose receipt is not here: it was taken out, be it at the end
 * of a chain.
 * @param trust whose log it must be. Absent: nobody's signature is asked for
 */
export async function checkLog(
  files: ReadonlyMap<string, Uint8Array>,
  receipts: readonly ChainEntry[],
  span: BundleSpan,
  trust: LogTrust | undefined,
  faults: Faults,
  pause: (done: number, of: number) => Promise<void> | undefined,
): Promise<BundleLog | undefined> {
  const note = files.get(logPath('checkpoint'));
  try {
    if (note === undefined) {
      if (trust === undefined) return undefined;
      throw new CscError('LOG_MISSING', `no log is in it, and that of ${trust.log.name} is demanded`);
    }
    const whole = trust === undefined ? undefined : openCheckpoint(note, { ...trust, quorum: 0 });
    const { checkpoint } = whole ?? orThrow(parseCheckpoint(note), 'LOG_INVALID', 'the checkpoint');
    const { size, origin } = checkpoint;
    const begin = firstBundle(files, size);
    const edge = await TreeEdge.restore(begin * tileWidth, (tile) =>
      Promise.resolve(fileOf(files, tilePath(tile))),
    );
    const tally = new Tally(receipts, span, begin === 0, faults);
    for (let index = begin; index * tileWidth < size; index += 1) {
      const width = widthIn(size, 'entries', index);
      const bytes = fileOf(files, tilePath({ level: 'entries', index, width }));
      for (const entry of orThrow(parseBundle(bytes, width), 'LOG_INVALID', `its bundle ${index}`)) {
        edge.add(leafHash(entry));
        tally.add(orThrow(parseEntry(entry), 'LOG_INVALID', `its entry ${edge.size - 1}`), edge.size - 1);
      }
      await pause(edge.size, size);
    }
    if (!isSame(edge.head().root, checkpoint.root))
      throw new CscError(
        'LOG_INVALID',
        `the entries that are here are not those of its checkpoint of ${size}`,
      );
    // A bundle is of its time: who has cosigned its log is judged by what that vouches for, and not by how old it is now.
    const when = cosignedSince(tally.covered.newest, span.now);
    const opened = trust === undefined ? undefined : openCheckpoint(note, trust, when);
    const counts = tally.end();
    return {
      origin,
      size,
      cosigners: opened?.cosigned.length ?? 0,
      cosignedAt: opened === undefined ? undefined : cosignedAt(opened.cosigned, trust?.quorum),
      isSigned: opened !== undefined,
      ...counts,
    };
  } catch (error) {
    if (!isCscError(error)) throw error;
    faults.push({ kind: 'log', message: `the log of receipts does not hold: ${error.message}` });
    return undefined;
  }
}

function fileOf(files: ReadonlyMap<string, Uint8Array>, path: string): Uint8Array {
  const bytes = files.get(logPath(path));
  if (bytes === undefined) throw new CscError('LOG_INVALID', `${logPath(path)} is not here`);
  return bytes;
}

// All from one on are here: the first whose follower is missing would be asked for in vain.
function firstBundle(files: ReadonlyMap<string, Uint8Array>, size: number): number {
  let begin = Math.ceil(size / tileWidth);
  for (; begin > 0; begin -= 1) {
    const index = begin - 1;
    const width = widthIn(size, 'entries', index);
    if (!files.has(logPath(tilePath({ level: 'entries', index, width })))) break;
  }
  return begin;
}

/** The receipts of a bundle, ticked off as the log names them. */
class Tally {
  readonly #bySha256: Map<string, { readonly entry: ChainEntry; isLogged: boolean }>;
  readonly #span: BundleSpan;
  readonly #faults: Faults;
  readonly #isWhole: boolean;
  readonly #isFiltered: boolean;
  #number = 0;
  #included = 0;
  #beyond = 0;
  /** Of the receipts that it has. */
  readonly covered: CoveredTimes;

  constructor(receipts: readonly ChainEntry[], span: BundleSpan, isWhole: boolean, faults: Faults) {
    this.#bySha256 = new Map(receipts.map((entry) => [entry.sha256, { entry, isLogged: false }]));
    this.#span = span;
    this.covered = new CoveredTimes(span.now);
    this.#isWhole = isWhole;
    this.#faults = faults;
    this.#isFiltered = Object.keys(span.asked).some((it) => it !== 'since' && it !== 'until');
  }

  add(entry: LogEntry, index: number): void {
    const { audit_sequence: number, receipt_sha256: sha256, executor, sequence, execution_id: id } = entry;
    if (number <= this.#number)
      this.#fault('log', `the entry ${index} of the log is not in the order of the audit`);
    this.#number = number;
    const own = this.#bySha256.get(sha256);
    if (own !== undefined) {
      if (own.isLogged)
        this.#fault('log', `the entry ${index} of the log is the receipt ${own.entry.name} once more`);
      else {
        this.#included += 1;
        const { owner, receipt } = own.entry;
        this.covered.add(owner ?? receipt.executor_id ?? '', receipt.ended_at);
      }
      own.isLogged = true;
      return;
    }
    if (executor === undefined) return;
    if (this.#isBeyond(number)) this.#beyond += 1;
    else
      this.#fault(
        'missing',
        `the log has the receipt ${sequence ?? '?'} of ${executor} (execution ${id}, sha256 ${sha256}), and it is not here`,
      );
  }

  // What was asked for begins with the first record of the audit; where no end was asked for, it goes on to the end of the log.
  #isBeyond(number: number): boolean {
    const { first, last, asked } = this.#span;
    if (this.#isFiltered || first === undefined || number < first) return true;
    return asked['until'] !== undefined && number > (last ?? 0);
  }

  end(): Pick<BundleLog, 'included' | 'outside' | 'beyond'> {
    const { asked, madeAt, firstAt } = this.#span;
    const { since: said } = asked;
    // What ends after the first record was is logged after it, and the log is here from there on, whatever was asked for.
    const from = said === undefined ? firstAt : Date.parse(said);
    const since = this.#isWhole ? Number.NEGATIVE_INFINITY : from + loggedWithinMs;
    let outside = 0;
    for (const { entry, isLogged } of this.#bySha256.values()) {
      if (isLogged) continue;
      const { ended_at: endedAt } = entry.receipt;
      const age = ageUnlogged(endedAt, madeAt);
      if (age === 'ahead')
        this.#fault(
          'ahead',
          `${entry.name} is not in the log, and is dated ahead of when the bundle was made: by that nobody can tell whether it was still to come`,
          entry.name,
        );
      else if (age === 'due' && Date.parse(endedAt) >= since)
        this.#fault(
          'log',
          `${entry.name} is not in the log: its gate has dropped it, or never had it`,
          entry.name,
        );
      else outside += 1;
    }
    return { included: this.#included, outside, beyond: this.#beyond };
  }

  #fault(kind: 'log' | 'missing' | 'ahead', message: string, file?: string): void {
    if (this.#faults.length < mostFaults)
      this.#faults.push({ kind, message, ...(file === undefined ? {} : { file }) });
  }
}
