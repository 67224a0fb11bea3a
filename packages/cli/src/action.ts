import type { Command } from 'commander';
import { exitCodeOf, exitCodes } from './exit-codes.ts';
import { reportError } from './report-error.ts';
import { isBrokenPipe } from './terminal/streams.ts';

/** What a command does: resolves to its exit code. */
type Body<A extends readonly unknown[]> = (...args: A) => Promise<number> | number;

/**
 * A commander action of a body that gives the exit code, or throws and is reported here. A is the positional arguments
 * and then the options, as the command declares them.
 */
export function act<A extends readonly unknown[]>(command: Command, body: Body<A>): void {
  command.action(async (...args: unknown[]) => {
    try {
      // Commander appends the command itself.
      process.exitCode = await body(...(args.slice(0, -1) as unknown as A));
    } catch (error) {
      // How the command line is wrong has been said already.
      if (isCommanderError(error)) throw error;
      process.exitCode = isBrokenPipe(error) ? exitCodes.brokenPipe : exitCodeOf(error);
      if (isBrokenPipe(error)) return;
      await reportError(error, command.opts()['json'] === true);
    }
  });
}

/** Narrows to what commander throws; by its code, as the bundle may hold commander more than once. */
export function isCommanderError(error: unknown): error is Error & { exitCode: number } {
  return error instanceof Error && 'code' in error && String(error.code).startsWith('commander.');
}
