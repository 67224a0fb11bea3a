import type { Clock } from '@csc-fleet/common/encoding';
import { type Absence, ExecutionState } from '@csc-fleet/common/messages';
import type { LiveExecution } from '../execution/execution.ts';
import { executorName } from '../execution/row.ts';
import type { Peers } from './peers.ts';

/** How long an executor has been away that has something to end. */
export interface Away {
  /** By the gate's clock, as are the other times. */
  readonly since: Date;
  readonly forMs: number;
  /** When what it has is LOST, unless it is back before. */
  readonly lostAt: Date;
}

export interface AbsencePorts {
  readonly peers: Pick<Peers, 'get'>;
  readonly clock: Clock;
  /** Milliseconds of a clock that never jumps. */
  readonly monotonicMs: () => number;
  /** How long an executor may be away before what it had is LOST. */
  readonly executorLostAfterSec: number;
}

/** Since when executors are missed. As large as there are executors that are away and had something. */
export class Absences {
  readonly #ports: AbsencePorts;
  /** By the monotonic clock: the other may be set. */
  readonly #missedAt = new Map<string, number>();

  constructor(ports: AbsencePorts) {
    this.#ports = ports;
  }

  /**
   * How long an executor that has executions has been away, by its whole SPIFFE id; undefined: it is there. Its absence
   * counts from the first time that this is asked, at the latest.
   */
  of(executorId: string): Away | undefined {
    const { peers, clock, monotonicMs, executorLostAfterSec } = this.#ports;
    if (peers.get(executorId) !== undefined) {
      this.#missedAt.delete(executorId);
      return undefined;
    }
    const now = monotonicMs();
    const missedAt = this.#missedAt.get(executorId) ?? now;
    this.#missedAt.set(executorId, missedAt);
    const forMs = now - missedAt;
    const since = new Date(clock.now().getTime() - forMs);
    return { since, forMs, lostAt: new Date(since.getTime() + executorLostAfterSec * 1000) };
  }

  /** Forgets those that are back. */
  forgetReturned(): void {
    for (const executorId of this.#missedAt.keys())
      if (this.#ports.peers.get(executorId) !== undefined) this.#missedAt.delete(executorId);
  }
}

/** What is told of the executor of an execution that is not over; undefined: it is there, or none has it. */
export function absenceOf(
  { absences }: { readonly absences: Pick<Absences, 'of'> },
  { row }: LiveExecution,
): Absence | undefined {
  const { state, executor_id: executorId, ended_at: endedAt } = row;
  if (executorId === null || endedAt !== null || !onHost.has(state)) return undefined;
  const away = absences.of(executorId);
  if (away === undefined) return undefined;
  const lostAt = state === ExecutionState.LOST ? undefined : away.lostAt;
  return { executorId: executorName(executorId), since: away.since, lostAt };
}

const onHost: ReadonlySet<number> = new Set([
  ExecutionState.OFFERED,
  ExecutionState.RUNNING,
  ExecutionState.LOST,
]);
