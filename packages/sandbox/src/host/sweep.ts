import { readdirSync, readlinkSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { isNamedWith } from './owned-names.ts';
import {
  identify,
  isAlive,
  isNested,
  listProcesses,
  type ProcessId,
  sendSignal,
  waitUntilGone,
} from './processes.ts';
import { defaultScratchDirectory, findNameKey, findScratchOwner } from './scratch.ts';

/** What an executor left behind that was killed. */
export interface Leftovers {
  readonly processes: number;
  readonly files: number;
}

/**
 * Ends what executors on this host that are gone left behind, to be called before the first launch. A bwrap that was
 * still building its sandbox when its executor was killed does not die with it: it waits, for ever, for its command to
 * be let go. They are recognised by their output, a FIFO whose name was made with a key of that executor.
 */
export async function sweepLeftovers(
  scratchDirectory: string = defaultScratchDirectory(),
): Promise<Leftovers> {
  const keys = findAbandonedKeys(scratchDirectory);
  const orphans = listProcesses()
    .filter((pid) => isOrphan(pid, keys))
    .flatMap((pid) => identify(pid) ?? []);
  for (const { pid } of orphans) sendSignal(pid, 'SIGKILL');
  await Promise.all(orphans.map(waitUntilGone));
  const files = readdirSync(scratchDirectory).filter(
    (name) => isAbandoned(name) || isNamedWith(`/${name}`, keys),
  );
  for (const name of files) rmSync(join(scratchDirectory, name), { recursive: true, force: true });
  return { processes: orphans.length, files: files.length };
}

// Only what lives in a PID namespace of its own: whoever else has such a file open has it for other reasons.
function isOrphan(pid: number, keys: readonly string[]): boolean {
  return [1, 2].some((fd) => isNamedWith(readDescriptor(pid, fd), keys)) && isNested(pid);
}

function findAbandonedKeys(scratchDirectory: string): string[] {
  return readdirSync(scratchDirectory)
    .filter(isAbandoned)
    .flatMap((name) => findNameKey(name) ?? []);
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
