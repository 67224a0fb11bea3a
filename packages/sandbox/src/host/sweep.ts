import {
  clearAbandoned,
  defaultScratchDirectory,
  identify,
  listAbandoned,
} from '@csc-fleet/common/processes';
import { isNamedWith, markOf } from './owned-names.ts';
import { isNested, listProcesses, readVariable, sendSignal, waitUntilGone } from './processes.ts';
import { findNameKey, treePrefix } from './scratch.ts';

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

// Only what lives in a PID namespace of its own: whoever else has such a PATH has it for other reasons.
function isOrphan(pid: number, keys: readonly string[]): boolean {
  return keys.length > 0 && isNamedWith(markOf(readVariable(pid, 'PATH')), keys) && isNested(pid);
}

function findAbandonedKeys(scratchDirectory: string): string[] {
  return listAbandoned(scratchDirectory).flatMap((name) => findNameKey(name) ?? []);
}
