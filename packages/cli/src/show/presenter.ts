import type { ExecutionEvent, RunHandlers } from '@csc-fleet/client/offline';
import { readRefusal } from '@csc-fleet/common/errors';
import { type Execution, ExecutionState } from '@csc-fleet/common/messages';
import { adviceOn } from '../action/act.ts';
import { exitCodes } from '../action/exit-codes.ts';
import { createProgress, type Outputs } from '../terminal/progress.ts';
import { indifferent, note, type Sink, writeErr, writeJson, writeOut } from '../terminal/streams.ts';
import { createPaint, readable } from '../terminal/text.ts';
import {
  artifactJson,
  decisionJson,
  eventJson,
  executionJson,
  outputJson,
  resolutionJson,
} from './messages-json.ts';
import { narrate, narrateBriefly } from './narrate.ts';
import { describeCuts, describeLeftOut, describeOutcome, type Outcome, type Shown } from './outcome.ts';

/** Shows an execution as it goes on. */
export interface Presenter {
  readonly handlers: RunHandlers;
  /** Something that is going on before there are events. */
  now(text: string): void;
  /** Something of our own that a person should read at once, on a line of its own on stderr. */
  alert(text: string): void;
  /** Something of our own that is good to know: not where only the command's own output is wanted. */
  tell(text: string): void;
  /**
   * How it ended.
   * @param endsWith this process's exit code. Default: the outcome's
   */
  finish(outcome: Outcome, endsWith?: number): Promise<void>;
  /** Takes away what is live, where it ends otherwise. */
  stop(): void;
}

interface PresenterOptions {
  /** JSON lines on stdout, and nothing else anywhere. */
  readonly json: boolean;
  /** Only the command's own output. */
  readonly quiet: boolean;
  /** Gate and executor are this process: who decides and where it runs goes without saying. */
  readonly brief?: boolean;
  /** What runs has the terminal for itself, from its start to its end. */
  readonly tty?: boolean;
  /** Of the contract, where it is known. */
  readonly expectedOutputs?: readonly string[];
}

/** The command's stdout and stderr go to ours, byte for byte; what we say ourselves goes to stderr. */
export async function createPresenter(options: PresenterOptions): Promise<Presenter> {
  // A run in this process must come to its receipt, read or not; one on a gate does so without us.
  const outputs = options.brief
    ? { out: indifferent(writeOut), err: indifferent(writeErr) }
    : { out: writeOut, err: writeErr };
  return options.json ? createJsonPresenter(outputs) : createHumanPresenter(options, outputs);
}

async function createHumanPresenter(
  { quiet, brief, tty = false, expectedOutputs }: PresenterOptions,
  outputs: Outputs,
): Promise<Presenter> {
  const progress = await createProgress(quiet || tty, outputs);
  let hasTerminal = false;
  const onEvent = (event: ExecutionEvent): void => {
    if (tty && event.type === 'started') hasTerminal = true;
    if (hasTerminal) return;
    const { line, now } = brief === true ? narrateBriefly(event) : narrate(event);
    if (line !== undefined) progress.line(line);
    if (now !== undefined) progress.now(now);
  };
  const shown: Shown = { stdout: 0, stderr: 0 };
  const counting =
    (stream: keyof Shown, write: Sink): Sink =>
    (data) => {
      shown[stream] += data.length;
      return write(data);
    };
  const onStdout = counting('stdout', progress.out);
  const onStderr = counting('stderr', progress.err);
  return {
    handlers: { onEvent, onStdout, onStderr, onTerminal: tty ? outputs.out : showSafely(progress.out) },
    now: progress.now,
    alert: progress.alert,
    tell: progress.line,
    finish: async (outcome, endsWith = outcome.exitCode) => {
      progress.stop();
      hasTerminal = false;
      if (!quiet) note(describeOutcome(outcome, createPaint(process.stderr)));
      // Quiet or not, and last: what is missing cannot be seen.
      for (const line of describeLeftOut(outcome.receipt, expectedOutputs)) progress.alert(line);
      for (const line of describeCuts(outcome.receipt, shown)) progress.alert(line);
      if (endsWith === exitCodes.outputCut && outcome.exitCode !== endsWith)
        progress.alert(`csc: ends with ${endsWith} for that, and with --allow-truncated does not`);
    },
    stop: progress.stop,
  };
}

// Whoever did not ask for it on this terminal is not to have it spoken to.
function showSafely(write: Sink): (data: Buffer) => Promise<void> {
  return (data) => write(process.stdout.isTTY ? readable(data) : data);
}

function createJsonPresenter({ out }: Outputs): Presenter {
  const show = (value: object): Promise<void> => writeJson(value, out);
  const write: RunHandlers = {
    onEvent: (event) => show(eventJson(event)),
    onStdout: (_, chunk) => show(outputJson(chunk)),
    onStderr: (_, chunk) => show(outputJson(chunk)),
    onTerminal: (_, chunk) => show(outputJson(chunk)),
    onOutputEnd: (end) => show(outputJson(end)),
  };
  return {
    handlers: write,
    now: () => {},
    alert: note,
    tell: () => {},
    finish: (outcome) => show({ type: 'result', ...outcomeJson(outcome) }),
    stop: () => {},
  };
}

// Why nothing ran although the policy allows it, and what to do.
function refusalJson({ state, error }: Execution): object {
  const refusal = state === ExecutionState.BLOCKED ? readRefusal(error) : undefined;
  return refusal === undefined ? {} : { refusal: { ...refusal, remedy: adviceOn(error) } };
}

/** The whole outcome as one document. */
export function outcomeJson(outcome: Outcome): object {
  const { execution, decision, receiptJson, contradiction, resolution } = outcome;
  return {
    ...executionJson(execution),
    ...(contradiction === undefined ? {} : { gate_said: contradiction }),
    ...refusalJson(execution),
    decision: decision && decisionJson(decision),
    resolution: resolution && resolutionJson(resolution),
    receipt: artifactJson(receiptJson),
  };
}
