import { finished } from 'node:stream/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import type { NotRunnable } from '../plan/index.ts';
import type { BwrapEnd } from './bwrap-segment.ts';
import type { CommandOutput } from './output-stream.ts';
import { type SegmentEnd, signalExit, toSegmentExit } from './segment.ts';

/** What the end of a bwrap means for the command inside it. */
export async function judgeBwrap(end: BwrapEnd, stderr: CommandOutput): Promise<SegmentEnd> {
  // bwrap reports an exit code only of a command that the kernel did start.
  if (end.exitCode !== undefined) return { kind: 'exit', exit: toSegmentExit(end.exitCode) };
  if (end.killed) return { kind: 'exit', exit: signalExit('SIGKILL') };
  // Killed from outside; its sandbox went with it.
  if (end.signal !== null) return { kind: 'exit', exit: signalExit(end.signal) };
  if (end.error !== undefined)
    return { kind: 'failed', message: `bwrap could not be started: ${end.error}`, cause: end.cause };
  await readToEnd(stderr);
  const message = parseBwrapError(stderr.head) ?? `bwrap ended with ${end.code} and no message`;
  const reason = parseExecFailure(message);
  if (reason !== undefined) return { kind: 'not_started', reason };
  return { kind: 'failed', message: `the sandbox could not be built: ${message}` };
}

/** bwrap's own message among what was written to stderr: its one line, as it ends with it. */
export function parseBwrapError(stderr: string): string | undefined {
  return stderr.split('\n').find((line) => /^(bwrap|prlimit|csc-launcher): /.test(line));
}

// die_with_error("execvp %s") in bubblewrap.c; the reason is strerror(3)'s.
const execvpFailed = /^bwrap: execvp (.*): ([^:]+)$/;

/** Reads bwrap's message for a command that the kernel would not start: a missing interpreter, an access list. */
export function parseExecFailure(message: string): NotRunnable | undefined {
  const [, program, reason] = execvpFailed.exec(message) ?? [];
  if (program === undefined || reason === undefined) return undefined;
  const code = reason === 'No such file or directory' ? 127 : 126;
  return { code, message: `${program} cannot be started: ${reason}` };
}

// Its writers are gone, so this takes as long as the caller needs to read what is there; one that does not read at all
// must not hold up the result.
async function readToEnd(stream: CommandOutput): Promise<void> {
  const ended = finished(stream, { writable: false }).catch(() => undefined);
  await Promise.race([ended, sleep(1000, undefined, { ref: false })]);
}
