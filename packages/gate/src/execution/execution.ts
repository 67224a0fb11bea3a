import type { CommandContract } from '@csc-fleet/common/contract';
import { CscError } from '@csc-fleet/common/errors';
import {
  type ExecutionEvent,
  ExecutionState,
  type Reviewed,
  toMilliseconds,
} from '@csc-fleet/common/messages';
import { Signal } from '@csc-fleet/common/service';
import type { Store } from '../store/store.ts';
import { patiently } from '../store/store-error.ts';
import type { ExecutionChange, ExecutionRow, StoredReceipt, WithdrawnOffer } from '../store/tables.ts';
import type { IdempotencyKey, Step, Usage } from '../store/write-step.ts';
import { toAudit } from './audit.ts';
import { Placings } from './placings.ts';
import { fromStoredApprovals, isTerminal } from './row.ts';

/** What happened, before it has a number and a time. */
export type Happening = NonNullable<ExecutionEvent['event']>;

export interface Advance {
  readonly change?: ExecutionChange;
  readonly happened?: readonly Happening[];
  readonly receipt?: StoredReceipt | undefined;
  /** An offer that is not to be answered any more. */
  readonly withdrawn?: WithdrawnOffer | undefined;
  /** Milliseconds that it may take to be on disk and seen, so that it shares a commit with others. Absent: at once. */
  readonly withinMs?: number;
  /** It has happened on a host, and stays so where the store takes no writes: it is written when the store does. */
  readonly irrevocable?: boolean;
}

/** What comes with the approvals that an execution waits for. */
export interface Approve {
  readonly change: ExecutionChange;
  readonly happened: readonly Happening[];
  /** Ids of those that it uses up. */
  readonly approvals: readonly string[];
  readonly key: IdempotencyKey | undefined;
  readonly usage: Usage;
}

/**
 * One execution as the gate holds it while it is open or looked at. The row changes at once, so that no two callers
 * act on the same state, and back where the change cannot be written; events are shown only once they are on disk, so
 * that none is ever taken back.
 */
export class LiveExecution {
  readonly id: string;
  readonly #store: Store;
  readonly #changed = new Signal();
  readonly #onChanged: (execution: LiveExecution) => void;
  /** As it is on disk. */
  #written: ExecutionRow;
  /** With the changes that are being written. */
  #row: ExecutionRow;
  readonly #writing = new Set<ExecutionChange>();
  #events: ExecutionEvent[];
  readonly #placings: Placings;
  #approving = false;
  /** Commands of which something is known that is said once, with what that is. */
  readonly #reported = new Set<string>();
  #commandIds: Promise<ReadonlySet<string>> | undefined;

  constructor(
    store: Store,
    row: ExecutionRow,
    events: readonly ExecutionEvent[],
    onChanged: (execution: LiveExecution) => void,
  ) {
    this.id = row.execution_id;
    this.#store = store;
    this.#onChanged = onChanged;
    this.#written = row;
    this.#row = row;
    this.#events = [...events];
    this.#placings = new Placings(events);
    this.cancelGraceMs = findGrace(events);
    for (const { event } of events) {
      if (event?.$case === 'commandStarted') this.isFirst(event.$case, event.value.commandId);
      if (event?.$case === 'commandExited') this.isFirst(event.$case, event.value.result?.commandId ?? '');
    }
  }

  /** Its executor has named it in a Hello, and has not said since that it runs: it may yet refuse it. */
  isUndecided = false;

  /** Why executors had to refuse it for faults of their own, by their SPIFFE ids: each one's last reason, the latest last. */
  readonly faults = new Map<string, { readonly why: string; readonly isLasting: boolean }>();

  /** How often it was set aside, as hosts that take others of its principal had to refuse it alone. */
  timesAside = 0;

  /** Milliseconds between SIGTERM and SIGKILL, once its end has been asked for. */
  cancelGraceMs: number | undefined;

  get row(): ExecutionRow {
    return this.#row;
  }

  get terminal(): boolean {
    return isTerminal(this.#row.state);
  }

  /** True where a change of it is on its way to the disk. */
  get changing(): boolean {
    return this.#writing.size > 0 || this.#approving;
  }

  /** True once its end is on disk and to be seen, also where it is LOST for now. */
  get finished(): boolean {
    return (
      this.#events.findLast(({ event }) => event !== undefined && endsOrGoesOn.has(event.$case))?.event
        ?.$case === 'finished'
    );
  }

  /** True where what it was LOST with is behind it: it went on after this event, or has its receipt. */
  hasLeft(lost: ExecutionEvent): boolean {
    return this.#events.some(
      ({ sequence, event }) =>
        sequence > lost.sequence && event !== undefined && endsOrGoesOn.has(event.$case),
    );
  }

  /** How often it was LOST and went on. */
  get timesReturned(): number {
    return this.#events.filter(({ event }) => event?.$case === 'returned').length;
  }

  /** The owners' word that nobody waits for it any more; none where they have said nothing. */
  get resolutions(): readonly Buffer[] {
    const last = this.#events.findLast(({ event }) => event?.$case === 'finished')?.event;
    return last?.$case === 'finished' ? last.value.resolutionsJson : [];
  }

  /** What the people have said who were asked, in order. */
  get reviews(): readonly Reviewed[] {
    return this.#events.flatMap(({ event }) => (event?.$case === 'reviewed' ? [event.value] : []));
  }

  get #isOver(): boolean {
    const last = this.#events.at(-1)?.event;
    return (
      last?.$case === 'finished' &&
      (last.value.receiptJson.length > 0 || last.value.resolutionsJson.length > 0)
    );
  }

  /** True where an approval may be handed in, and nobody else is about to. */
  get awaitsApproval(): boolean {
    return this.#row.state === ExecutionState.AWAITING_APPROVAL && !this.#approving;
  }

  /** Those on disk, in order, without gaps. */
  get events(): readonly ExecutionEvent[] {
    return this.#events;
  }

  /** The ids of its contract's commands. */
  commandIds(): Promise<ReadonlySet<string>> {
    this.#commandIds ??= this.#store.contract(this.id).then(readCommandIds);
    return this.#commandIds;
  }

  /** What its contract, which is at hand, says of that: the store need not be asked. */
  knowCommands(ids: readonly string[]): void {
    this.#commandIds = Promise.resolve(new Set(ids));
  }

  /** Resolves when there may be something new to see. */
  changed(abort?: AbortSignal): Promise<void> {
    return this.#changed.wait(abort);
  }

  /** True the first time that it is asked whether this is reported of this command. */
  isFirst(what: string, commandId: string): boolean {
    const key = `${what} ${commandId}`;
    const first = !this.#reported.has(key);
    this.#reported.add(key);
    return first;
  }

  /**
   * Moves it on; resolves once that is on disk. Rejects with STORE_UNAVAILABLE, and it is as it was, unless what
   * happened is irrevocable.
   */
  async advance(at: Date, { irrevocable = false, ...advance }: Advance): Promise<void> {
    const { change = {}, happened = [], receipt, withdrawn, withinMs = 0 } = advance;
    // Numbered by the store: what came before it may yet fail.
    const told = this.#placings.pick(happened);
    const events = told.map((event) => ({ executionId: this.id, sequence: 0, at, event }));
    const row = { ...this.#row, ...change };
    const audit = toAudit({ row, at, happened: told, receipt, executorBefore: this.#row.executor_id });
    const step: Step = { change, events, withinMs, withdrawn, receipt, audit };
    await this.#write(step, irrevocable);
    this.#changed.ring();
    this.#onChanged(this);
  }

  async #write(step: Step, irrevocable = false): Promise<void> {
    const { change } = step;
    this.#writing.add(change);
    this.#row = { ...this.#row, ...change };
    const write = async (): Promise<void> => {
      // Its receipt, which says more, or the owners' word got to the disk before: nothing comes after the end.
      if (irrevocable && this.#isOver) return;
      const events = await this.#store.advance(this.id, step);
      // At once, and so in the order of the disk: the next step's answer may be here already.
      this.#written = { ...this.#written, ...change };
      this.#events.push(...events);
      this.#settle(change);
    };
    try {
      await (irrevocable ? patiently(write) : write());
    } finally {
      this.#settle(change);
    }
  }

  #settle(change: ExecutionChange): void {
    this.#writing.delete(change);
    this.#row = Object.assign({ ...this.#written }, ...this.#writing);
  }

  /** Writes down what somebody has said of what awaits approval, and nobody else's word meanwhile. Rejects as advance. */
  async hear(at: Date, change: ExecutionChange, happened: readonly Happening[]): Promise<void> {
    this.#approving = true;
    try {
      await this.advance(at, { change, happened });
    } finally {
      this.#approving = false;
    }
  }

  /**
   * Moves on what awaits approval. Approvals and state change in one write, and nothing changes where one of them is
   * used up already. Throws APPROVAL_INVALID, IDEMPOTENCY_CONFLICT, STORE_UNAVAILABLE.
   */
  async approve(at: Date, { change, happened, approvals, key, usage }: Approve): Promise<void> {
    this.#approving = true;
    try {
      const row = { ...this.#row, ...change };
      const audit = toAudit({ row, at, happened: [], approvals: fromStoredApprovals(row.approvals_json) });
      await this.#store.advance(this.id, { change, events: [], approvals, key, usage, audit });
      if (this.terminal) throw new CscError('APPROVAL_INVALID', 'the execution was ended meanwhile');
      this.#written = { ...this.#written, ...change };
    } finally {
      this.#approving = false;
    }
    await this.advance(at, { change, happened });
  }
}

// Of what is LOST something more may be said, as that its end is asked for; these decide whether it goes on.
const endsOrGoesOn: ReadonlySet<string> = new Set<Happening['$case']>([
  'queued',
  'started',
  'returned',
  'finished',
]);

function findGrace(events: readonly ExecutionEvent[]): number | undefined {
  for (const { event } of events) {
    if (event?.$case === 'cancelling') return toMilliseconds(event.value.gracePeriod);
  }
  return undefined;
}

function readCommandIds(contractJson: string): ReadonlySet<string> {
  const { commands } = JSON.parse(contractJson) as CommandContract;
  return new Set(commands.map(({ id }) => id));
}
