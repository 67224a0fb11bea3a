import { setTimeout as sleep } from 'node:timers/promises';
import { findProcessesOf, signalProcess } from './processes.ts';

// A process that the kernel cannot end now, as it waits for a disk, may be gone a moment later.
const patienceMs = 5000;

/**
 * SIGKILL to every process of these users, again and again, until there is none. Resolves to how many were found at
 * first, or to undefined where some cannot be ended.
 */
export async function endProcessesOf(uids: ReadonlySet<number>): Promise<number | undefined> {
  const end = performance.now() + patienceMs;
  let found = await findProcessesOf(uids);
  const first = found.length;
  while (found.length > 0) {
    if (performance.now() > end) return undefined;
    for (const process of found) signalProcess(process, 'SIGKILL');
    await sleep(1);
    found = await findProcessesOf(uids);
  }
  return first;
}
