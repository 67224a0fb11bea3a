import { isCommanderError, reportError } from './action/act.ts';
import { exitCodeOf, exitCodes } from './action/exit-codes.ts';
import { buildProgram } from './program.ts';
import { onStreamError } from './terminal/streams.ts';

/** Runs one csc command line (without `node` and the script) and sets the process's exit code. Never throws. */
export async function main(words: readonly string[]): Promise<void> {
  // Commander's own help looks no further than the first command.
  const argv = words[0] === 'help' && words.length > 2 ? [...words.slice(1), '--help'] : words;
  // Anew, for whoever calls this more than once in a process.
  onStreamError('stderr', nobodyReads);
  onStreamError('stdout', brokenPipe);
  try {
    const program = await buildProgram(argv);
    await program.parseAsync([...argv], { from: 'user' });
  } catch (error) {
    process.exitCode = await exitCodeAfter(error);
  }
}

// Nobody reads our notes: no reason to end what goes on.
function nobodyReads(): void {}

// Of help and usage; results are written by sinks that say so themselves.
function brokenPipe(): void {
  process.exitCode = exitCodes.brokenPipe;
}

async function exitCodeAfter(error: unknown): Promise<number> {
  // Commander has said its piece already; help and version end this way too.
  if (isCommanderError(error)) return error.exitCode === 0 ? exitCodes.ok : exitCodes.usage;
  await reportError(error, false);
  return exitCodeOf(error);
}
