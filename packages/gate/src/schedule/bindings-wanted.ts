import type { Peer, Seat } from './peer.ts';

// A client that is there answers at once, and one that has lost its connection is back by then; a seat is held meanwhile.
const waitMs = 60_000;

interface Wanted extends Seat {
  /** Milliseconds of the gate's monotonic clock. */
  readonly at: number;
}

/** Executions with a seat on a host, of which the submitter has yet to say that it is that host. */
export class BindingsWanted {
  readonly #byExecution = new Map<string, Wanted>();

  add(wanted: Wanted): void {
    this.#byExecution.set(wanted.executionId, wanted);
  }

  has(executionId: string): boolean {
    return this.#byExecution.has(executionId);
  }

  peerOf(executionId: string): Peer | undefined {
    return this.#byExecution.get(executionId)?.peer;
  }

  /** Takes it out; undefined where it was not in. The seat is the caller's to give back. */
  take(executionId: string): Seat | undefined {
    const wanted = this.#byExecution.get(executionId);
    this.#byExecution.delete(executionId);
    return wanted;
  }

  /** Those whose submitter has not answered in time. */
  overdue(now: number): readonly Seat[] {
    return [...this.#byExecution.values()].filter(({ at }) => now - at >= waitMs);
  }

  /** Those whose host is no longer the one that is connected. */
  gone(isConnected: (peer: Peer) => boolean): readonly Seat[] {
    return [...this.#byExecution.values()].filter(({ peer }) => !isConnected(peer));
  }
}
