import { readFileSync } from 'node:fs';
import { listProcesses } from '../../../packages/sandbox/src/host/processes.ts';

/** Living processes of this host that have the marker among their arguments, this one left out. */
export function findProcesses(marker: string): number[] {
  return listProcesses().filter((pid) => pid !== process.pid && readArguments(pid).includes(marker));
}

// A zombie has none.
function readArguments(pid: number): string[] {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
  } catch {
    return [];
  }
}
