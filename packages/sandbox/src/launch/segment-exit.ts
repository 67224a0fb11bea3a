import { constants } from 'node:os';
import type { SegmentExit } from './launcher.ts';

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
