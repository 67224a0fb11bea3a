import { GateService, type OutputChunk, type OutputEnd, type StreamPosition } from '@csc-fleet/common/rpc';
import type { Connection } from '../connection/connection.ts';
import { type ReconnectOptions, resuming } from '../connection/reconnect.ts';
import { createProgress } from './progress.ts';

/** A piece of a command's output, or the end of one of its streams. */
export type OutputItem =
  | ({ readonly type: 'chunk' } & Readonly<OutputChunk>)
  | ({ readonly type: 'end' } & Readonly<OutputEnd>);

export interface ReadOutputOptions {
  /** Where to begin in each stream; a stream that is not named begins at 0. Absent: all from the beginning. */
  readonly from?: readonly StreamPosition[] | undefined;
  /** Go on until the execution has ended. Absent: true. */
  readonly follow?: boolean | undefined;
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

/** The flat form of an output message. */
export function toOutputItem(
  item: { $case: 'chunk'; value: OutputChunk } | { $case: 'end'; value: OutputEnd },
): OutputItem {
  return item.$case === 'chunk' ? { type: 'chunk', ...item.value } : { type: 'end', ...item.value };
}
