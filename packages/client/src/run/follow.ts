import type { ProveReceiptsRequest, RunRequest } from '@csc-fleet/common/messages';
import { ExecutionState, GateService, Verdict } from '@csc-fleet/common/rpc';
import type { Connection } from '../connection/connection.ts';
import { endedEarly, type ReconnectOptions, retrying } from '../connection/reconnect.ts';
import { type ExecutionEvent, toExecutionEvent, toOutputItem } from '../stream/items.ts';
import { outputMethods, proofWithinMs, readOutputOnce, watchOnce } from '../stream/read.ts';
import type { Bind } from './bind.ts';
import type { Receiver } from './receiver.ts';

/** What following needs to know. */
interface FollowContext {
  readonly connection: Connection;
  readonly reconnect: ReconnectOptions;
  readonly signal: AbortSignal | undefined;
  /** Wait for somebody's approval too. */
  readonly waitForApproval: boolean;
  /** Names the host in the submission, for the gate. Absent: there is none, or another process has it. */
  readonly bind?: Bind | undefined;
  /** What is to be proven beside the receipt. Absent: nothing is. */
  readonly prove?: ProveReceiptsRequest | undefined;
  /** Told where a Run has failed before it was named. */
  readonly onBroken?: () => void;
  /** Told once how the gate calls what was handed in. */
  readonly onNamed?: (executionId: string) => Promise<void>;
}

/**
 * Feeds the receiver until the execution has finished or waits for an approval, over as many connections as it
 * takes. The first attempt is `request`, a Run; with the same idempotency key it may be repeated. Once the
 * execution has a name, Watch and ReadOutput go on from where the receiver stands.
 */
export async function followToEnd(
  context: FollowContext,
  receiver: Receiver,
  request: RunRequest | undefined,
): Promise<void> {
  await retrying(
    (arrived, signal) => attempt({ ...context, signal }, receiver, request, arrived),
    context.reconnect,
    context.signal,
  );
}

async function attempt(
  context: FollowContext,
  receiver: Receiver,
  request: RunRequest | undefined,
  arrived: () => void,
): Promise<void> {
  const known = receiver.executionId();
  if (known === undefined && request !== undefined) await runOnce(context, receiver, request, arrived);
  const executionId = receiver.executionId();
  // A Run ends where an approval is due; whoever waits for that goes on watching.
  const goesOn = known !== undefined || context.waitForApproval;
  if (executionId !== undefined && goesOn && receiver.finished() === undefined) {
    await watchAndRead(context, receiver, executionId, arrived);
  }
  if (receiver.finished() === undefined && !(await isAwaitingApproval(context, receiver))) throw endedEarly();
}

async function runOnce(
  context: FollowContext,
  receiver: Receiver,
  request: RunRequest,
  arrived: () => void,
): Promise<void> {
  const { connection, signal } = context;
  const left = new AbortController();
  const bounded = AbortSignal.any([left.signal, ...(signal === undefined ? [] : [signal])]);
  const until = request.prove === undefined ? signal : bounded;
  let patience: NodeJS.Timeout | undefined;
  try {
    for await (const { item } of connection.stream(outputMethods.run, request, until)) {
      arrived();
      // What comes beside a receipt is no reason to wait for long, nor to fail.
      if (patience !== undefined) {
        if (item?.$case !== 'proof') continue;
        receiver.prove(item.value);
        return;
      }
      if (item?.$case === 'event') {
        const event = toExecutionEvent(item.value);
        if (event === undefined) continue;
        await take(context, receiver, event);
        if (!(await isDone(context, receiver, event))) continue;
        if (event.type !== 'finished' || request.prove === undefined) return;
        patience = setTimeout(() => left.abort(), proofWithinMs);
      } else if (item !== undefined && item.$case !== 'proof') await receiver.output(toOutputItem(item));
    }
  } catch (error) {
    if (receiver.executionId() === undefined) context.onBroken?.();
    if (patience === undefined) throw error;
  } finally {
    clearTimeout(patience);
  }
}

// Bound before it counts as seen: where that fails for now, the event comes again on the next connection.
async function take(context: FollowContext, receiver: Receiver, event: ExecutionEvent): Promise<void> {
  const known = receiver.executionId();
  if (known === undefined) await context.onNamed?.(event.executionId);
  if (event.type === 'bindingWanted')
    await context.bind?.(known ?? event.executionId, event.executorId, context.signal);
  await receiver.event(event);
}

/**
 * Both streams at once: no output is handed on before `started`, nor `finished` before the last of it. What fails first
 * is thrown.
 */
async function watchAndRead(
  context: FollowContext,
  receiver: Receiver,
  executionId: string,
  arrived: () => void,
): Promise<void> {
  const ended = new AbortController();
  const signal = AbortSignal.any([ended.signal, ...(context.signal === undefined ? [] : [context.signal])]);
  let reading: Promise<void> | undefined;
  let isOver = false;
  const read = (): Promise<void> => {
    reading ??= readAll({ ...context, signal }, receiver, executionId, arrived).finally(() => {
      isOver = true;
    });
    return reading;
  };
  const readOn = (): void => {
    // Without its output there is no use in watching on.
    if (receiver.hasStarted()) read().catch((error: unknown) => ended.abort(error));
  };
  readOn();
  const next = receiver.progress.nextSequence();
  const { prove } = context;
  const proving = prove && { request: prove, onProof: receiver.prove };
  try {
    for await (const event of watchOnce(context.connection, executionId, next, signal, proving)) {
      arrived();
      if (event.type === 'finished') await read();
      // It may have ended when the execution seemed to, and goes on where it stands.
      if (event.type === 'lost' && isOver) {
        reading = undefined;
        isOver = false;
      }
      await take(context, receiver, event);
      readOn();
      // Its proof comes behind it.
      if (event.type === 'finished' && proving !== undefined) continue;
      if (await isDone(context, receiver, event)) return;
    }
  } catch (error) {
    throw ended.signal.aborted ? ended.signal.reason : error;
  } finally {
    ended.abort();
  }
}

async function readAll(
  { connection, signal }: FollowContext,
  receiver: Receiver,
  executionId: string,
  arrived: () => void,
): Promise<void> {
  const from = receiver.progress.positions();
  for await (const item of readOutputOnce(connection, executionId, { from, signal })) {
    arrived();
    await receiver.output(item);
  }
}

async function isDone(context: FollowContext, receiver: Receiver, event: ExecutionEvent): Promise<boolean> {
  if (event.type === 'finished') return true;
  const needsApproval = event.type === 'decided' && event.decision?.verdict === Verdict.NEEDS_APPROVAL;
  return needsApproval && (await isAwaitingApproval(context, receiver));
}

// The decision says that an approval is needed; only the execution's state says whether it is there already.
async function isAwaitingApproval(context: FollowContext, receiver: Receiver): Promise<boolean> {
  const executionId = receiver.executionId();
  if (executionId === undefined || context.waitForApproval) return false;
  const request = { executionId };
  const { execution } = await context.connection.unary(GateService.getExecution, request, context.signal);
  return execution?.state === ExecutionState.AWAITING_APPROVAL;
}
