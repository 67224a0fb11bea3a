import { readdirSync, readlinkSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import {
  identify,
  isAlive,
  isNested,
  listProcesses,
  type ProcessId,
  sendSignal,
  waitUntilGone,
} from './processes.ts';
import { defaultScratchDirectory, findScratchOwner } from './scratch.ts';

/** What an executor left behind that was killed. */
export interface Leftovers {
  readonly processes: number;
  readonly files: number;
}

/**
 * Ends what executors on this host that are gone left behind, to be called before the first launch. A bwrap that was
 * still building its sandbox when its executor was killed does not die with it: it waits, for ever, for its command to
 * be let go. They are recognised by their output, a FIFO that is named after the executor that made it.
 */
export async function sweepLeftovers(
  scratchDirectory: string = defaultScratchDirectory(),
): Promise<Leftovers> {
  const orphans = listProcesses()
    .filter(isOrphan)
    .flatMap((pid) => identify(pid) ?? []);
  for (const { pid } of orphans) sendSignal(pid, 'SIGKILL');
  await Promise.all(orphans.map(waitUntilGone));
  const files = readdirSync(scratchDirectory).filter(isAbandoned);
  for (const name of files) rmSync(join(scratchDirectory, name), { recursive: true, force: true });
  return { processes: orphans.length, files: files.length };
}

// Only what lives in a PID namespace of its own: whoever else has such a file open has it for other reasons.
function isOrphan(pid: number): boolean {
  return [1, 2].some((fd) => isAbandoned(readDescriptor(pid, fd))) && isNested(pid);
}

function isAbandoned(name: string): boolean {
  const owner: ProcessId | undefined = findScratchOwner(name);
  return owner !== undefined && !isAlive(owner);
}

function readDescriptor(pid: number, fd: number): string {
  try {
    return readlinkSync(`/proc/${pid}/fd/${fd}`);
  } catch {
    return '';
  }
}
