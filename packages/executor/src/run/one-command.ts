import { posix } from 'node:path';
import { argvSha256, argvs, type Command } from '@csc-fleet/common/contract';
import type { Clock } from '@csc-fleet/common/encoding';
import type { Ending } from '@csc-fleet/common/receipt';

import { type LaunchOutcome, pipelineExit } from '@csc-fleet/sandbox/launch';
import type { RunTerminal } from '../admission/grant.ts';
import type { EgressSummary } from '../egress/index.ts';
import type { CommandOutcome, FileTime, Measurer, Written } from '../evidence/index.ts';
import { type CapturedStream, type OutputFilter, type OutputSpool, sealingFilter } from '../output/index.ts';

import type { RunSecrets } from '../secrets/index.ts';
import type { LiveRun, StopReason } from './live-run.ts';
import type { PreparedCommand } from './prepare.ts';
import { watchWrites } from './write-watch.ts';

/** What a command needs of its run. */
export interface CommandContext {
  readonly run: LiveRun;
  readonly spool: OutputSpool;
  readonly secrets: RunSecrets;
  /** Whom what it prints is sealed to, 32 bytes. Absent: it is not. */
  readonly sealTo?: Uint8Array | undefined;
  /** Absent: it has none. */
  readonly terminal: RunTerminal | undefined;
  readonly clock: Clock;
  /** The write scopes of the commands so far, when the first of them began, and what was seen there since. */
  readonly writes: {
    readonly roots: readonly string[];
    readonly since?: FileTime;
    readonly before: Written;
    readonly measurer: Measurer;
  };
  /** Called once the command has been let go. */
  readonly onStarted: () => void;
}

// What a job gets between SIGTERM and SIGKILL when its time is up.
const timeoutGraceMs = 2000;

/** Lets a prepared command that is ready (`waitUntilReady`) run to its end, and reads all that it writes. Never rejects. */
export async function runCommand(
  prepared: PreparedCommand,
  context: CommandContext,
): Promise<CommandOutcome> {
  const { command, process, place } = prepared;
  const { run, spool, clock, onStarted } = context;
  const captured = captureOutput(prepared, context);
  run.attach(process);
  run.input = context.terminal?.input;
  // It was waited for before the ticket was spent, or while there was still another try.
  const egress = await prepared.egress;
  const problem = (await place?.mayStart?.()) === false ? astray : undefined;
  const forced = new ForcedEnd(process, run);
  let isOver = false;
  const startedAt = clock.now();
  const timer = setTimeout(() => forced.end('timeout', timeoutGraceMs), command.timeout_sec * 1000);
  // Its relay has failed: what is left of it has nothing to be typed into, and may not mind that.
  void context.terminal?.ends.lost.then(() => isOver || forced.end('terminal_lost', timeoutGraceMs));
  const watch = beginWatch(prepared, context, () => forced.end('write_limit', 0));
  if (problem === undefined) process.release();
  else process.terminate(0);
  const started = await process.started;
  if (started) onStarted();
  const exit = await process.exited;
  isOver = true;
  run.input?.end('the command has ended');
  clearTimeout(timer);
  const endedAt = clock.now();
  const summary = await egress?.finish();
  // Takes away what was made for it and never written, which is then not counted.
  place?.close();
  const written = await watch?.finish();
  // Judged by now: that the output could not be kept may show only after the end.
  await captured;
  // The sandbox said that it was there and fell apart before the command began: another job swapped a directory under it.
  const ran = started && exit.kind !== 'infrastructure';
  return {
    ...(problem === undefined
      ? withHints(judge(exit, command, forced.reason), prepared, explainSegment(exit, command), summary)
      : { ended: 'refused', error: problem }),
    ...identify(command, spool, context.terminal),
    ...(ran ? { startedAt, endedAt } : {}),
    ...(summary === undefined ? {} : { egress: summary }),
    ...(written === undefined ? {} : { written }),
  };
}

/** Why a command is being ended before it ends by itself: the first reason counts. */
class ForcedEnd {
  readonly #process: PreparedCommand['process'];
  readonly #run: LiveRun;
  #own: OwnReason | undefined;

  constructor(process: PreparedCommand['process'], run: LiveRun) {
    this.#process = process;
    this.#run = run;
  }

  end(reason: OwnReason, graceMs: number): void {
    if (this.#run.stopReason === undefined) this.#own ??= reason;
    this.#process.terminate(graceMs);
  }

  get reason(): Forced | undefined {
    const { stopReason } = this.#run;
    return stopReason === 'output_limit' ? stopReason : (this.#own ?? stopReason);
  }
}

const astray = 'its sandbox was not built as planned: a directory above a write scope was changed meanwhile';

function beginWatch(
  { place, process }: PreparedCommand,
  { writes: { roots, since, before, measurer } }: CommandContext,
  onExceeded: () => void,
): ReturnType<typeof watchWrites> | undefined {
  if (since === undefined || roots.length === 0 || place === undefined) return undefined;
  const most = place.mostWritten === undefined ? {} : { most: place.mostWritten };
  const processes = () => process.processes();
  return watchWrites({ roots, since, before, measurer, processes, onExceeded, ...most });
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
  terminal?: RunTerminal,
): Pick<CommandOutcome, 'commandId' | 'argvSha256' | 'output'> {
  const digest = (stream: CapturedStream) => spool.digest(command.id, stream);
  const output = { stdout: digest('stdout'), stderr: digest('stderr') };
  const own = { commandId: command.id, argvSha256: argvSha256(command) };
  if (terminal === undefined) return { ...own, output };
  const recording = digest('recording');
  const truncated = recording.truncated || terminal.recorder.isFull;
  return {
    ...own,
    output: { ...output, terminal: digest('terminal'), recording: { ...recording, truncated } },
  };
}

// Begins at once, as a pipe that nobody reads blocks its writer.
async function captureOutput(
  { command: { id }, process }: PreparedCommand,
  { spool, secrets, terminal, sealTo }: CommandContext,
): Promise<void> {
  const mask = (): ReturnType<RunSecrets['filter']> => secrets.filter();
  const filter = (stream: 'stdout' | 'stderr'): OutputFilter | undefined =>
    sealTo === undefined
      ? mask()
      : sealingFilter(mask(), sealTo, { executionId: spool.executionId, commandId: id, stream });
  await Promise.all([
    spool.capture(id, 'stdout', process.stdout, filter('stdout')),
    spool.capture(id, 'stderr', process.stderr, filter('stderr')),
    ...(terminal === undefined
      ? []
      : [
          captureTerminal(id, process, terminal, spool, mask()),
          spool.capture(id, 'recording', terminal.recorder.stream),
        ]),
  ]);
  await spool.settle();
}

// What is shown goes through the mask, and from there into the log and into the recording.
async function captureTerminal(
  commandId: string,
  { terminal: shown, exited }: PreparedCommand['process'],
  { recorder }: RunTerminal,
  spool: OutputSpool,
  mask: ReturnType<RunSecrets['filter']>,
): Promise<void> {
  const record = (bytes: Buffer): Buffer => {
    recorder.shown(bytes);
    return bytes;
  };
  const filter: OutputFilter = {
    push: (chunk) => record(mask?.push(chunk) ?? chunk),
    end: () => record(mask?.end() ?? Buffer.alloc(0)),
  };
  if (shown !== undefined) await spool.capture(commandId, 'terminal', shown, filter);
  const exit = await exited;
  const code = exit.kind === 'not_started' ? exit.code : 126;
  recorder.ended(exit.kind === 'exited' ? pipelineExit(exit.segments).exitCode : code);
}

/** Said of a command that its host could not start once the ticket was spent. */
export const nothingOfItRan =
  'nothing of this command ran; where it is the first one, the contract may be submitted again, under a new key';

type Judgement = Pick<CommandOutcome, 'ended' | 'exitCode' | 'signal' | 'error' | 'oomKills'>;

type OwnReason = 'timeout' | 'write_limit' | 'terminal_lost';

type Forced = OwnReason | StopReason;

interface Cause {
  readonly ended: Ending;
  readonly error: (command: Command) => string;
}

const causes: Readonly<Record<Forced, Cause>> = {
  timeout: { ended: 'timeout', error: ({ timeout_sec: seconds }) => `it timed out after ${seconds} s` },
  terminal_lost: {
    ended: 'cancelled',
    error: () => 'its terminal was lost, as the process of this host that had it ended; it was ended, too',
  },
  cancelled: { ended: 'cancelled', error: () => 'it was cancelled' },
  stopped: { ended: 'cancelled', error: () => 'nobody cancelled it: its host was stopped, which ended it' },
  fault: { ended: 'cancelled', error: () => 'the executor itself failed at it, and ended it' },
  revoked: {
    ended: 'cancelled',
    error: () => 'the owners have revoked it or frozen the fleet, and it was ended',
  },
  output_limit: {
    ended: 'output_limit',
    error: () => "its output could not be kept: this host's disk refused it",
  },
  write_limit: {
    ended: 'output_limit',
    error: () =>
      'it wrote more to its write scopes than write_bytes or write_files allow: the receipt has both limits, and what was written',
  },
};

/** What a receipt says of a command that was ended, or never started, for this reason. */
export function endingOf(reason: StopReason): Ending {
  return causes[reason].ended;
}

function judge(exit: LaunchOutcome, command: Command, forced: Forced | undefined): Judgement {
  if (exit.kind === 'not_started') return { ended: 'refused', exitCode: exit.code, error: exit.message };
  if (exit.kind === 'infrastructure')
    return { ended: 'refused', error: `the sandbox failed: ${exit.message}; ${nothingOfItRan}` };
  const cause = causes[forced ?? 'cancelled'];
  if (exit.kind === 'withdrawn') return { ended: cause.ended, error: cause.error(command) };
  const { exitCode, signal } = pipelineExit(exit.segments);
  const own = { exitCode, ...(signal === undefined ? {} : { signal }) };
  if (exit.oomKills !== undefined) return { ...own, ...outOfMemory(exit.oomKills, exitCode) };
  if (forced !== undefined) {
    // A job that ends in order when it is told to has still not done what it was started for.
    const code = forced === 'timeout' ? 124 : exitCode || 143;
    return { ...own, exitCode: code, ended: cause.ended, error: cause.error(command) };
  }
  if (signal === undefined) return { ...own, ended: 'exit' };
  return { ...own, ended: 'signal', error: `it was ended by ${signal}` };
}

// An exit code says nothing of what a sandbox does that a host does not.
function withHints(
  judgement: Judgement,
  { place }: Pick<PreparedCommand, 'place'>,
  segment: readonly string[],
  egress: EgressSummary | undefined,
): Judgement {
  const { ended, exitCode, error } = judgement;
  if (ended === 'refused' || (ended === 'exit' && exitCode === 0)) return judgement;
  const isPlainFailure = ended === 'exit' && error === undefined;
  const hints = [
    ...(error === undefined ? [] : [error]),
    ...(ended === 'exit' || ended === 'signal' ? segment : []),
    ...(isPlainFailure ? [...explainShellCode(exitCode, place), ...(place?.hints ?? [])] : []),
    ...explainDenied(egress),
  ];
  return hints.length === 0 ? judgement : { ...judgement, error: hints.join('; ') };
}

// Which one of a pipeline it was, and by which rule it counts: shells go by the last one (POSIX), unless told pipefail.
function explainSegment(exit: LaunchOutcome, command: Command): string[] {
  if (exit.kind !== 'exited' || exit.segments.length < 2) return [];
  const at = exit.segments.findIndex(({ exitCode }) => exitCode !== 0);
  const failed = exit.segments[at];
  if (failed === undefined) return [];
  const program = posix.basename(argvs(command)[at]?.[0] ?? '').slice(0, 64);
  const rule = `it was segment ${at + 1} of ${exit.segments.length} (${program}): the first segment of a pipeline that fails counts, and not the last one`;
  if (failed.signal !== 'SIGPIPE' || at === exit.segments.length - 1) return [rule];
  return [
    rule,
    'SIGPIPE says that a later segment had ended without reading all that was written to it: take one that reads to the end, such as sed -n 1p for head -n 1',
  ];
}

// POSIX, sh, Exit Status for Commands. Other programs say other things by these codes, so it is not said as a fact.
function explainShellCode(exitCode: number | undefined, place: PreparedCommand['place']): string[] {
  if (place?.launchIn.kind !== 'sandbox' || (exitCode !== 126 && exitCode !== 127)) return [];
  const says = exitCode === 127 ? 'that a program is not there' : 'that a program cannot be executed';
  return [
    `by ${exitCode} a shell says ${says}: the sandbox looks through PATH=${place.launchIn.plan.environment['PATH']}`,
  ];
}

const shownDenials = 5;

function explainDenied(egress: EgressSummary | undefined): string[] {
  if (egress === undefined || egress.denied === 0) return [];
  const denied = egress.hosts.filter(({ verdict }) => verdict === 'denied').slice(0, shownDenials);
  const shown = denied.map(({ host, port, reason, count }) => `${host}:${port} (${reason}) ${count}×`);
  return [`its way to the network was refused ${egress.denied}×: ${shown.join(', ') || 'to too many hosts'}`];
}

// The whole command counts as ended by it, even where the process that was killed was not the one that was waited for.
function outOfMemory(oomKills: number, exitCode: number): Judgement {
  const error = 'it needed more memory than memory_bytes allows, and the kernel killed it';
  return { ended: 'out_of_memory', oomKills, exitCode: exitCode || 137, error };
}
