import type { OutputChunk, OutputEnd, ExecutionEvent as WireEvent } from '@csc-fleet/common/messages';

type WireKind = NonNullable<WireEvent['event']>;
type FlatKind<K extends WireKind> = K extends { $case: infer T; value: infer V }
  ? { readonly type: T } & Readonly<V>
  : never;

/**
 * Something that happened to an execution, told apart by `type`: `decided`, `queued`, `bindingWanted`, `placed`, `started`,
 * `commandStarted`, `commandExited`, `cancelling`, `away`, `lost`, `returned`, `finished`. Numbered from 1 without gaps.
 */
export type ExecutionEvent = FlatKind<WireKind> & {
  readonly executionId: string;
  readonly sequence: number;
  /** By the gate's clock; absent only where the gate did not say. */
  readonly at: Date | undefined;
  /** Of `decided`, to `run`: until when it can be agreed to, and be started. Absent: it is not known. */
  readonly waitsUntil?: Date | undefined;
};

/** The event of one type. */
export type EventOf<T extends ExecutionEvent['type']> = Extract<ExecutionEvent, { readonly type: T }>;

/** Undefined for a kind of event that this client is too old to know. */
export function toExecutionEvent(wire: WireEvent): ExecutionEvent | undefined {
  if (wire.event === undefined) return undefined;
  const { executionId, sequence, at } = wire;
  return { type: wire.event.$case, executionId, sequence, at, ...wire.event.value } as ExecutionEvent;
}

/** A piece of a command's output, or the end of one of its streams. */
export type OutputItem =
  | ({ readonly type: 'chunk' } & Readonly<OutputChunk>)
  | ({ readonly type: 'end' } & Readonly<OutputEnd>);

/** The flat form of an output message. */
export function toOutputItem(
  item: { $case: 'chunk'; value: OutputChunk } | { $case: 'end'; value: OutputEnd },
): OutputItem {
  return item.$case === 'chunk' ? { type: 'chunk', ...item.value } : { type: 'end', ...item.value };
}
