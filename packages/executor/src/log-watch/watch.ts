import type { Clock } from '@csc-fleet/common/encoding';
import { CscError, isCscError } from '@csc-fleet/common/errors';
import type { OwnersLog } from '@csc-fleet/common/owners';
import type { Log } from '@csc-fleet/common/service';
import { type LogTrust, openCheckpoint, toLogTrust } from '@csc-fleet/common/tlog';
import type { Journal, UnprovenReceipt } from '../journal/index.ts';
import { type Answered, type AskProofs, askFor } from './ask.ts';
import { type LogRecord, readLogRecord, removeLogRecord, writeLogRecord } from './record.ts';

export interface LogWatchPorts {
  readonly journal: Pick<Journal, 'unproven' | 'seenLog' | 'metLog'>;
  /** Which log the owners name. Undefined: none, and nothing is looked for. */
  readonly named: () => OwnersLog | undefined;
  readonly ask: AskProofs;
  /** How long the gate has been there since this host was started, in all connections together, in milliseconds. */
  readonly connectedMs: () => number;
  /** Where what it finds out is kept. */
  readonly stateDir: string;
  readonly clock: Clock;
  readonly log: Log;
}

// How long a receipt may be in no checkpoint, in milliseconds in which the gate was there: one that is away hides nothing, and
// one that comes and goes does not begin anew with each connection.
const patienceMs = 10 * 60_000;

// Off the way of every run: what has come up meanwhile is asked for at once.
const roundMs = 30_000;
// Of one round: who runs more has the rest looked for in the next.
const mostAsked = 1024;
// More than the journal keeps between two rounds.
const mostListed = 8192;
// What nobody has mended in a month is looked for no longer.
const keptMs = 30 * 24 * 60 * 60_000;
const mostNamed = 16;

const missingNote =
  'receipts that the gate has acknowledged are in no checkpoint of its log after ten minutes in which it was there: it may hide them';
const falseNote =
  'THE LOG OF RECEIPTS IS FALSE: it is not the one that the owners name (each gate has its own), or contradicts what this host has met of it';
const olderNote =
  'the gate is of a release that proves nothing to hosts: whether this host’s receipts are in its log is not known before it is brought up to date';

/**
 * Looks for this host's own receipts in the log of the gate, once it has acknowledged them: one that it leaves out is missed by
 * the host that made it. Nothing waits for that, and nothing is refused for what it finds: it says so.
 */
export class LogWatch {
  readonly #ports: LogWatchPorts;
  readonly #closing = new AbortController();
  #timer: NodeJS.Timeout | undefined;
  #running: Promise<void> | undefined;
  #record: LogRecord | undefined;
  #unproven = 0;
  /** When they were looked for first, as `connectedMs` has it. */
  #lookedForSince: ReadonlyMap<string, number> = new Map();
  /** Executions that were told to be missing. */
  #toldMissing: ReadonlySet<string> = new Set();
  #toldFalse = '';
  #toldOlder = false;

  constructor(ports: LogWatchPorts) {
    this.#ports = ports;
    this.#record = this.#read();
  }

  /** Whether what is acknowledged now is to be looked for. */
  get isDue(): boolean {
    return this.#ports.named() !== undefined;
  }

  /** As of the last round. */
  get found(): { readonly unproven: number; readonly missing: number; readonly isFalse: boolean } {
    const { missing = 0, is_false: accusation } = this.#record ?? {};
    return { unproven: this.#unproven, missing, isFalse: accusation !== undefined };
  }

  start(): void {
    this.#timer = setInterval(() => void this.round(), roundMs).unref();
  }

  /** Resolves once nothing is done any more with the journal; a gate that does not answer is not waited for. */
  async close(): Promise<void> {
    clearInterval(this.#timer);
    this.#closing.abort(new CscError('DRAINING', 'this executor ends'));
    await this.#running;
  }

  /** Asks for all that is looked for; while it runs there is no other. Never rejects. */
  round(): Promise<void> {
    this.#running ??= this.#round()
      .catch((error: unknown) =>
        this.#ports.log.warn({ error }, 'receipts could not be looked for in the log'),
      )
      .finally(() => {
        this.#running = undefined;
      });
    return this.#running;
  }

  async #round(): Promise<void> {
    const { journal, named, ask, clock, log } = this.#ports;
    const said = named();
    if (said === undefined) return;
    // Its owner takes the file away once that is cleared up.
    if (this.#record !== undefined) this.#record = this.#read();
    const due = journal.unproven(mostListed);
    this.#unproven = due.length;
    this.#beginToLookFor(due);
    if (due.length === 0 && this.#record === undefined) return;
    const trust = toLogTrust(said);
    const { signal } = this.#closing;
    const askUntilClosed: AskProofs = (request) => unlessAborted(ask(request), signal);
    const seen = journal.seenLog(said.vkey);
    const answered = await askFor(askUntilClosed, trust, seen, due.slice(0, mostAsked), clock);
    if (signal.aborted) return;
    const { checkpoint, proven } = answered;
    if (due.length > 0) {
      const asked = answered.asked.filter((it) => !proven.has(it));
      const olderThan = new Date(clock.now().getTime() - keptMs);
      const met = { vkey: said.vkey, checkpoint, proven: [...proven], asked, olderThan };
      const forgotten = await journal.metLog(met);
      if (forgotten > 0)
        log.warn(
          { missing: forgotten },
          'receipts are looked for in the log no longer: they are too many, or too old',
        );
    }
    const unproven = due.filter(({ executionId }) => !proven.has(executionId));
    this.#unproven = unproven.length;
    this.#conclude(trust, said.vkey, unproven, answered);
  }

  #beginToLookFor(due: readonly UnprovenReceipt[]): void {
    const since = this.#lookedForSince;
    const now = this.#ports.connectedMs();
    this.#lookedForSince = new Map(due.map(({ executionId: id }) => [id, since.get(id) ?? now]));
  }

  #isOverdue(executionId: string): boolean {
    const now = this.#ports.connectedMs();
    return now - (this.#lookedForSince.get(executionId) ?? now) >= patienceMs;
  }

  #conclude(trust: LogTrust, vkey: string, unproven: readonly UnprovenReceipt[], answered: Answered): void {
    // Of a receipt that was missing before a restart nothing has changed.
    const known = new Set(this.#record?.missing_executions);
    const missing = unproven
      .filter(({ executionId }) => known.has(executionId) || this.#isOverdue(executionId))
      .toSorted((one, other) => one.acknowledgedAt.getTime() - other.acknowledgedAt.getTime())
      .map(({ executionId }) => executionId);
    const accusation = this.#accuse(trust, answered);
    const why = whyNot(answered);
    this.#tell({ name: trust.log.name, missing, accusation, why, isOlder: answered.isOlder === true });
    const record: LogRecord = {
      log_vkey: vkey,
      missing: missing.length,
      missing_executions: missing,
      why: missing.length > 0 ? why : '',
      ...(accusation === undefined ? {} : { is_false: accusation }),
    };
    this.#keep(missing.length === 0 && accusation === undefined ? undefined : record);
  }

  // Two checkpoints of one key that contradict each other stay true whatever it answers next.
  #accuse(trust: LogTrust, { failed }: Answered): LogRecord['is_false'] {
    const known = this.#record?.is_false;
    if (known !== undefined && known.shown_checkpoint !== '') return known;
    if (failed === undefined || !isCscError(failed.error, 'LOG_INVALID')) return undefined;
    const isSigned = isBy(trust, failed.shown);
    return {
      at: isSigned || known === undefined ? this.#ports.clock.now().toISOString() : known.at,
      message: failed.error.message,
      seen_checkpoint: failed.seen,
      shown_checkpoint: isSigned ? failed.shown : '',
    };
  }

  // Each once; what is still so after a restart is told again.
  #tell({ name, missing, accusation, why, isOlder }: Findings): void {
    const { log } = this.#ports;
    if (isOlder && !this.#toldOlder) log.warn({}, olderNote);
    this.#toldOlder = isOlder;
    const { message = '' } = accusation ?? {};
    if (message !== '' && message !== this.#toldFalse)
      log.error({ receiptLog: name, why: message }, falseNote);
    this.#toldFalse = message;
    if (missing.some((it) => !this.#toldMissing.has(it)))
      log.error(
        { receiptLog: name, missing: missing.length, executions: missing.slice(0, mostNamed), why },
        missingNote,
      );
    if (missing.length === 0 && this.#toldMissing.size > 0)
      log.info({ receiptLog: name }, 'no receipt of this host is missing in the log any more');
    this.#toldMissing = new Set(missing);
  }

  #read(): LogRecord | undefined {
    try {
      return readLogRecord(this.#ports.stateDir);
    } catch (error) {
      this.#ports.log.warn({ error }, 'what was found out about the log of receipts cannot be read');
      return undefined;
    }
  }

  // Written where it says something else than before.
  #keep(record: LogRecord | undefined): void {
    const { stateDir, log } = this.#ports;
    if (JSON.stringify(record) === JSON.stringify(this.#record)) return;
    this.#record = record;
    try {
      if (record === undefined) removeLogRecord(stateDir);
      else writeLogRecord(stateDir, record);
    } catch (error) {
      log.warn({ error }, 'what was found out about the log of receipts cannot be written down');
    }
  }
}

interface Findings {
  /** Of the log. */
  readonly name: string;
  readonly missing: readonly string[];
  readonly accusation: LogRecord['is_false'];
  readonly why: string;
  readonly isOlder: boolean;
}

function whyNot({ trouble, isOlder, failed }: Answered): string {
  if (isOlder === true) return 'the gate is of a release that proves nothing to hosts';
  if (failed === undefined) return trouble ?? 'the gate shows a log, and proves nothing of them in it';
  return failed.error instanceof Error ? failed.error.message : String(failed.error);
}

function isBy({ log }: LogTrust, note: string): boolean {
  try {
    openCheckpoint(Buffer.from(note), { log });
    return true;
  } catch {
    return false;
  }
}

// Promise.race would not do: what is there for days remembers all that ever raced it, and every answer with them.
async function unlessAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  const aborted = Promise.withResolvers<never>();
  const onAbort = (): void => aborted.reject(signal.reason);
  signal.addEventListener('abort', onAbort);
  try {
    signal.throwIfAborted();
    return await Promise.race([work, aborted.promise]);
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}
