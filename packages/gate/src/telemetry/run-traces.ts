import { ExecutionState } from '@csc-fleet/common/messages';
import { fromStoredTrace, type SpanFacts, type TraceContext, type Tracing } from '@csc-fleet/common/tracing';
import { executorName } from '../execution/row.ts';
import type { ExecutionRow } from '../store/tables.ts';

interface Seen {
  readonly state: number;
  readonly since: Date;
}

/** What is looked at of an execution, after each of its steps that is on disk. */
export interface TracedExecution {
  readonly id: string;
  readonly row: Pick<
    ExecutionRow,
    'state' | 'trace_context' | 'submitted_at' | 'started_at' | 'executor_id' | 'policy_profile'
  >;
}

/** Sees executions go from state to state, and tells how long each waited and was offered. As large as what is open. */
export class RunTraces {
  readonly #tracing: Tracing;
  readonly #open = new Map<string, Seen>();

  constructor(tracing: Tracing) {
    this.#tracing = tracing;
  }

  /** It was recorded, or a step of it was, or it was open when this gate began. */
  saw({ id, row }: TracedExecution): void {
    const parent = fromStoredTrace(row.trace_context);
    if (parent === undefined) return;
    const { state } = row;
    const before = this.#open.get(id);
    if (before?.state === state) return;
    const now = new Date();
    if (state === ExecutionState.QUEUED || state === ExecutionState.OFFERED)
      this.#open.set(id, { state, since: before === undefined ? new Date(row.submitted_at) : now });
    else this.#open.delete(id);
    const facts = { 'csc.execution.id': id, 'csc.profile': row.policy_profile };
    this.#tell(before, row, parent, facts);
    // Recorded with its place: what it waited is what that took.
    if (state === ExecutionState.OFFERED) this.#open.set(id, { state, since: now });
  }

  #tell(before: Seen | undefined, row: TracedExecution['row'], parent: TraceContext, facts: SpanFacts): void {
    const { state } = row;
    const since = before?.since ?? new Date(row.submitted_at);
    const executor = row.executor_id === null ? {} : { 'csc.executor.id': executorName(row.executor_id) };
    if (before === undefined ? state === ExecutionState.OFFERED : before.state === ExecutionState.QUEUED)
      this.#span('csc.gate.queue', { parent, since, facts: { ...facts, ...executor } });
    if (before?.state !== ExecutionState.OFFERED) return;
    const outcome =
      state === ExecutionState.QUEUED ? 'requeued' : row.started_at === null ? 'refused' : 'accepted';
    this.#span('csc.gate.offer', { parent, since, facts: { ...facts, ...executor, 'csc.outcome': outcome } });
  }

  #span(name: string, options: Parameters<Tracing['begin']>[1]): void {
    this.#tracing.begin(name, options).end();
  }
}
