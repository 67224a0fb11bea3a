import type { SeenLog, SeenLogs } from '@csc-fleet/client';
import { CscError, isCscError, orThrow } from '@csc-fleet/common/errors';
import type { ChainEntry } from '@csc-fleet/common/evidence';
import {
  ageUnlogged,
  type Checkpoint,
  CoveredTimes,
  cosignedAt,
  cosignedLately,
  cosignedSince,
  formatVkey,
  isSame,
  type LogEntry,
  type LogTrust,
  leafHash,
  openCheckpoint,
  parseBundle,
  parseEntry,
  TreeEdge,
  tilePath,
  tileWidth,
  widthIn,
} from '@csc-fleet/common/tlog';
import type { EvidenceFault } from './describe-faults.ts';

/** Where a log's files come from: undefined where there is none of that path (C2SP tlog-tiles). */
export type LogFiles = (path: string) => Promise<Uint8Array | undefined>;

/** What is wrong with a log, or between it and the chains of hosts. */
export interface LogFault extends EvidenceFault {
  /**
   * `fork`: it is another log than before, or shorter, or not what its checkpoint says. `missing`: a receipt of a chain
   * is not in it. `ahead`: nor is one that is dated ahead of now, so that its time does not say whether it is to come.
   * `foreign`: it has one that the chain has not. `twice`: a receipt is there twice. `order`: its entries are not in
   * order.
   */
  readonly kind: 'fork' | 'missing' | 'ahead' | 'foreign' | 'twice' | 'order';
}

/** What a walk has found. */
export interface WalkedLog {
  readonly checkpoint: Checkpoint;
  /** As it was read, a signed note. */
  readonly note: string;
  /** By how many of the witnesses that count. */
  readonly cosigners: number;
  /** When as many of them as are due had, ISO 8601. Undefined: none is due. */
  readonly cosignedAt: string | undefined;
  readonly faults: readonly LogFault[];
  /** Of its entries: receipts of the chains; gates' own, as nothing ran; of executors or times that the chains do not have. */
  readonly counts: { readonly inChains: number; readonly ofGates: number; readonly beyond: number };
  /** Receipts of chains that are younger than a log need be. */
  readonly pending: number;
}

/** What a log is held against. */
export interface WalkAgainst {
  readonly trust: LogTrust;
  /** The checkpoint that was verified last, a signed note. Absent: none was. */
  readonly before?: string | undefined;
  /** Genuine receipts, as hosts have kept them. */
  readonly receipts: readonly ChainEntry[];
  readonly now: Date;
  /** Whether it is shown now, and must have been cosigned lately. Absent: a copy of it as it once was. */
  readonly isLive?: boolean;
}

/**
 * Reads all entries of a log, one bundle at a time, and holds them against its signed checkpoint, against the checkpoint that
 * was verified before, and against the receipts that hosts have kept. Throws LOG_INVALID where the checkpoint does not
 * count, and LOG_MISSING where there is no log, or too few witnesses.
 */
export async function walkLog(
  read: LogFiles,
  { trust, before, receipts, now, isLive = false }: WalkAgainst,
): Promise<WalkedLog> {
  const note = await read('checkpoint');
  const seen =
    before === undefined ? undefined : openCheckpoint(Buffer.from(before), { log: trust.log }).checkpoint;
  if (note === undefined || note.length === 0)
    throw seen === undefined
      ? new CscError('LOG_MISSING', 'there is no log of receipts')
      : new CscError('LOG_INVALID', `the log ${seen.origin} had ${seen.size} entries, and is gone`);
  const { checkpoint } = openCheckpoint(note, { ...trust, quorum: 0 });
  const faults: LogFault[] = [];
  if (seen !== undefined && seen.size > checkpoint.size)
    faults.push({ kind: 'fork', message: `it had ${seen.size} entries, and has ${checkpoint.size} now` });
  const tally = new Tally(receipts, faults, now);
  try {
    await addAll(read, checkpoint, seen, tally);
  } catch (error) {
    if (!isCscError(error, 'LOG_INVALID')) throw error;
    faults.push({ kind: 'fork', message: error.message });
  }
  const pending = faults.some(({ kind }) => kind === 'fork') ? 0 : tally.end(now);
  // What is false is worse than what too few have seen.
  const when = isLive ? cosignedLately(now) : cosignedSince(tally.covered.newest, now);
  const quorum = faults.length === 0 ? (trust.quorum ?? 0) : 0;
  const { cosigned } = openCheckpoint(note, { ...trust, quorum }, when);
  const counts = { inChains: tally.inChains, ofGates: tally.ofGates, beyond: tally.beyond };
  return {
    checkpoint,
    note: Buffer.from(note).toString(),
    cosigners: cosigned.length,
    cosignedAt: cosignedAt(cosigned, trust.quorum),
    faults,
    counts,
    pending,
  };
}

async function addAll(
  read: LogFiles,
  checkpoint: Checkpoint,
  seen: Checkpoint | undefined,
  tally: Tally,
): Promise<void> {
  const edge = new TreeEdge();
  for (let index = 0; index * tileWidth < checkpoint.size; index += 1) {
    for (const entry of await readBundle(read, checkpoint.size, index)) {
      edge.add(leafHash(entry));
      tally.add(edge.size - 1, orThrow(parseEntry(entry), 'LOG_INVALID', `its entry ${edge.size - 1}`));
      if (edge.size === seen?.size && !isSame(edge.head().root, seen.root))
        throw new CscError(
          'LOG_INVALID',
          `its first ${seen.size} entries are not those that were verified before: it is another log`,
        );
    }
  }
  if (!isSame(edge.head().root, checkpoint.root))
    throw new CscError('LOG_INVALID', `its ${checkpoint.size} entries are not those of its checkpoint`);
}

async function readBundle(read: LogFiles, size: number, index: number): Promise<readonly Uint8Array[]> {
  const tile = { level: 'entries' as const, index, width: widthIn(size, 'entries', index) };
  // One that was partial may be full by now.
  const bytes = (await read(tilePath(tile))) ?? (await read(tilePath({ ...tile, width: tileWidth })));
  if (bytes === undefined)
    throw new CscError(
      'LOG_INVALID',
      `it has no entries ${index * tileWidth} to ${index * tileWidth + tile.width - 1}`,
    );
  return orThrow(parseBundle(bytes, tile.width), 'LOG_INVALID', `its bundle ${index}`);
}

/** The receipts of hosts, ticked off as the log names them. */
class Tally {
  readonly #faults: LogFault[];
  readonly #bySha256 = new Map<string, { readonly entry: ChainEntry; isLogged: boolean }>();
  /** The first and last number that there is of a chain. */
  readonly #ranges = new Map<string, { first: number; last: number }>();
  #last = 0;
  inChains = 0;
  ofGates = 0;
  beyond = 0;
  /** Of the receipts that the log has. */
  readonly covered: CoveredTimes;

  constructor(receipts: readonly ChainEntry[], faults: LogFault[], now: Date) {
    this.#faults = faults;
    this.covered = new CoveredTimes(now);
    for (const entry of receipts) {
      this.#bySha256.set(entry.sha256, { entry, isLogged: false });
      const { executor_id, executor_epoch, sequence } = entry.receipt;
      if (sequence === undefined) continue;
      const chain = chainName(executor_id, executor_epoch);
      const range = this.#ranges.get(chain) ?? { first: sequence, last: sequence };
      this.#ranges.set(chain, {
        first: Math.min(range.first, sequence),
        last: Math.max(range.last, sequence),
      });
    }
  }

  add(index: number, { audit_sequence, receipt_sha256, executor, executor_epoch, sequence }: LogEntry): void {
    if (audit_sequence <= this.#last)
      this.#fault('order', `its entry ${index} has the number ${audit_sequence} after ${this.#last}`);
    this.#last = audit_sequence;
    const own = this.#bySha256.get(receipt_sha256);
    if (own !== undefined) {
      if (own.isLogged) this.#fault('twice', `its entry ${index} is the receipt ${own.entry.name} once more`);
      own.isLogged = true;
      this.inChains += 1;
      const { owner, receipt } = own.entry;
      this.covered.add(owner ?? receipt.executor_id ?? '', receipt.ended_at);
      return;
    }
    const range = this.#ranges.get(chainName(executor, executor_epoch));
    if (executor === undefined) this.ofGates += 1;
    else if (range === undefined || sequence === undefined || sequence < range.first || sequence > range.last)
      this.beyond += 1;
    else
      this.#fault(
        'foreign',
        `its entry ${index} is a receipt ${sequence} of ${executor} (${receipt_sha256.slice(0, 16)}…) that the host's chain does not have`,
      );
  }

  /** Gives how many receipts may yet come. */
  end(now: Date): number {
    let pending = 0;
    for (const { entry, isLogged } of this.#bySha256.values()) {
      if (isLogged) continue;
      const { name, receipt, sha256 } = entry;
      const age = ageUnlogged(receipt.ended_at, now.getTime());
      if (age === 'young') {
        pending += 1;
        continue;
      }
      const place = `the receipt ${receipt.sequence ?? '?'} of ${receipt.executor_id ?? 'nobody named'}`;
      const which = `${place} (${sha256.slice(0, 16)}…, ${name}, of ${receipt.ended_at})`;
      const [kind, why] = age === 'due' ? (['missing', dropped] as const) : (['ahead', datedAhead] as const);
      this.#fault(kind, `${which} ${why}`, { name: which, why });
    }
    return pending;
  }

  #fault(kind: LogFault['kind'], message: string, receipt?: LogFault['receipt']): void {
    if (this.#faults.length < mostFaults)
      this.#faults.push({ kind, message, ...(receipt === undefined ? {} : { receipt }) });
  }
}

const mostFaults = 1000;
const dropped = 'is not in it: the gate has dropped it, or never had it';
const datedAhead =
  'is not in it, and is dated ahead of now: by that nobody can tell whether it is still to come; see to the clock of its host, and whether its gate has it';

function chainName(executor = '', epoch = ''): string {
  return JSON.stringify([executor, epoch]);
}

/**
 * `walkLog` with what was verified before, which it remembers: the newest checkpoint where all is well, and evidence of a fork
 * otherwise. Gives where that is; empty: there is none.
 */
export async function walkRemembered(
  read: LogFiles,
  seen: SeenLogs,
  against: Omit<WalkAgainst, 'before'>,
): Promise<WalkedLog & { readonly evidence: string }> {
  const { log } = against.trust;
  const vkey = formatVkey(log);
  const { checkpoint: before, owed } = await seen.seenOf(vkey);
  const walked = await walkLog(read, { ...against, before });
  const fork = walked.faults.find(({ kind }) => kind === 'fork');
  if (fork === undefined) {
    await keepUnlessMet(seen, vkey, before, { checkpoint: walked.note, owed });
    return { ...walked, evidence: '' };
  }
  const message = fork.message;
  const evidence = { message, seenCheckpoint: before ?? '', shownCheckpoint: walked.note, receipts: [] };
  return { ...walked, evidence: await seen.accuse(log.name, evidence) };
}

// Two that walk at once could be shown two logs, each of which adds to what was verified before both.
async function keepUnlessMet(
  seen: SeenLogs,
  vkey: string,
  before: string | undefined,
  met: SeenLog,
): Promise<void> {
  const alone = seen.exclusively ?? ((act) => act());
  await alone(async () => {
    if ((await seen.seenOf(vkey)).checkpoint === before) return seen.keep(vkey, met);
    throw new CscError('LOG_MISSING', 'the log was verified by somebody else meanwhile: verify it once more');
  });
}
