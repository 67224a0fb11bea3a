import type { Clock } from '@csc-fleet/common/encoding';
import { CscError, quoteBriefly } from '@csc-fleet/common/errors';
import {
  ExecutionEvent,
  ExecutionState,
  type ReadOutputRequest,
  toMilliseconds,
} from '@csc-fleet/common/messages';
import { parseReceipt } from '@csc-fleet/common/receipt';
import type { LiveExecution } from '../execution/execution.ts';
import type { Executions, Principal } from '../execution/executions.ts';
import type { OutputStore } from '../output/output-store.ts';
import { encodeItem, itemField, readOutput } from '../output/reader.ts';
import type { Scheduler } from '../schedule/scheduler.ts';
import type { Store } from '../store/store.ts';
import type { StoredReceipt } from '../store/tables.ts';

/** Takes one encoded message; resolves when there is room for the next. */
export type Write = (message: Uint8Array) => Promise<void>;

/** Who watches, and what is asked of them. */
export interface WatchPorts {
  readonly scheduler: Pick<Scheduler, 'awaitedHost' | 'submitterCame'>;
}

/**
 * The events of an execution from a sequence number on (0 and 1: all), past ones first; ends after Finished, or where
 * `gone` fires. What has waited for its submitter is placed once that one watches.
 */
export async function* watch(
  { scheduler }: WatchPorts,
  execution: LiveExecution,
  fromSequence: number,
  gone: AbortSignal,
): AsyncGenerator<ExecutionEvent> {
  // Nobody else may.
  scheduler.submitterCame(execution.id);
  for (let next = Math.max(0, fromSequence - 1); ; ) {
    for (const event of execution.events.slice(next)) {
      next++;
      yield toSeen(scheduler, execution, event);
    }
    if (execution.events.length > next) continue;
    if (execution.finished || gone.aborted) return;
    await execution.changed(gone);
  }
}

// Whoever reads on after an end that was none must not take it for one.
function toSeen(
  scheduler: Pick<Scheduler, 'awaitedHost'>,
  execution: LiveExecution,
  event: ExecutionEvent,
): ExecutionEvent {
  const happened = event.event;
  if (happened?.$case === 'bindingWanted') {
    const { executorId } = happened.value;
    if (scheduler.awaitedHost(execution.id)?.name === executorId) return event;
    // Whoever answered it now had named a host for nothing, and may name no other.
    const reason = `there was a place on ${executorId}, which waits for its name no more`;
    return { ...event, event: { $case: 'queued', value: { position: 0, reason } } };
  }
  if (happened?.$case !== 'finished' || happened.value.receiptJson.length > 0) return event;
  if (!execution.hasLeft(event)) return event;
  const { executorId = '', error: reason = '' } = happened.value.execution ?? {};
  return { ...event, event: { $case: 'lost', value: { executorId, reason } } };
}

/**
 * Everything that happens to an execution and all of its output, as it comes, as RunResponses: no output before the
 * Started event, although the two come on connections of their own, and the Finished event last, after all output. An
 * execution that waits for approval ends the stream: nothing may happen for days. Where `gone` fires the stream ends,
 * and the run goes on.
 */
export async function follow(
  { output, store, scheduler }: Pick<OutputPorts, 'output' | 'store'> & WatchPorts,
  execution: LiveExecution,
  write: Write,
  gone: AbortSignal,
): Promise<void> {
  const send = (event: ExecutionEvent): Promise<void> =>
    write(encodeItem(itemField.event, ExecutionEvent.encode(event).finish()));
  if (execution.row.state === ExecutionState.AWAITING_APPROVAL) {
    for (const event of execution.events) await send(event);
    return;
  }
  await checkKept(store, execution);
  let relayed: Promise<void> | undefined;
  let isOver = false;
  const relay = (): Promise<void> => {
    relayed ??= relayOutput(output, execution, write, gone).finally(() => {
      isOver = true;
    });
    return relayed;
  };
  for await (const event of watch({ scheduler }, execution, 0, gone)) {
    if (event.event?.$case === 'finished') await relay();
    await send(event);
    // Looked at below; until then a failure must not count as unhandled.
    if (event.event?.$case === 'started') relay().catch(() => undefined);
    // It may have ended when the execution seemed to; what a reader has already, it knows by its offsets.
    if (event.event?.$case === 'lost' && isOver) {
      relayed = undefined;
      isOver = false;
      relay().catch(() => undefined);
    }
  }
  await relayed;
}

// Nothing would look like an output of nothing.
async function checkKept(store: OutputPorts['store'], { id, row }: LiveExecution): Promise<void> {
  if (row.pruned_at === null || row.started_at === null) return;
  const receipt = await store.receipt(id);
  const ends = receipt === undefined ? '' : describeEnds(receipt);
  throw new CscError(
    'OUTPUT_TRIMMED',
    `its output was kept until ${row.pruned_at}, and is gone${ends}: its receipt has the hashes and lengths`,
  );
}

const mostNamed = 3;

// A v0.1 receipt has no lengths.
function describeEnds({ receiptJson, originalJson }: StoredReceipt): string {
  const parsed = parseReceipt(originalJson.length > 0 ? originalJson : receiptJson);
  if (!parsed.ok || parsed.value.receipt_version !== 'csc.receipt.v0.2') return '';
  const { commands } = parsed.value;
  const ends = commands
    .slice(0, mostNamed)
    .map(
      (it) =>
        `${it.stdout_bytes} of stdout and ${it.stderr_bytes} of stderr of ${quoteBriefly(it.command_id)}`,
    );
  const more = commands.length > mostNamed ? ', …' : '';
  return ` (the first offsets that are kept are the ends: ${ends.join(', ')}${more})`;
}

async function relayOutput(
  output: Pick<OutputStore, 'with'>,
  execution: LiveExecution,
  write: Write,
  gone: AbortSignal,
): Promise<void> {
  await output.with(execution.id, async (log) => {
    for await (const item of readOutput(log, execution, { from: [], follow: true }, gone)) {
      if (gone.aborted) return;
      await write(item);
    }
  });
}

// The host has a monotonic clock alone, and began a moment before the gate heard of it.
function sinceNsOf(
  { since, sinceAge }: Pick<ReadOutputRequest, 'since' | 'sinceAge'>,
  { row }: LiveExecution,
  now: Date,
): number {
  const ago = sinceAge === undefined ? 0 : now.getTime() - toMilliseconds(sinceAge);
  const from = Math.max(since?.getTime() ?? 0, ago);
  return row.started_at === null ? 0 : Math.max(0, from - Date.parse(row.started_at)) * 1e6;
}

export interface OutputPorts {
  readonly executions: Pick<Executions, 'visible' | 'openById'>;
  readonly output: Pick<OutputStore, 'with'>;
  readonly store: Pick<Store, 'receipt'>;
  readonly clock: Clock;
}

/** The output of an execution, as encoded ReadOutputResponses. Throws EXECUTION_UNKNOWN, OUTPUT_TRIMMED. */
export async function giveOutput(
  { executions, output, store, clock }: OutputPorts,
  principal: Principal,
  request: ReadOutputRequest,
  write: Write,
  gone: AbortSignal,
): Promise<void> {
  const execution = await executions.visible(principal, request.executionId);
  await checkKept(store, execution);
  // No longer open: its receipt is here, and so all of its output is.
  const extent = executions.openById(execution.id) === undefined ? 'complete' : 'growing';
  // Who follows is told by the receipt.
  const complete = extent === 'complete' && !request.follow;
  const wanted = { ...request, complete, sinceNs: sinceNsOf(request, execution, clock.now()) };
  await output.with(
    execution.id,
    async (log) => {
      for await (const item of readOutput(log, execution, wanted, gone)) await write(item);
    },
    extent,
  );
}
