import type { Log } from '@csc-fleet/common/service';
import type { StoredLog } from './read-log.ts';
import type { Uploads } from './uploads.ts';

/** Logs of finished executions that are brought at once; those of running ones come beside them. */
export const mostAtOnce = 8;
// After this long without anything taken of its log, the next one has its turn.
const patienceMs = 30_000;

/** A log that can wait on disk for its turn. */
export interface BackloggedLog {
  readonly executionId: string;
  open(): StoredLog;
}

interface Turn {
  readonly output: StoredLog;
  readonly log: BackloggedLog;
  readonly patience: NodeJS.Timeout;
}

/**
 * Brings the logs of finished executions to the gate, a few at a time: what a log takes in memory and in descriptors it
 * takes while it has its turn, so that a gate that takes none of them costs no more than those few.
 */
export class Backlog {
  readonly #uploads: Uploads;
  readonly #log: Log;
  readonly #turns = new Map<string, Turn>();
  readonly #waiting = new Map<string, BackloggedLog>();
  /** Logs that are given back. */
  readonly #closing = new Set<Promise<void>>();

  constructor(uploads: Uploads, log: Log) {
    this.#uploads = uploads;
    this.#log = log;
  }

  /**
   * Does nothing for one that has its turn.
   * @param open a log that is open already, of an execution that has just ended
   */
  add(log: BackloggedLog, open?: StoredLog): void {
    if (this.#turns.has(log.executionId)) return;
    if (open !== undefined && this.#turns.size < mostAtOnce) {
      this.#begin(log, open);
      return;
    }
    if (open !== undefined) void this.#close(open);
    this.#waiting.set(log.executionId, log);
    this.#next();
  }

  /** The gate needs no more of this log. Resolves once it is no longer read. */
  async drop(executionId: string): Promise<void> {
    this.#waiting.delete(executionId);
    const turn = this.#turns.get(executionId);
    if (turn === undefined) return;
    await this.#end(turn);
    this.#next();
  }

  /** Stops. */
  async close(): Promise<void> {
    this.#waiting.clear();
    await Promise.all([...this.#turns.values()].map((turn) => this.#end(turn)));
    await Promise.all(this.#closing);
  }

  #next(): void {
    for (const [executionId, log] of this.#waiting) {
      if (this.#turns.size >= mostAtOnce) return;
      this.#waiting.delete(executionId);
      this.#begin(log, log.open());
    }
  }

  #begin(log: BackloggedLog, output: StoredLog): void {
    const { executionId } = log;
    const patience = setInterval(() => this.#judge(executionId), patienceMs).unref();
    const turn = { log, output, patience };
    this.#turns.set(executionId, turn);
    void this.#uploads.start(output).then(() => this.#end(turn).then(() => this.#next()));
  }

  #judge(executionId: string): void {
    const turn = this.#turns.get(executionId);
    if (turn === undefined || this.#waiting.size === 0 || this.#uploads.hasMoved(executionId)) return;
    this.#waiting.set(executionId, turn.log);
    void this.#end(turn).then(() => this.#next());
  }

  #end(turn: Turn): Promise<void> {
    const { executionId } = turn.log;
    if (this.#turns.get(executionId) !== turn) return Promise.resolve();
    clearInterval(turn.patience);
    this.#turns.delete(executionId);
    return this.#close(turn.output);
  }

  #close(output: StoredLog): Promise<void> {
    const { executionId } = output;
    const closed = this.#uploads
      .stop(executionId)
      .then(() => output.close())
      .catch((error: unknown) => this.#log.warn({ executionId, error }, 'an output log could not be closed'))
      .finally(() => this.#closing.delete(closed));
    this.#closing.add(closed);
    return closed;
  }
}
