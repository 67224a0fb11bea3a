import type { ExecutionEvent } from '@csc-fleet/common/messages';

type Happening = NonNullable<ExecutionEvent['event']>;

/** How many `queued` and `placed` events are told of one execution: events are kept in memory and for ever. */
export const maxPlacings = 24;

/**
 * Decides what is told of an execution's way from host to host. A host can take it and leave as often as it likes: what
 * is beyond the most is left out, and an executor's labels, which it chooses, come once.
 */
export class Placings {
  #count = 0;
  #placed = false;

  /** @param told the events that there are already */
  constructor(told: readonly ExecutionEvent[]) {
    for (const { event } of told) {
      if (event?.$case === 'queued' || event?.$case === 'placed') this.#count += 1;
      if (event?.$case === 'placed') this.#placed = true;
    }
  }

  /** What of it is told. */
  pick(happened: readonly Happening[]): Happening[] {
    return happened.flatMap((it) => {
      if (it.$case !== 'queued' && it.$case !== 'placed') return [it];
      // The last one says so, and has a reason to say it in.
      if (this.#count >= maxPlacings - (it.$case === 'placed' ? 1 : 0)) return [];
      this.#count += 1;
      return [it.$case === 'placed' ? this.#pickPlaced(it) : this.#pickQueued(it)];
    });
  }

  #pickPlaced(it: Extract<Happening, { $case: 'placed' }>): Happening {
    const labels = this.#placed ? {} : it.value.labels;
    this.#placed = true;
    return { $case: 'placed', value: { ...it.value, labels } };
  }

  #pickQueued(it: Extract<Happening, { $case: 'queued' }>): Happening {
    if (this.#count < maxPlacings) return it;
    const reason = `${it.value.reason}; where it goes from here is not recorded until it is started`;
    return { $case: 'queued', value: { ...it.value, reason } };
  }
}
