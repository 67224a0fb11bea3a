import { argvs, type Command } from '@csc-fleet/common/contract';
import type { Policy } from '@csc-fleet/common/policy';
import type { LaunchedProcess, Launcher } from './launch/index.ts';
import { endedProcess } from './launch/supervise.ts';
import { findCwdProblem, type Place, type Workplace } from './workplace.ts';

/** A command that is built and held: it starts at `process.release()`. */
export interface PreparedCommand {
  readonly command: Command;
  readonly process: LaunchedProcess;
  /** Absent where it cannot run on this host, as `process.exited` will say. */
  readonly place?: Place;
}

/** Gathers the host's facts, plans and launches, held. Throws a CscError where the host cannot give what is declared. */
export function prepareCommand(
  command: Command,
  policy: Policy,
  host: { readonly workplace: Workplace; readonly launcher: Launcher },
): PreparedCommand {
  const problem = findCwdProblem(command.cwd, policy.allowed_cwd_prefixes);
  if (problem !== undefined)
    return { command, process: endedProcess({ kind: 'not_started', code: 126, message: problem }) };
  const place = host.workplace.furnish(command, policy);
  try {
    const segments = argvs(command).map((argv) => ({ argv }));
    return { command, place, process: host.launcher.launch({ segments, place: place.launchIn, hold: true }) };
  } catch (error) {
    place.close();
    throw error;
  }
}

/** Ends a prepared command that is not to run. */
export async function withdraw({ process, place }: PreparedCommand): Promise<void> {
  process.terminate(0);
  process.stdout.resume();
  process.stderr.resume();
  await process.exited;
  place?.close();
}
