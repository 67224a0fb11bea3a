import { readdirSync, readFileSync } from 'node:fs';
import { listProcesses } from '../../../packages/sandbox/src/host/processes.ts';

/**
 * Living processes of this host that have all of these among their arguments, this one left out. Tests of other workers
 * run meanwhile: one of the words is this test's own.
 */
export function findProcesses(...words: readonly string[]): number[] {
  return listProcesses().filter((pid) => {
    if (pid === process.pid) return false;
    const own = readArguments(pid);
    return words.every((word) => own.includes(word));
  });
}

/** What this process has begun and not waited for yet, by whichever of its threads; none where it is gone. */
export function childrenOf(pid: number | undefined): number[] {
  return listOf(`/proc/${pid}/task`).flatMap((task) => {
    try {
      const children = readFileSync(`/proc/${pid}/task/${task}/children`, 'utf8');
      return children.split(' ').filter(Boolean).map(Number);
    } catch {
      return [];
    }
  });
}

function listOf(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch {
    return [];
  }
}

/** None of a zombie, nor of what is gone. */
export function readArguments(pid: number): string[] {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
  } catch {
    return [];
  }
}
