import type { RunHandlers } from '@csc-fleet/client';
import { CscError, isCscError } from '@csc-fleet/common/errors';
import { isGateAway } from '../action/act.ts';
import { exitCodes } from '../action/exit-codes.ts';
import { checkFileWritable, writeReceipt } from '../files/write-file.ts';
import { isBrokenPipe } from '../terminal/streams.ts';
import { plainLine } from '../terminal/text.ts';
import { quoteArgument } from './contract.ts';
import { exitCodeFor, type Outcome, type Wanted } from './outcome.ts';
import type { Presenter } from './presenter.ts';

/** An execution that is to be shown to its end. */
interface Presentation {
  /** What Ctrl-C does meanwhile. */
  readonly interrupts: Interrupts;
  readonly receiptOut: string | undefined;
  readonly run: (handlers: RunHandlers) => Promise<Outcome>;
  /** What a success is not enough without. Absent: it is. */
  readonly wanted?: Wanted;
  /** What takes it up again, once this process has left it. Default: csc get --follow. */
  readonly back?: Back;
  /** The arguments that name the gate and its caller again, as `gateArguments` has them. */
  readonly reach: readonly string[];
  /** Asks whether it has ended, where its events have not said so before nobody read its output any more. */
  readonly hasEnded?: (executionId: string) => Promise<boolean>;
}

/** How to come back to an execution: looking on at its output, or on its terminal. */
type Back = 'follow' | 'attach';

/** Shows an execution to its end. Resolves to its exit code. */
export async function present(
  presenter: Presenter,
  { interrupts, receiptOut, run, wanted, back, reach, hasEnded }: Presentation,
): Promise<number> {
  const { onEvent } = presenter.handlers;
  let executionId: string | undefined;
  let isOver = false;
  try {
    if (receiptOut !== undefined) checkFileWritable(receiptOut, '--receipt-out');
    const outcome = await run({
      ...presenter.handlers,
      onEvent: (event) => {
        executionId = event.executionId;
        isOver ||= event.type === 'finished';
        interrupts.identify(event.executionId);
        return onEvent?.(event);
      },
    });
    const code = wanted === undefined ? outcome.exitCode : exitCodeFor(outcome, wanted);
    await presenter.finish(outcome, code);
    if (receiptOut !== undefined && outcome.receiptJson.length > 0) {
      writeReceipt(receiptOut, outcome.receiptJson);
      presenter.tell(`csc: receipt written to ${receiptOut}`);
    }
    return code;
  } catch (error) {
    if (isBrokenPipe(error)) {
      if (!isOver && executionId !== undefined)
        isOver = (await hasEnded?.(executionId).catch(() => false)) ?? false;
      presenter.alert(isOver ? 'csc: left; it has ended' : describeLeft(executionId, back));
    }
    throw executionId === undefined || isOver ? error : sayThatItGoesOn(error, executionId, back, reach);
  } finally {
    presenter.stop();
  }
}

// What ended is the way to the gate: neither is the address wrong, nor is there anything to hand in again.
function sayThatItGoesOn(
  error: unknown,
  executionId: string,
  back: Back | undefined,
  reach: readonly string[],
): unknown {
  if (!isCscError(error) || !isGateAway(error)) return error;
  const { code, message, faults, cause, idempotencyKey, retryAfterMs } = error;
  const again = [...takingUp(executionId, back), ...reach].map(quoteArgument).join(' ');
  const comes = `execution ${plainLine(executionId)} goes on without this command: once the gate is there again, ${again} takes it up`;
  return new CscError(code, `${message}; ${comes}`, {
    cause,
    faults,
    executionId,
    ...(idempotencyKey === undefined ? {} : { idempotencyKey }),
    ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
  });
}

function takingUp(executionId: string, back: Back = 'follow'): string[] {
  return back === 'attach' ? ['csc', 'attach', executionId] : ['csc', 'get', executionId, '--follow'];
}

/** What Ctrl-C does while an execution is followed. */
interface InterruptSteps {
  /** The first time: asks for the execution's end, which is then waited for. */
  cancel(executionId: string): Promise<unknown>;
  /** What to say then of what the next time does. */
  readonly hint: string;
  /** Every further time. `undefined`: the execution has no name yet. */
  again(executionId: string | undefined): void;
  /**
   * Ends this process, where its end cannot be asked for or does not come within `endWithinMs`: timeout(1) and CI runners
   * ask once. Absent: it is this process that runs it, and that ends it.
   */
  giveUp?(executionId: string | undefined, why: string): never;
}

/** How long the end that was asked for is waited for, in milliseconds: some times what a gate lets a command have for it. */
const endWithinMs = 30_000;

/** Handles SIGINT and SIGTERM until it is disposed. */
interface Interrupts extends Disposable {
  /** Says which execution it is; an interrupt that came before counts now. */
  identify(executionId: string): void;
}

const signals = ['SIGINT', 'SIGTERM'] as const;

/**
 * Ctrl-C where somebody only looks on: it ends the looking, whatever state the execution is in. It may be another
 * person's terminal that watches over it.
 */
export function leaveOnInterrupt(
  executionId: string,
  alert: (text: string) => void,
  back?: Back,
): Interrupts {
  const onSignal = (): never => leave(executionId, alert, back);
  for (const signal of signals) process.on(signal, onSignal);
  return {
    identify: () => {},
    [Symbol.dispose]: () => {
      for (const signal of signals) process.off(signal, onSignal);
    },
  };
}

/** Says how to come back and how to end it, and ends this process; the execution goes on. */
export function leave(executionId: string | undefined, alert: (text: string) => void, back?: Back): never {
  alert(describeLeft(executionId, back));
  process.exit(exitCodes.interrupted);
}

function describeLeft(executionId: string | undefined, back?: Back): string {
  if (executionId === undefined) return 'csc: left';
  const id = plainLine(executionId);
  const again = takingUp(id, back).join(' ');
  return `csc: left; it goes on; ${again} takes it up again, csc cancel ${id} ends it`;
}

/** As `leave`, where the end that was asked for has not come: what is known of it is said, and how to see the rest. */
export function giveUp(
  executionId: string | undefined,
  why: string,
  alert: (text: string) => void,
  back?: Back,
): never {
  const id = executionId === undefined ? undefined : plainLine(executionId);
  const again = takingUp(id ?? '', back).join(' ');
  const look =
    id === undefined
      ? 'whether it has begun is not known: csc list shows it, csc cancel ID ends it'
      : `it may go on: csc get ${id} shows how it stands, ${again} takes it up again, csc cancel ${id} asks for its end once more`;
  alert(`csc: ${why}; left; ${look}`);
  process.exit(exitCodes.interrupted);
}

/** Signals that come within so many milliseconds are one. */
const onceMs = 300;

/**
 * @param alert says what Ctrl-C has done and does next
 * @param source where the signals come from
 */
export function handleInterrupts(
  steps: InterruptSteps,
  alert: (text: string) => void,
  source: NodeJS.EventEmitter = process,
): Interrupts {
  let executionId: string | undefined;
  let interruptedAt: number | undefined;
  let patience: NodeJS.Timeout | undefined;
  let isOver = false;
  const cancel = (id: string): void => {
    alert(`csc: asking for its end; ${steps.hint}`);
    steps.cancel(id).catch((error: unknown) => {
      const why = plainLine(`that failed: ${error instanceof Error ? error.message : error}`);
      // Where it has ended by itself meanwhile, its receipt is what counts.
      if (isOver || steps.giveUp === undefined) alert(`csc: ${why}`);
      else steps.giveUp(id, why);
    });
  };
  const onFirst = (): void => {
    if (executionId !== undefined) cancel(executionId);
    else alert(`csc: asking for its end as soon as it has begun; ${steps.hint}`);
    const why = `its end has not come within ${endWithinMs / 1000} s`;
    patience = setTimeout(() => steps.giveUp?.(executionId, why), endWithinMs).unref();
  };
  const onSignal = (): void => {
    const now = performance.now();
    // timeout(1) and CI runners signal the process and its group: that is once.
    if (interruptedAt !== undefined && now - interruptedAt < onceMs) return;
    if (interruptedAt === undefined) onFirst();
    else steps.again(executionId);
    interruptedAt ??= now;
  };
  for (const signal of signals) source.on(signal, onSignal);
  return {
    identify: (id) => {
      const first = executionId === undefined;
      executionId = id;
      if (first && interruptedAt !== undefined) cancel(id);
    },
    [Symbol.dispose]: () => {
      isOver = true;
      clearTimeout(patience);
      for (const signal of signals) source.off(signal, onSignal);
    },
  };
}
