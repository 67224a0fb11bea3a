import type { Clock } from '@csc-fleet/common/encoding';
import { toTimestamp } from '@csc-fleet/common/encoding';
import { guarded } from '@csc-fleet/common/errors';
import type { PruneResponse } from '@csc-fleet/common/messages';
import type { LogFields, LogMessage } from '@csc-fleet/common/service';
import type { OutputStore } from '../output/output-store.ts';
import type { Forgettable, WholeExecution } from '../store/retention-store.ts';
import type { Store } from '../store/store.ts';

/** How much of what is over is kept, and for how long. */
export interface RetentionLimits {
  /** Output, contracts and events; the oldest go first. */
  readonly maxAgeDays: number;
  /** Bytes of output and database together: where there is more, the oldest go before their time. */
  readonly maxBytes: number;
  /** Receipts, and what they are found by. */
  readonly receiptsDays: number;
}

export interface RetentionPorts {
  readonly store: Pick<Store, 'whole' | 'strip' | 'forgettable' | 'forget' | 'pruneAudit' | 'usedBytes'>;
  readonly output: Pick<OutputStore, 'bytes' | 'size' | 'remove'>;
  readonly retention: RetentionLimits;
  readonly clock: Clock;
  readonly onNotice: (message: LogMessage<'info'>, details: LogFields) => void;
  readonly onError: (error: unknown) => void;
}

const dayMs = 24 * 60 * 60 * 1000;
// What has just ended is still being read.
const leastMs = 60 * 60 * 1000;
const everyMs = 60 * 60 * 1000;
// Of one transaction, so that none holds the others up.
const atOnce = 200;

/** Whether what is over is forgotten, or only counted. */
export type Pruning = 'forget' | 'count';

/** Forgets what is over: first output and contracts, by age and by size, and much later the receipts, by age alone. */
export class Retention {
  readonly #ports: RetentionPorts;
  #pruning: Promise<unknown> = Promise.resolve();
  #isClosed = false;

  constructor(ports: RetentionPorts) {
    this.#ports = ports;
  }

  /** Now, and then every hour, until what it returns is called and has resolved. */
  start(): () => Promise<void> {
    const { onNotice, onError } = this.#ports;
    const look = async (): Promise<void> => {
      const { outputs, outputBytes, records, receipts } = await this.prune('forget');
      if (records + receipts > 0)
        onNotice('forgot what was over', { outputs, output_bytes: outputBytes, records, receipts });
    };
    const later = guarded(() => void look().catch(onError), onError);
    later();
    const timer = setInterval(later, everyMs).unref();
    return async () => {
      clearInterval(timer);
      this.#isClosed = true;
      await this.#pruning;
    };
  }

  /** Throws STORE_UNAVAILABLE. One at a time: another waits. */
  prune(pruning: Pruning): Promise<PruneResponse> {
    const done = this.#pruning.then(() => this.#prune(pruning));
    this.#pruning = done.catch(() => undefined);
    return done;
  }

  async #prune(pruning: Pruning): Promise<PruneResponse> {
    // One moment for all of it, however long the disk takes.
    const now = this.#ports.clock.now();
    const found = await this.#pruneWhole(pruning, now);
    return { ...found, receipts: await this.#pruneReceipts(pruning, now) };
  }

  async #pruneWhole(pruning: Pruning, at: Date): Promise<Omit<PruneResponse, 'receipts'>> {
    const { store, output, retention } = this.#ports;
    const now = at.getTime();
    let kept = await output.bytes();
    let excess = kept + (await store.usedBytes()) - retention.maxBytes;
    const went = { outputs: 0, outputBytes: 0, records: 0 };
    for (let after = 0; !this.#isClosed; ) {
      const page = await store.whole(after, atOnce);
      const due: WholeExecution[] = [];
      for (const it of page) {
        const age = now - Date.parse(it.ended_at);
        if (age < retention.maxAgeDays * dayMs && (excess <= 0 || age < leastMs)) continue;
        const size = await output.size(it.execution_id);
        excess -= size + it.bytes;
        kept -= size;
        went.outputs += size > 0 ? 1 : 0;
        went.outputBytes += size;
        went.records += 1;
        due.push(it);
      }
      if (pruning === 'forget')
        await this.#strip(
          due.map((it) => it.execution_id),
          at,
        );
      const last = page.at(-1);
      if (due.length === 0 || last === undefined) break;
      after = last.number;
    }
    return { ...went, keptOutputBytes: kept };
  }

  // The output first: one whose output is gone and that does not say so yet is looked at again.
  async #strip(ids: readonly string[], at: Date): Promise<void> {
    if (ids.length === 0) return;
    const { store, output } = this.#ports;
    for (const id of ids) await output.remove(id);
    await store.strip(ids, toTimestamp(at));
  }

  async #pruneReceipts(pruning: Pruning, now: Date): Promise<number> {
    const { store, retention } = this.#ports;
    const before = toTimestamp(new Date(now.getTime() - retention.receiptsDays * dayMs));
    let count = 0;
    for (let after: Forgettable | undefined; !this.#isClosed; ) {
      const page = await store.forgettable(before, atOnce, after);
      if (pruning === 'forget') await store.forget(page.map((it) => it.execution_id));
      count += page.length;
      after = page.at(-1);
      if (page.length < atOnce) break;
    }
    // As long as the receipts that they name.
    while (pruning === 'forget' && !this.#isClosed)
      if ((await store.pruneAudit(before, atOnce)) < atOnce) break;
    return count;
  }
}
