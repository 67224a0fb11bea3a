import { argvs, type Command } from '@csc-fleet/common/contract';
import { endedProcess, type LaunchedProcess } from '@csc-fleet/sandbox/launch';
import { type Egress, openEgress } from '../egress/index.ts';
import type { Log } from '../service/log.ts';
import { checkProgram } from './check-program.ts';
import type { Host } from './host.ts';
import { findCwdProblem, type Granted, type Place } from './workplace.ts';

/** A command that is built and held: it starts at `process.release()`. */
export interface PreparedCommand {
  readonly command: Command;
  readonly process: LaunchedProcess;
  /** Absent where it cannot run on this host, as `process.exited` will say. */
  readonly place?: Place;
  /** Its way out, which must be there before it starts; absent where it has none. */
  readonly egress?: Promise<Egress>;
}

/** Gathers the host's facts, plans and launches, held. Throws a CscError where the host cannot give what is declared. */
export function prepareCommand(
  command: Command,
  granted: Granted,
  host: Pick<Host, 'workplace' | 'launcher' | 'ceiling' | 'log'>,
): PreparedCommand {
  const problem = findCwdProblem(command.cwd, granted.policy.allowed_cwd_prefixes);
  if (problem !== undefined)
    return { command, process: endedProcess({ kind: 'not_started', code: 126, message: problem }) };
  const place = host.workplace.furnish(command, granted);
  try {
    checkProgram(command, place, granted, host.ceiling);
    const segments = argvs(command).map((argv) => ({ argv }));
    const process = host.launcher.launch({ segments, place: place.launchIn, hold: true });
    place.launched?.(process);
    return { command, place, process, ...beginEgress(command, process, granted, host.log) };
  } catch (error) {
    place.close();
    throw error;
  }
}

function beginEgress(
  { network }: Command,
  process: LaunchedProcess,
  { egressHosts }: Granted,
  log: Log,
): Pick<PreparedCommand, 'egress'> {
  if (network !== 'allowlisted') return {};
  const egress = openEgress(process.inits, egressHosts, (error) =>
    log.error({ error }, 'the proxy of a job failed at one of its connections, which was ended'),
  );
  // Whoever waits for it is told; where the command is withdrawn, nobody does.
  egress.catch(() => undefined);
  return { egress };
}

/** Ends a prepared command that is not to run. */
export async function withdraw({ process, place, egress }: PreparedCommand): Promise<void> {
  process.terminate(0);
  process.stdout.resume();
  process.stderr.resume();
  await process.exited;
  await egress?.then((opened) => opened.finish()).catch(() => undefined);
  place?.close();
}
