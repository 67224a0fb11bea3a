import { lstatSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { isNamedWith, markOf } from './owned-names.ts';
import {
  identify,
  isAlive,
  isNested,
  listProcesses,
  type ProcessId,
  readVariable,
  sendSignal,
  waitUntilGone,
} from './processes.ts';
import { defaultScratchDirectory, findNameKey, findScratchOwner, treePrefix } from './scratch.ts';

/** What an executor left behind that was killed. */
export interface Leftovers {
  readonly processes: number;
  readonly files: number;
}

/**
 * Ends what executors on this host that are gone left behind, to be called before the first launch. A bwrap that was
 * still building its sandbox when its executor was killed does not die with it: it waits, for ever, for its command to
 * be let go. They are recognised by their PATH, which has a name in it that was made with a key of that executor.
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
  const files = clearAbandoned(scratchDirectory, (name) => isNamedWith(name.replace(treePrefix, ''), keys));
  return { processes: orphans.length, files };
}

/**
 * Takes away what processes of this user that are gone have left in the scratch directory, and what `isTheirs` says of its
 * names, and gives how much that was. Others put files there as well, which may not be removed, or only look like such.
 */
export function clearAbandoned(
  scratchDirectory: string,
  isTheirs: (name: string) => boolean = () => false,
): number {
  const names = readdirSync(scratchDirectory).filter((name) => isAbandoned(name) || isTheirs(name));
  const own = names.map((name) => join(scratchDirectory, name)).filter(isOwn);
  for (const path of own) rmSync(path, { recursive: true, force: true });
  return own.length;
}

// Only what lives in a PID namespace of its own: whoever else has such a PATH has it for other reasons.
function isOrphan(pid: number, keys: readonly string[]): boolean {
  return keys.length > 0 && isNamedWith(markOf(readVariable(pid, 'PATH')), keys) && isNested(pid);
}

function findAbandonedKeys(scratchDirectory: string): string[] {
  return readdirSync(scratchDirectory)
    .filter((name) => isAbandoned(name) && isOwn(join(scratchDirectory, name)))
    .flatMap((name) => findNameKey(name) ?? []);
}

// Whoever may write there could else name the key of an executor that lives.
function isOwn(path: string): boolean {
  return lstatSync(path, { throwIfNoEntry: false })?.uid === process.geteuid?.();
}

function isAbandoned(name: string): boolean {
  const owner: ProcessId | undefined = findScratchOwner(name);
  return owner !== undefined && !isAlive(owner);
}
