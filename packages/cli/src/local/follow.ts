import { type Receiver, toExecutionEvent } from '@csc-fleet/client/offline';
import { toBuffer } from '@csc-fleet/common/encoding';
import { CscError } from '@csc-fleet/common/errors';
import type { Execution, WatchResponse } from '@csc-fleet/common/messages';
import { frameTag, readFrames } from '@csc-fleet/common/output-log';
import type { Gate } from '@csc-fleet/gate/compose';
import { localPrincipal as principal } from './gate.ts';

// Who asks is this process: it does not go before it has its answers.
const gone = new AbortController().signal;

/** What the gate says of an execution's end; what of it is so, the receipt says. */
export interface Told {
  readonly execution: Execution;
  readonly receiptJson: Buffer;
  /** Empty where that is v0.2. */
  readonly originalJson: Buffer;
}

/** Hands the receiver all that comes of an execution of a gate in this process, to its end. */
export async function followLocal(gate: Gate, receiver: Receiver, executionId: string): Promise<Told> {
  const write = async (encoded: Uint8Array): Promise<void> => {
    // Other messages say what the receipt says too.
    if (encoded[0] !== frameTag) return;
    for (const { data, ...frame } of readFrames(encoded)) {
      const bytes = toBuffer(data);
      await receiver.output({ type: 'chunk', ...frame, data: bytes });
    }
  };
  const everything = { executionId, from: [], follow: true };
  let reading: Promise<void> | undefined;
  const read = (): Promise<void> => {
    reading ??= gate.methods.readOutput({ principal, request: everything, write, gone });
    return reading;
  };
  const showEvent = async ({ event: wire }: WatchResponse): Promise<void> => {
    const event = wire === undefined ? undefined : toExecutionEvent(wire);
    if (event?.type === 'finished') await read();
    if (event !== undefined) await receiver.event(event);
    if (receiver.hasStarted()) read().catch(() => {});
  };
  const request = { executionId, fromSequence: 1 };
  await gate.methods.watch({ principal, request, write: showEvent, gone });
  const finished = receiver.finished();
  if (finished?.execution === undefined) throw new CscError('INTERNAL', 'the run ended without an end');
  const { execution, receiptJson, originalJson } = finished;
  return { execution, receiptJson, originalJson };
}
