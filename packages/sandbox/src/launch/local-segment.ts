import { type ChildProcess, spawn } from 'node:child_process';
import { statSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { guarded } from '@csc-fleet/common/errors';
import { sendSignal, withUmask } from '../host/index.ts';
import type { LocalPlace } from './launcher.ts';
import { type SegmentEnd, type SegmentProcess, signalExit } from './segment.ts';

/** A program on the host itself. It starts with `start`, or never, if `kill` comes before. */
export interface LocalSegment extends SegmentProcess {
  start(): void;
}

/** Prepares a program in a process group of its own, by which it is killed. */
export function prepareLocalSegment(
  argv: readonly string[],
  place: LocalPlace,
  stdio: readonly (number | 'ignore')[],
): LocalSegment {
  const built = Promise.withResolvers<boolean>();
  const ended = Promise.withResolvers<SegmentEnd>();
  let child: ChildProcess | undefined;
  let killed = false;
  const end = (value: SegmentEnd): void => {
    built.resolve(false);
    ended.resolve(value);
  };
  const kill = (): void => {
    killed = true;
    if (child === undefined) end({ kind: 'exit', exit: signalExit('SIGKILL') });
    else killGroup(child);
  };
  return {
    built: built.promise,
    init: Promise.resolve(undefined),
    ended: ended.promise,
    kill,
    terminate: () => (child === undefined ? kill() : child.kill('SIGTERM')),
    start() {
      if (killed) return;
      try {
        child = watch(spawnLocal(argv, place, stdio), argv[0] ?? '', place, end);
        child.once('spawn', () => built.resolve(true));
      } catch (error) {
        end(toFailure(error, argv[0] ?? '', place));
      }
    },
  };
}

function spawnLocal(
  [program = '', ...rest]: readonly string[],
  place: LocalPlace,
  stdio: readonly (number | 'ignore')[],
) {
  const { cwd, environment, umask } = place;
  return withUmask(umask, () =>
    spawn(program, rest, { cwd, env: { ...environment }, stdio: [...stdio], detached: true }),
  );
}

function watch(
  child: ChildProcess,
  program: string,
  place: LocalPlace,
  end: (value: SegmentEnd) => void,
): ChildProcess {
  child.once('error', (error) => {
    if (child.pid === undefined) end(toFailure(error, program, place));
  });
  const onExit = async (code: number | null, signal: NodeJS.Signals | null): Promise<void> => {
    await emptyGroup(child);
    end({ kind: 'exit', exit: signal === null ? { exitCode: code ?? 0 } : signalExit(signal) });
  };
  const onFault = (error: unknown): void => end(toFailure(error, program, place));
  child.once('exit', guarded(onExit, onFault));
  return child;
}

function killGroup({ pid }: ChildProcess): boolean {
  return pid !== undefined && sendSignal(-pid, 'SIGKILL');
}

// Up to a tenth of a second: what is left then are zombies that nobody waits for.
async function emptyGroup(child: ChildProcess): Promise<void> {
  for (let delay = 1; delay < 64 && killGroup(child); delay *= 2) await sleep(delay);
}

function toFailure(error: unknown, program: string, { cwd }: LocalPlace): SegmentEnd {
  const { code, message } = error as NodeJS.ErrnoException;
  if (code === 'EAGAIN' || code === 'EMFILE' || code === 'ENFILE' || code === 'ENOMEM') {
    return { kind: 'failed', message: `${program} could not be started: ${message}`, cause: error };
  }
  // spawn(2) of Node says ENOENT for a missing cwd as well.
  if (statSync(cwd, { throwIfNoEntry: false })?.isDirectory() !== true) {
    return { kind: 'not_started', reason: { code: 126, message: `cwd ${cwd} is not a directory` } };
  }
  if (code === 'ENOENT')
    return { kind: 'not_started', reason: { code: 127, message: `${program} is not in PATH` } };
  return {
    kind: 'not_started',
    reason: { code: 126, message: `${program} cannot be started: ${code ?? message}` },
  };
}
