import { CscError, isCscError } from '@csc-fleet/common/errors';
import {
  type OutputStream,
  type ProveReceiptsRequest,
  type ProveReceiptsResponse,
  toDuration,
} from '@csc-fleet/common/messages';
import { chunkOf, streamKey } from '@csc-fleet/common/output-log';
import {
  GateService,
  type ReadOutputRequest,
  type ReadOutputResponse,
  type RunRequest,
  type RunResponse,
  type StreamPosition,
} from '@csc-fleet/common/rpc';
import { looksSealed, type SealKeys } from '@csc-fleet/common/seal';
import type { Connection, Method } from '../connection/connection.ts';
import { endedEarly, type ReconnectOptions, resuming } from '../connection/reconnect.ts';
import { type ExecutionEvent, type OutputItem, toExecutionEvent, toOutputItem } from './items.ts';
import { createProgress } from './progress.ts';
import { leastSeen, OutputOpener } from './sealed.ts';

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
  const open = (signal?: AbortSignal) => watchOnce(connection, executionId, next, signal);
  for await (const event of resuming(open, reconnect, options.signal)) {
    if (event.sequence < next) continue;
    next = event.sequence + 1;
    yield event;
  }
}

/** What is to be proven beside the receipt, and who is told. */
export interface Proving {
  readonly request: ProveReceiptsRequest;
  readonly onProof: (proof: ProveReceiptsResponse) => void;
}

// The gate waits for its log for two seconds.
export const proofWithinMs = 3_000;

/**
 * One Watch call. Throws a transient GATE_UNREACHABLE where it ends before `finished`; what comes beside a receipt is
 * no reason to wait for long, nor to fail.
 */
export async function* watchOnce(
  connection: Connection,
  executionId: string,
  fromSequence: number,
  signal: AbortSignal | undefined,
  proving?: Proving,
): AsyncGenerator<ExecutionEvent, void> {
  const prove = proving === undefined ? {} : { prove: proving.request };
  const request = { executionId, fromSequence: Math.max(1, fromSequence), ...prove };
  const left = new AbortController();
  const until = AbortSignal.any([left.signal, ...(signal === undefined ? [] : [signal])]);
  let patience: NodeJS.Timeout | undefined;
  // The first event is there as soon as the execution is.
  const begins = request.fromSequence === 1 ? 'at once' : 'quietly';
  try {
    for await (const { event: wire, proof } of connection.stream(GateService.watch, request, until, begins)) {
      if (patience !== undefined) {
        if (proof === undefined) continue;
        proving?.onProof(proof);
        return;
      }
      const event = wire && toExecutionEvent(wire);
      if (event !== undefined) yield event;
      if (event?.type !== 'finished') continue;
      if (proving === undefined) return;
      patience = setTimeout(() => left.abort(), proofWithinMs);
    }
  } catch (error) {
    if (patience === undefined) throw error;
  } finally {
    clearTimeout(patience);
  }
  if (patience === undefined) throw endedEarly();
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
 * what is kept begins. Of sealed output offsets count what is in it; since when it was written nobody can tell of it:
 * REQUEST_INVALID.
 */
export async function* readOutput(
  connection: Connection,
  reconnect: ReconnectOptions,
  executionId: string,
  options: ReadOutputOptions = {},
  keys?: SealKeys,
): AsyncGenerator<OutputItem, void> {
  if (keys !== undefined && isPart(options)) {
    yield* readPart(connection, reconnect, executionId, options, keys);
    return;
  }
  yield* readThrough(connection, reconnect, executionId, options, keys);
}

const isPart = ({ from = [], offset = 0, since, sinceAgeMs }: ReadOutputOptions): boolean =>
  from.length > 0 || offset > 0 || since !== undefined || sinceAgeMs !== undefined;

// What is sealed opens from its beginning alone, and whoever asks for a part of it means a part of what is in it.
async function* readPart(
  connection: Connection,
  reconnect: ReconnectOptions,
  executionId: string,
  options: ReadOutputOptions,
  keys: SealKeys,
): AsyncGenerator<OutputItem, void> {
  const { from, offset, since, sinceAgeMs, ...whole } = options;
  const part = createProgress(1, from, offset);
  const begun = new Set<string>();
  let isSealed: boolean | undefined;
  for await (const item of readThrough(connection, reconnect, executionId, options, keys)) {
    const isFirst = item.type === 'chunk' && begun.size < begun.add(streamKey(item)).size;
    if (isFirst && item.offset > 0)
      isSealed ??= await beginsSealed(connection, executionId, item.stream, options.signal);
    if (isSealed === true) break;
    const wanted = part.unseen(item);
    if (wanted !== undefined) yield wanted;
  }
  if (isSealed !== true) return;
  if (since !== undefined || sinceAgeMs !== undefined)
    throw new CscError(
      'REQUEST_INVALID',
      'this output is sealed, and opens from its beginning alone: ask for all of it, or for what follows an offset',
    );
  for await (const item of readThrough(connection, reconnect, executionId, whole, keys)) {
    const wanted = part.unseen(item);
    if (wanted !== undefined) yield wanted;
  }
}

// All of a run is sealed, or nothing of it.
async function beginsSealed(
  connection: Connection,
  executionId: string,
  stream: OutputStream,
  signal: AbortSignal | undefined,
): Promise<boolean> {
  const enough = new AbortController();
  const either = signal === undefined ? enough.signal : AbortSignal.any([signal, enough.signal]);
  let data: Uint8Array = new Uint8Array();
  try {
    for await (const item of readOutputOnce(connection, executionId, {
      stream,
      follow: false,
      signal: either,
    })) {
      if (item.type !== 'chunk' || item.offset !== data.length) break;
      data = Buffer.concat([data, item.data]);
      if (data.length >= leastSeen) break;
    }
  } catch (error) {
    // Its beginning is gone: it cannot be opened.
    if (!isCscError(error, 'OUTPUT_TRIMMED')) throw error;
  } finally {
    enough.abort();
  }
  return looksSealed(data);
}

async function* readThrough(
  connection: Connection,
  reconnect: ReconnectOptions,
  executionId: string,
  options: ReadOutputOptions,
  keys: SealKeys | undefined,
): AsyncGenerator<OutputItem, void> {
  const opener = new OutputOpener({ keys, isExpected: false });
  const progress = createProgress(1, options.from, options.offset);
  const begun = performance.now();
  const open = (signal?: AbortSignal) => {
    const { sinceAgeMs } = options;
    const aged = sinceAgeMs === undefined ? undefined : sinceAgeMs + performance.now() - begun;
    const from = progress.positions();
    return readOutputOnce(connection, executionId, { ...options, from, sinceAgeMs: aged, signal });
  };
  for await (const item of resuming(open, reconnect, options.signal)) {
    // A gate that is older does not look at it.
    if (options.stream !== undefined && item.stream !== options.stream) continue;
    const unseen = progress.unseen(item);
    if (unseen !== undefined) yield* await opener.open(executionId, unseen);
  }
}

/** The methods that bring output, whose chunks are views of their messages: the generated decoders copy what they carry. */
export const outputMethods: {
  readonly run: Method<RunRequest, RunResponse>;
  readonly readOutput: Method<ReadOutputRequest, ReadOutputResponse>;
} = {
  run: {
    ...GateService.run,
    responseDeserialize: (bytes: Buffer): RunResponse =>
      viewOf(bytes) ?? GateService.run.responseDeserialize(bytes),
  },
  readOutput: {
    ...GateService.readOutput,
    responseDeserialize: (bytes: Buffer): ReadOutputResponse =>
      viewOf(bytes) ?? GateService.readOutput.responseDeserialize(bytes),
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
  for await (const { item } of connection.stream(
    outputMethods.readOutput,
    request,
    options.signal,
    'quietly',
  )) {
    if (item !== undefined) yield toOutputItem(item);
  }
}
