import { argvSha256, type Command } from '@csc-fleet/common/contract';
import type { Clock } from '@csc-fleet/common/encoding';
import type { Ending } from '@csc-fleet/common/receipt';
import { type LaunchOutcome, pipelineExit } from './launch/index.ts';
import { type CapturedStream, capturedStreams, type OutputSpool, type StreamDigest } from './output/index.ts';
import type { PreparedCommand } from './prepare-command.ts';
import type { Run, StopReason } from './run.ts';

/** How one command went. */
export interface CommandOutcome {
  readonly commandId: string;
  readonly argvSha256: string;
  readonly ended: Ending;
  /** Absent where nothing of it ran. */
  readonly startedAt?: Date;
  readonly endedAt?: Date;
  /** 124, 126 and 127 as in protocol §7. Absent where there is none, as nothing ran or could have. */
  readonly exitCode?: number;
  readonly signal?: string;
  /** For people. Absent where the exit code says it all. */
  readonly error?: string;
  readonly output: Readonly<Record<CapturedStream, StreamDigest>>;
}

/** What a command needs of its run. */
export interface CommandContext {
  readonly run: Run;
  readonly spool: OutputSpool;
  readonly clock: Clock;
  /** Called once the command has been let go. */
  readonly onStarted: () => void;
}

// What a job gets between SIGTERM and SIGKILL when its time is up.
const timeoutGraceMs = 2000;

/** Lets a prepared command run to its end, and reads all that it writes. Never rejects. */
export async function runCommand(
  prepared: PreparedCommand,
  context: CommandContext,
): Promise<CommandOutcome> {
  const { command, process, place } = prepared;
  const { run, spool, clock, onStarted } = context;
  const captured = captureOutput(prepared, spool);
  run.attach(process);
  const startedAt = clock.now();
  let timedOut = false;
  const timer = setTimeout(() => {
    timedOut = true;
    process.terminate(timeoutGraceMs);
  }, command.timeout_sec * 1000);
  process.release();
  const started = await process.started;
  if (started) onStarted();
  const exit = await process.exited;
  clearTimeout(timer);
  const endedAt = clock.now();
  const forced = timedOut ? 'timeout' : run.stopReason;
  await captured;
  place?.close();
  return {
    // That the output could not be kept may show only after the end.
    ...judge(exit, command, run.stopReason === 'output_limit' ? run.stopReason : forced),
    ...identify(command, spool),
    ...(started ? { startedAt, endedAt } : {}),
  };
}

/** The outcome of a command that was next and was never started. */
export function notRun(
  command: Command,
  spool: OutputSpool,
  why: { readonly ended: Ending; readonly exitCode?: number; readonly error: string },
): CommandOutcome {
  return { ...identify(command, spool), ...why };
}

function identify(
  command: Command,
  spool: OutputSpool,
): Pick<CommandOutcome, 'commandId' | 'argvSha256' | 'output'> {
  const digest = (stream: CapturedStream) => spool.digest(command.id, stream);
  const output = { stdout: digest('stdout'), stderr: digest('stderr') };
  return { commandId: command.id, argvSha256: argvSha256(command), output };
}

// Begins at once, as a pipe that nobody reads blocks its writer.
async function captureOutput({ command, process }: PreparedCommand, spool: OutputSpool): Promise<void> {
  await Promise.all(capturedStreams.map((stream) => spool.capture(command.id, stream, process[stream])));
  await spool.settle();
}

type Judgement = Pick<CommandOutcome, 'ended' | 'exitCode' | 'signal' | 'error'>;

type Forced = 'timeout' | StopReason;

const causes: Readonly<Record<Forced, (command: Command) => string>> = {
  timeout: ({ timeout_sec: seconds }) => `it timed out after ${seconds} s`,
  cancelled: () => 'it was cancelled',
  output_limit: () => "its output could not be kept: this host's disk refused it",
};

function judge(exit: LaunchOutcome, command: Command, forced: Forced | undefined): Judgement {
  if (exit.kind === 'not_started') return { ended: 'refused', exitCode: exit.code, error: exit.message };
  if (exit.kind === 'infrastructure')
    return { ended: 'refused', error: `the sandbox failed: ${exit.message}` };
  const ended = forced ?? 'cancelled';
  if (exit.kind === 'withdrawn') return { ended, error: causes[ended](command) };
  const { exitCode, signal } = pipelineExit(exit.segments);
  const own = { exitCode, ...(signal === undefined ? {} : { signal }) };
  if (forced === 'timeout') return { ...own, exitCode: 124, ended: forced, error: causes.timeout(command) };
  // A job that ends in order when it is told to has still not done what it was started for.
  if (forced !== undefined)
    return { ...own, exitCode: exitCode || 143, ended: forced, error: causes[forced](command) };
  if (signal === undefined) return { ...own, ended: 'exit' };
  return { ...own, ended: 'signal', error: `it was ended by ${signal}` };
}

/** True for a command after which the next one may start. */
export function hasSucceeded({ ended, exitCode }: CommandOutcome): boolean {
  return ended === 'exit' && exitCode === 0;
}
