import { createCollector, letHeapGrow } from '@csc-fleet/common/collect';
import { CscError } from '@csc-fleet/common/errors';
import type { Identity } from '@csc-fleet/common/identity';
import type { Executions } from '../execution/executions.ts';
import { outputLimitsOf, type StreamLimits } from './grant.ts';
import type { OutputStore } from './output-store.ts';

export interface IntakePorts {
  readonly executions: Pick<Executions, 'openById'>;
  readonly store: Pick<OutputStore, 'with' | 'length'>;
  /** Offers of which it is not known yet whether their ticket was redeemed. */
  readonly offers: { remove(executionId: string): void };
  readonly limits: { readonly output: StreamLimits };
  readonly onError: (error: unknown) => void;
}

/** What executors bring of their executions' output: only the one that has an execution, while it is open. */
export class OutputIntake {
  readonly #ports: IntakePorts;
  readonly #passed = createCollector();

  constructor(ports: IntakePorts) {
    this.#ports = ports;
  }

  /** True where this executor may push output of this execution. */
  mayPush(executor: Identity, executionId: string): boolean {
    return this.#ports.executions.openById(executionId)?.row.executor_id === executor.uri;
  }

  committedLength(executionId: string): Promise<number> {
    return this.#ports.store.length(executionId);
  }

  /** Appends whole frames; resolves to the log's new length. Throws as OutputLog does, and EXECUTION_UNKNOWN. */
  async append(executionId: string, logOffset: number, frames: Uint8Array): Promise<number> {
    const { executions, store, offers, limits: most } = this.#ports;
    const execution = executions.openById(executionId);
    if (execution === undefined)
      throw new CscError('EXECUTION_UNKNOWN', 'this execution takes no more output');
    // It has output, so it was redeemed: its Accepted is on its way, over another connection.
    offers.remove(executionId);
    const commandIds = await execution.commandIds();
    const limits = outputLimitsOf(execution.row, most.output);
    this.#passed(frames.length);
    return store.with(executionId, (log) => log.append(logOffset, frames, { commandIds, limits }));
  }

  /** Keeps the log open until `gone` fires, so that many appends cost one opening. */
  hold(executionId: string, gone: AbortSignal): void {
    if (gone.aborted) return;
    const held = new Promise<void>((resolve) =>
      gone.addEventListener('abort', () => resolve(), { once: true }),
    );
    const room = letHeapGrow();
    this.#ports.store
      .with(executionId, () => held)
      .catch(this.#ports.onError)
      .finally(() => room[Symbol.dispose]());
  }
}
