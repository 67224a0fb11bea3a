import { Readable } from 'node:stream';
import type { LaunchedProcess, LaunchOutcome, OutputReadable } from './launcher.ts';
import type { CommandOutput } from './output-stream.ts';
import type { SegmentEnd, SegmentProcess } from './segment.ts';

export interface Supervised {
  readonly segments: readonly SegmentProcess[];
  readonly stdout: CommandOutput;
  readonly stderr: CommandOutput;
  readonly hold: boolean;
  /** Whether there is something to wait for before the segments are let go. */
  readonly builds: boolean;
  /** Lets all segments start. */
  letGo(): void;
  /** Gives back what the launch holds. Called once, when no process is left of those that were started. */
  cleanUp(): void | Promise<void>;
  /** Absent: nobody keeps count. */
  processes?(): readonly number[];
  /** Of the processes; called once, before `cleanUp`. Absent: none can be counted. */
  oomKills?(): number;
}

/** Makes one command of its segments: they are held, released, terminated and waited for together. */
export function supervise(supervised: Supervised): LaunchedProcess {
  const { segments, stdout, stderr } = supervised;
  const started = Promise.withResolvers<boolean>();
  const built = Promise.all(segments.map((it) => it.built)).then((all) => all.every(Boolean));
  let state: 'held' | 'released' | 'withdrawn' | 'over' = 'held';
  const killing = createDeadline(() => {
    for (const segment of segments) segment.kill();
  });
  const exited = collect(segments, killing).then(async (ends): Promise<LaunchOutcome> => {
    const oomKills = supervised.oomKills?.() ?? 0;
    const outcome =
      state === 'withdrawn' ? ({ kind: 'withdrawn' } as const) : toOutcome(ends, state === 'held', oomKills);
    state = 'over';
    killing.cancel();
    started.resolve(false);
    await supervised.cleanUp();
    stdout.settle();
    stderr.settle();
    return outcome;
  });
  const release = (): void => {
    if (state !== 'held') return;
    state = 'released';
    stderr.mute(false);
    supervised.letGo();
    void built.then(started.resolve);
  };
  const terminate = (graceMs: number): void => {
    if (state === 'held') state = 'withdrawn';
    if (state === 'withdrawn' || graceMs <= 0) killing.bringForward(0);
    if (state !== 'released') return;
    if (!killing.isSet()) for (const segment of segments) segment.terminate();
    killing.bringForward(graceMs);
  };
  if (!supervised.hold) release();
  return {
    stdout,
    stderr,
    release,
    exited,
    terminate,
    ready: supervised.builds ? built : Promise.resolve(true),
    started: started.promise,
    inits: collectInits(segments),
    processes: () => (state === 'over' ? [] : (supervised.processes?.() ?? [])),
  };
}

/** What a launch that could not even begin looks like to its caller. */
export function endedProcess(outcome: LaunchOutcome): LaunchedProcess {
  return {
    stdout: noOutput(),
    stderr: noOutput(),
    release: () => undefined,
    ready: Promise.resolve(outcome.kind !== 'infrastructure'),
    started: Promise.resolve(false),
    inits: Promise.resolve([]),
    processes: () => [],
    exited: Promise.resolve(outcome),
    terminate: () => undefined,
  };
}

/** A stream that has ended before it began. */
export function noOutput(): OutputReadable {
  return Object.assign(Readable.from([]), { recycle: () => undefined });
}

/** Turns what a launch throws, for want of descriptors or processes, into its outcome. */
export function orInfrastructure(launch: () => LaunchedProcess): LaunchedProcess {
  try {
    return launch();
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    const message = `the command could not be launched: ${reason}`;
    return endedProcess({ kind: 'infrastructure', message, cause: error });
  }
}

async function collectInits(segments: readonly SegmentProcess[]): Promise<readonly number[]> {
  const inits = await Promise.all(segments.map(({ init }) => init));
  const known = inits.flatMap((init) => init ?? []);
  return known.length === segments.length ? known : [];
}

// A pipeline of which one segment failed to start has nothing left to do.
async function collect(segments: readonly SegmentProcess[], killing: Deadline): Promise<SegmentEnd[]> {
  return await Promise.all(
    segments.map(async ({ ended }) => {
      const end = await ended;
      if (end.kind === 'failed') killing.bringForward(0);
      return end;
    }),
  );
}

function toOutcome(ends: readonly SegmentEnd[], held: boolean, oomKills: number): LaunchOutcome {
  const failed = ends.find((end) => end.kind === 'failed');
  if (failed !== undefined) return { ...failed, kind: 'infrastructure' };
  const [only] = ends;
  if (ends.length === 1 && only?.kind === 'not_started') return { kind: 'not_started', ...only.reason };
  // Nothing but a kill from outside ends what was never let go.
  if (held)
    return { kind: 'infrastructure', message: 'the sandbox was killed before the command was let go' };
  return { kind: 'exited', segments: ends.flatMap(toExit), ...(oomKills === 0 ? {} : { oomKills }) };
}

// In a pipeline the other segments did run, so a program that could not is a segment that failed.
function toExit(end: SegmentEnd) {
  if (end.kind === 'exit') return [end.exit];
  return end.kind === 'not_started' ? [{ exitCode: end.reason.code }] : [];
}

interface Deadline {
  isSet(): boolean;
  /** Sets it, or makes it earlier; never later. Milliseconds from now. */
  bringForward(ms: number): void;
  cancel(): void;
}

function createDeadline(act: () => void): Deadline {
  let at = Number.POSITIVE_INFINITY;
  let timer: NodeJS.Timeout | undefined;
  return {
    isSet: () => at !== Number.POSITIVE_INFINITY,
    bringForward(ms) {
      const wanted = ms <= 0 ? 0 : performance.now() + ms;
      if (wanted >= at) return;
      at = wanted;
      clearTimeout(timer);
      if (wanted === 0) act();
      else timer = setTimeout(act, ms);
    },
    cancel: () => clearTimeout(timer),
  };
}
