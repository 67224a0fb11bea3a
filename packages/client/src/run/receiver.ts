import { type Decision, OutputStream, type ProveReceiptsResponse } from '@csc-fleet/common/messages';
import { createOutputCheck, type OutputCheck } from '@csc-fleet/common/output-log';
import type { EventOf, ExecutionEvent, OutputItem } from '../stream/items.ts';
import { createProgress, type Progress } from '../stream/progress.ts';
import { OutputOpener, type SealedReading } from '../stream/sealed.ts';

type Awaitable = void | Promise<void>;

/** What a caller wants to be told while an execution goes on. A returned promise holds back what comes next. */
export interface RunHandlers {
  /** Each event once, in order. */
  onEvent?(event: ExecutionEvent): Awaitable;
  /** The bytes that are new of a command's stdout, in order; `chunk` says whose and from which offset. */
  onStdout?(data: Buffer, chunk: Extract<OutputItem, { type: 'chunk' }>): Awaitable;
  /** The same of stderr. */
  onStderr?(data: Buffer, chunk: Extract<OutputItem, { type: 'chunk' }>): Awaitable;
  /** The same of a terminal, where a command has one. */
  onTerminal?(data: Buffer, chunk: Extract<OutputItem, { type: 'chunk' }>): Awaitable;
  /** The same of the recording of a terminal: asciicast v3, line after line. */
  onRecording?(data: Buffer, chunk: Extract<OutputItem, { type: 'chunk' }>): Awaitable;
  /** One command's stream is complete: its length and hash, and whether the cap cut it. */
  onOutputEnd?(end: Extract<OutputItem, { type: 'end' }>): Awaitable;
}

/** One execution as it is followed over any number of connections: what has arrived, and to whom it goes. */
export interface Receiver {
  readonly progress: Progress;
  readonly outputCheck: OutputCheck;
  /** Undefined until the gate has named it. */
  executionId(): string | undefined;
  decision(): Decision | undefined;
  finished(): EventOf<'finished'> | undefined;
  /** What the gate has proven of its log beside the receipt, unverified. */
  proof(): ProveReceiptsResponse | undefined;
  /** True once its start has been handed on: no output is asked for before. */
  hasStarted(): boolean;
  /** Hands an event to its handler, once. */
  event(event: ExecutionEvent): Promise<void>;
  /** Hands what is new of it to its handler. */
  output(item: OutputItem): Promise<void>;
  /** Keeps what the gate proves beside the receipt. */
  prove(proof: ProveReceiptsResponse): void;
}

/** @param receiptVersion what was asked for; empty: not known */
export function createReceiver(
  handlers: RunHandlers,
  receiptVersion: string,
  executionId?: string,
  reading: SealedReading = { keys: undefined, isExpected: false },
): Receiver {
  const opener = new OutputOpener(reading);
  const progress = createProgress();
  const outputCheck = createOutputCheck(receiptVersion);
  let id = executionId;
  let decision: Decision | undefined;
  let finished: EventOf<'finished'> | undefined;
  let started = false;
  let proof: ProveReceiptsResponse | undefined;
  return {
    progress,
    outputCheck,
    executionId: () => id,
    decision: () => decision,
    finished: () => finished,
    proof: () => proof,
    hasStarted: () => started,
    event: async (event) => {
      if (!progress.accepts(event)) return;
      // The first counts: a gate must not pass the receipt of another execution off by renaming this one.
      id ??= event.executionId;
      if (event.type === 'decided') decision = event.decision;
      if (event.type === 'finished') finished = event;
      await handlers.onEvent?.(event);
      if (event.type === 'started') started = true;
    },
    prove: (given) => {
      proof = given;
    },
    output: async (item) => {
      const unseen = progress.unseen(item);
      if (unseen === undefined) return;
      if (unseen.type === 'chunk') outputCheck.add(unseen);
      for (const opened of await opener.open(id ?? '', unseen)) await handOver(opened, handlers);
    },
  };
}

async function handOver(item: OutputItem, handlers: RunHandlers): Promise<void> {
  if (item.type === 'end') return handlers.onOutputEnd?.(item);
  if (item.stream === OutputStream.STDOUT) return handlers.onStdout?.(item.data, item);
  if (item.stream === OutputStream.STDERR) return handlers.onStderr?.(item.data, item);
  if (item.stream === OutputStream.RECORDING) return handlers.onRecording?.(item.data, item);
  return handlers.onTerminal?.(item.data, item);
}
