import { GateService } from '@csc-fleet/common/rpc';
import type { Connection } from '../connection/connection.ts';
import { endedEarly, type ReconnectOptions, resuming } from '../connection/reconnect.ts';
import { type ExecutionEvent, toExecutionEvent } from './items.ts';

export interface WatchOptions {
  /** The first event wanted. Absent: from the beginning. */
  readonly fromSequence?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** An execution's events up to and with `finished`, each once, over as many connections as it takes. */
export async function* watch(
  connection: Connection,
  reconnect: ReconnectOptions,
  executionId: string,
  options: WatchOptions = {},
): AsyncGenerator<ExecutionEvent, void> {
  let next = options.fromSequence ?? 1;
  const open = () => watchOnce(connection, executionId, next, options.signal);
  for await (const event of resuming(open, reconnect, options.signal)) {
    if (event.sequence < next) continue;
    next = event.sequence + 1;
    yield event;
  }
}

/** One Watch call. Throws a transient GATE_UNREACHABLE where it ends before `finished`. */
export async function* watchOnce(
  connection: Connection,
  executionId: string,
  fromSequence: number,
  signal: AbortSignal | undefined,
): AsyncGenerator<ExecutionEvent, void> {
  const request = { executionId, fromSequence: Math.max(1, fromSequence) };
  for await (const { event: wire } of connection.stream(GateService.watch, request, signal)) {
    const event = wire && toExecutionEvent(wire);
    if (event !== undefined) yield event;
    if (event?.type === 'finished') return;
  }
  throw endedEarly();
}
