import { GateService, type StreamPosition } from '@csc-fleet/common/rpc';
import type { Connection } from '../connection/connection.ts';
import { endedEarly, type ReconnectOptions, resuming } from '../connection/reconnect.ts';
import { type ExecutionEvent, type OutputItem, toExecutionEvent, toOutputItem } from './items.ts';
import { createProgress } from './progress.ts';

/** Where `watch` begins, and what ends it. */
export interface WatchOptions {
  /** The number of the first event wanted, from 1. Absent: from the beginning. */
  readonly fromSequence?: number | undefined;
  /** Ends the reading, which then throws CANCELLED; the execution goes on. */
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

/** Where `readOutput` begins, and what ends it. */
export interface ReadOutputOptions {
  /** Where to begin in each stream, in bytes; a stream that is not named begins at 0. Absent: all from the beginning. */
  readonly from?: readonly StreamPosition[] | undefined;
  /** Go on until the execution has ended. Absent: true. */
  readonly follow?: boolean | undefined;
  /** Ends the reading, which then throws CANCELLED; the execution goes on. */
  readonly signal?: AbortSignal | undefined;
}

/** Output from the given offsets on, each byte once, over as many connections as it takes. */
export async function* readOutput(
  connection: Connection,
  reconnect: ReconnectOptions,
  executionId: string,
  options: ReadOutputOptions = {},
): AsyncGenerator<OutputItem, void> {
  const progress = createProgress(1, options.from);
  const open = () => readOutputOnce(connection, executionId, { ...options, from: progress.positions() });
  for await (const item of resuming(open, reconnect, options.signal)) {
    const unseen = progress.unseen(item);
    if (unseen !== undefined) yield unseen;
  }
}

/** One ReadOutput call. */
export async function* readOutputOnce(
  connection: Connection,
  executionId: string,
  options: ReadOutputOptions,
): AsyncGenerator<OutputItem, void> {
  const request = { executionId, from: [...(options.from ?? [])], follow: options.follow ?? true };
  for await (const { item } of connection.stream(GateService.readOutput, request, options.signal)) {
    if (item !== undefined) yield toOutputItem(item);
  }
}
