import { exitCodes } from '../exit-codes.ts';
import { plainLine } from '../terminal/plain-text.ts';
import { note } from '../terminal/streams.ts';

/** What Ctrl-C does while an execution is followed. */
export interface InterruptSteps {
  /** The first time: asks for the execution's end, which is then waited for. */
  cancel(executionId: string): Promise<unknown>;
  /** What to say then of what the next time does. */
  readonly hint: string;
  /** Every further time. `undefined`: the execution has no name yet. */
  again(executionId: string | undefined): void;
}

/** Handles SIGINT and SIGTERM until it is disposed. */
export interface Interrupts extends Disposable {
  /** Says which execution it is; an interrupt that came before counts now. */
  identify(executionId: string): void;
}

const signals = ['SIGINT', 'SIGTERM'] as const;

/**
 * Ctrl-C where somebody only looks on: it ends the looking, whatever state the execution is in. It may be another
 * person's terminal that watches over it.
 */
export function leaveOnInterrupt(executionId: string): Interrupts {
  const onSignal = (): never => leave(executionId);
  for (const signal of signals) process.on(signal, onSignal);
  return {
    identify: () => {},
    [Symbol.dispose]: () => {
      for (const signal of signals) process.off(signal, onSignal);
    },
  };
}

/** Says how to come back and how to end it, and ends this process; the execution goes on. */
export function leave(executionId: string | undefined): never {
  const id = plainLine(executionId ?? '');
  const hint = `it goes on; csc get ${id} --follow takes it up again, csc cancel ${id} ends it`;
  note(executionId === undefined ? 'csc: left' : `csc: left; ${hint}`);
  process.exit(exitCodes.interrupted);
}

export function handleInterrupts(steps: InterruptSteps): Interrupts {
  let executionId: string | undefined;
  let interrupted = false;
  const cancel = (id: string): void => {
    note(`csc: asking for its end; ${steps.hint}`);
    steps.cancel(id).catch((error: unknown) => {
      note(plainLine(`csc: that failed: ${error instanceof Error ? error.message : error}`));
    });
  };
  const onSignal = (): void => {
    if (interrupted) steps.again(executionId);
    else if (executionId !== undefined) cancel(executionId);
    else note(`csc: asking for its end as soon as it has begun; ${steps.hint}`);
    interrupted = true;
  };
  for (const signal of signals) process.on(signal, onSignal);
  return {
    identify: (id) => {
      const first = executionId === undefined;
      executionId = id;
      if (first && interrupted) cancel(id);
    },
    [Symbol.dispose]: () => {
      for (const signal of signals) process.off(signal, onSignal);
    },
  };
}
