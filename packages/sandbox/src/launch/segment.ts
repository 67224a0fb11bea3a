import { constants } from 'node:os';
import type { NotRunnable } from '../plan/index.ts';
import type { SegmentExit } from './launcher.ts';

/** One program of a command while it runs, however it is run. */
export interface SegmentProcess {
  /** True once the program can start or has started, false where it never will. */
  readonly built: Promise<boolean>;
  /** The host's pid of the sandbox's init; undefined where there is none. Never rejects. */
  readonly init: Promise<number | undefined>;
  /** Resolves when none of its processes is left. Never rejects. */
  readonly ended: Promise<SegmentEnd>;
  /** SIGTERM to the program itself; where it is not running yet, as `kill`. */
  terminate(): void;
  /** SIGKILL to all of its processes. */
  kill(): void;
}

export type SegmentEnd =
  | { readonly kind: 'exit'; readonly exit: SegmentExit }
  | { readonly kind: 'not_started'; readonly reason: NotRunnable }
  | { readonly kind: 'failed'; readonly message: string; readonly cause?: unknown };

/** A segment whose start threw. */
export function failedSegment(error: unknown, program: string): SegmentProcess {
  return {
    built: Promise.resolve(false),
    init: Promise.resolve(undefined),
    ended: Promise.resolve(toEnd(error, program)),
    terminate: () => undefined,
    kill: () => undefined,
  };
}

function toEnd(error: unknown, program: string): SegmentEnd {
  const { code, message } = error as NodeJS.ErrnoException;
  // execve(2): more than the kernel takes for one program. The command's doing, not the host's.
  if (code === 'E2BIG') return tooLong(program);
  return { kind: 'failed', message: `the sandbox could not be started: ${code ?? message}`, cause: error };
}

/** The end of a program that the kernel would not start for its arguments. */
export function tooLong(program: string): SegmentEnd {
  return { kind: 'not_started', reason: { code: 126, message: `${program}: its arguments are too long` } };
}

const signalNames: ReadonlyMap<number, string> = new Map(
  // Backwards, as the first name of a number (SIGABRT) is the usual one and the later one (SIGIOT) its alias.
  Object.entries(constants.signals)
    .toReversed()
    .map(([name, number]) => [number, name]),
);

/** Reads 128 + n as the end by signal n: that is all that bwrap, like a shell, says of one. */
export function toSegmentExit(exitCode: number): SegmentExit {
  const signal = signalNames.get(exitCode - 128);
  return signal === undefined ? { exitCode } : { exitCode, signal };
}

/** The exit of a process that a signal ended. */
export function signalExit(signal: NodeJS.Signals): SegmentExit {
  return { exitCode: 128 + constants.signals[signal], signal };
}
