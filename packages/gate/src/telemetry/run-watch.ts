import { isRpcReason } from '@csc-fleet/common/errors';
import { EndedBy, type ExecutionEvent, ExecutionState } from '@csc-fleet/common/messages';
import type { Instruments } from '@csc-fleet/common/telemetry';
import type { ExecutionRow } from '../store/tables.ts';
import { type gateInstruments, openStates, type outcomes } from './instruments.ts';

type Told = Instruments<typeof gateInstruments>;

/** What is looked at of an execution, after each of its steps that is on disk. */
export interface Watched {
  readonly id: string;
  readonly row: Pick<ExecutionRow, 'state' | 'error' | 'executor_id'>;
  readonly events: readonly ExecutionEvent[];
}

const openNames: ReadonlyMap<number, (typeof openStates)[number]> = new Map([
  [ExecutionState.AWAITING_APPROVAL, 'awaiting_approval'],
  [ExecutionState.QUEUED, 'queued'],
  [ExecutionState.OFFERED, 'offered'],
  [ExecutionState.RUNNING, 'running'],
  [ExecutionState.LOST, 'lost'],
]);

const outcomeNames: ReadonlyMap<number, (typeof outcomes)[number]> = new Map([
  [ExecutionState.SUCCEEDED, 'succeeded'],
  [ExecutionState.FAILED, 'failed'],
  [ExecutionState.BLOCKED, 'blocked'],
  [ExecutionState.EXPIRED, 'expired'],
  [ExecutionState.CANCELLED, 'cancelled'],
]);

interface Seen {
  readonly state: number;
  /** Since when it has been in it, by the monotonic clock; undefined where it was so when this gate began. */
  readonly sinceMs: number | undefined;
  /** How many of its events have been looked at. */
  readonly events: number;
}

/** The state that an event leads to; undefined where it leads to none. */
function stateOf(event: ExecutionEvent['event']): number | undefined {
  switch (event?.$case) {
    case 'queued':
      return ExecutionState.QUEUED;
    case 'placed':
      return ExecutionState.OFFERED;
    case 'started':
    case 'returned':
      return ExecutionState.RUNNING;
    case 'finished':
      return event.value.execution?.state;
    default:
      return undefined;
  }
}

function isResolution({ event }: ExecutionEvent): boolean {
  return event?.$case === 'finished' && event.value.resolutionsJson.length > 0;
}

/** Sees executions go from state to state: what of that is counted, and how long each took. As large as what is open. */
export class RunWatch {
  readonly #told: Told;
  readonly #monotonicMs: () => number;
  readonly #open = new Map<string, Seen>();

  constructor(told: Told, monotonicMs: () => number) {
    this.#told = told;
    this.#monotonicMs = monotonicMs;
    told.observe('csc_executions', (say) => {
      for (const name of openStates) say(0, { state: name });
      for (const { state } of this.#open.values()) say(1, { state: openNames.get(state) ?? '' });
    });
    told.observe('csc_queue_oldest_seconds', (say) => say(this.#oldestWait(), {}));
  }

  /** One that was open when this gate began: nobody knows how long it has been. */
  restored({ id, row, events }: Watched): void {
    this.#open.set(id, { state: row.state, sinceMs: undefined, events: events.length });
  }

  /** It was recorded, which may be its end. */
  created(execution: Watched): void {
    this.#open.set(execution.id, { state: ExecutionState.UNSPECIFIED, sinceMs: undefined, events: 0 });
    this.saw(execution);
  }

  /**
   * A step of one that is open is on disk. Its events say what became of it, of which several may come in one commit: its
   * row is ahead of them by what is being written.
   */
  saw(execution: Watched): void {
    const { id, row, events } = execution;
    const known = this.#open.get(id);
    if (known === undefined) return;
    const states = events.slice(known.events).flatMap(({ event }) => stateOf(event) ?? []);
    // Of one that comes and goes, not every placing is told.
    if (states.length === 0 && openNames.has(row.state)) states.push(row.state);
    for (const state of states) this.#enter(state, execution);
    // LOST is what it stays, and nobody waits for it.
    if (events.slice(known.events).some(isResolution)) this.#open.delete(id);
  }

  #enter(state: number, execution: Watched): void {
    const { id, events } = execution;
    const before = this.#open.get(id);
    if (before?.state === state) return;
    const now = this.#monotonicMs();
    this.#tell(before, state, now);
    if (openNames.has(state)) this.#open.set(id, { state, sinceMs: now, events: events.length });
    else {
      this.#open.delete(id);
      const outcome = outcomeNames.get(state) ?? 'other';
      this.#told.add('csc_runs_total', { outcome, reason: reasonOf(state, execution) });
    }
  }

  #tell(before: Seen | undefined, state: number, now: number): void {
    const seconds = before?.sinceMs === undefined ? undefined : (now - before.sinceMs) / 1000;
    const { QUEUED, OFFERED, RUNNING, LOST } = ExecutionState;
    if (state === LOST) this.#told.add('csc_runs_lost_total', {});
    else if (before?.state === LOST) this.#told.add('csc_runs_returned_total', {});
    if (seconds === undefined) return;
    if (before?.state === QUEUED && state === OFFERED)
      this.#told.record('csc_queue_wait_seconds', {}, seconds);
    if (before?.state === OFFERED && state === RUNNING)
      this.#told.record('csc_stage_seconds', { stage: 'place' }, seconds);
    if (before?.state === RUNNING && outcomeNames.has(state))
      this.#told.record('csc_stage_seconds', { stage: 'run' }, seconds);
  }

  #oldestWait(): number {
    const now = this.#monotonicMs();
    let longest = 0;
    for (const { state, sinceMs = now } of this.#open.values())
      if (state === ExecutionState.QUEUED) longest = Math.max(longest, now - sinceMs);
    return longest / 1000;
  }
}

/** The reason that a text begins with, as `SCOPE_NOT_FOUND: …`; undefined where it begins with none of the table. */
export function reasonIn(text: string): string | undefined {
  const [, reason = ''] = /^([A-Z_]{3,40}): /.exec(text) ?? [];
  return isRpcReason(reason) ? reason : undefined;
}

const endings: ReadonlyMap<EndedBy, string> = new Map([
  [EndedBy.EXIT, 'exit'],
  [EndedBy.SIGNAL, 'signal'],
  [EndedBy.TIMEOUT, 'timeout'],
  [EndedBy.CANCELLED, 'cancelled'],
  [EndedBy.OUTPUT_LIMIT, 'output_limit'],
  [EndedBy.OUT_OF_MEMORY, 'out_of_memory'],
  [EndedBy.EXECUTOR_RESTART, 'executor_restart'],
  [EndedBy.REFUSED, 'refused'],
]);

/** Why an execution ended, of a closed list: what a job or a contract says is never part of it. */
function reasonOf(state: number, { row, events }: Watched): string {
  const { error, executor_id: executorId } = row;
  if (state === ExecutionState.SUCCEEDED) return 'none';
  if (state === ExecutionState.CANCELLED) return 'cancelled';
  // Of one that ran, the text may be a command's.
  if (state === ExecutionState.FAILED) return lastEnding(events);
  if (state === ExecutionState.EXPIRED)
    return error.startsWith('no approval came') ? 'approval_timeout' : 'queue_timeout';
  return reasonIn(error) ?? (executorId === null ? 'denied' : lastEnding(events));
}

function lastEnding(events: Watched['events']): string {
  const last = events.findLast(({ event }) => event?.$case === 'commandExited')?.event;
  const endedBy = last?.$case === 'commandExited' ? last.value.result?.endedBy : undefined;
  return endings.get(endedBy ?? EndedBy.UNSPECIFIED) ?? 'unsaid';
}
