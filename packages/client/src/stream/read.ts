import { type OutputStream, toDuration } from '@csc-fleet/common/messages';
import { chunkOf } from '@csc-fleet/common/output-log';
import { GateService, ReadOutputResponse, RunResponse, type StreamPosition } from '@csc-fleet/common/rpc';
import type { SealKeys } from '@csc-fleet/common/seal';
import type { Connection } from '../connection/connection.ts';
import { endedEarly, type ReconnectOptions, resuming } from '../connection/reconnect.ts';
import { type ExecutionEvent, type OutputItem, toExecutionEvent, toOutputItem } from './items.ts';
import { createProgress } from './progress.ts';
import { OutputOpener } from './sealed.ts';

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
  /** Where to begin in each stream, in bytes. Absent: all from `offset`. */
  readonly from?: readonly StreamPosition[] | undefined;
  /** Where every stream begins that `from` does not name, in bytes. Absent: 0. */
  readonly offset?: number | undefined;
  /** This stream of each command alone. Absent: all. */
  readonly stream?: OutputStream | undefined;
  /** Only what was written since, by the gate's clock, in whole chunks. Absent: whenever it was. */
  readonly since?: Date | undefined;
  /** The same, as milliseconds before now: no clock of this host counts. Absent: however long ago it was. */
  readonly sinceAgeMs?: number | undefined;
  /** Go on until the execution has ended. Absent: true. */
  readonly follow?: boolean | undefined;
  /** Ends the reading, which then throws CANCELLED; the execution goes on. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * Output as far as it is wanted, each byte once, over as many connections as it takes. Nothing is read ahead of whoever
 * takes it but what is in the transport's window. Throws EXECUTION_UNKNOWN, and OUTPUT_TRIMMED with the offsets at which
 * what is kept begins.
 */
export async function* readOutput(
  connection: Connection,
  reconnect: ReconnectOptions,
  executionId: string,
  options: ReadOutputOptions = {},
  keys?: SealKeys,
): AsyncGenerator<OutputItem, void> {
  const opener = new OutputOpener({ keys, isExpected: false });
  const progress = createProgress(1, options.from, options.offset);
  const begun = performance.now();
  const open = () => {
    const { sinceAgeMs } = options;
    const aged = sinceAgeMs === undefined ? undefined : sinceAgeMs + performance.now() - begun;
    const from = progress.positions();
    return readOutputOnce(connection, executionId, { ...options, from, sinceAgeMs: aged });
  };
  for await (const item of resuming(open, reconnect, options.signal)) {
    // A gate that is older does not look at it.
    if (options.stream !== undefined && item.stream !== options.stream) continue;
    const unseen = progress.unseen(item);
    if (unseen !== undefined) yield* await opener.open(executionId, unseen);
  }
}

/** The methods that bring output, whose chunks are views of their messages: the generated decoders copy what they carry. */
export const outputMethods = {
  run: {
    ...GateService.run,
    responseDeserialize: (bytes: Buffer): RunResponse => viewOf(bytes) ?? RunResponse.decode(bytes),
  },
  readOutput: {
    ...GateService.readOutput,
    responseDeserialize: (bytes: Buffer): ReadOutputResponse =>
      viewOf(bytes) ?? ReadOutputResponse.decode(bytes),
  },
};

function viewOf(bytes: Buffer): ReadOutputResponse | undefined {
  const value = chunkOf(bytes);
  return value && { item: { $case: 'chunk', value } };
}

/** One ReadOutput call. */
export async function* readOutputOnce(
  connection: Connection,
  executionId: string,
  options: ReadOutputOptions,
): AsyncGenerator<OutputItem, void> {
  const { from = [], follow = true, offset, stream, since, sinceAgeMs } = options;
  const sinceAge = sinceAgeMs === undefined ? undefined : toDuration(Math.max(0, sinceAgeMs));
  const request = { executionId, from: [...from], follow, offset, stream, since, sinceAge };
  for await (const { item } of connection.stream(outputMethods.readOutput, request, options.signal)) {
    if (item !== undefined) yield toOutputItem(item);
  }
}
