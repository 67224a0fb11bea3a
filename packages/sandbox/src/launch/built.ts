import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { decodePath } from '../host/index.ts';
import type { LaunchedProcess } from './launcher.ts';

// Building takes milliseconds; where a mount went astray, it is never seen.
const patienceMs = 5000;

/**
 * Resolves once the sandboxes of a launch have all these mounts, or none of it is left; to false where they are not to be
 * seen in time, as then one of them went elsewhere. bwrap does not say when it has built a sandbox; the kernel does
 * (proc_pid_mountinfo(5)): the paths there are those of the sandbox once it has its root.
 */
export async function waitUntilBuilt(
  { inits, exited }: Pick<LaunchedProcess, 'inits' | 'exited'>,
  destinations: readonly string[],
): Promise<boolean> {
  let isOver = false;
  const end = exited.then(() => {
    isOver = true;
  });
  const pids = await inits;
  if (pids.length === 0) await end;
  const until = performance.now() + patienceMs;
  while (!isOver && !pids.every((pid) => hasMounts(pid, destinations))) {
    if (performance.now() > until) return false;
    await sleep(2);
  }
  return true;
}

function hasMounts(pid: number, destinations: readonly string[]): boolean {
  let text: string;
  try {
    text = readFileSync(`/proc/${pid}/mountinfo`, 'latin1');
  } catch {
    return false;
  }
  const points = new Set(text.split('\n').map((line) => unescapePath(line.split(' ')[4] ?? '')));
  return destinations.every((destination) => points.has(destination));
}

// Bytes, as the kernel escapes them: space, tab, newline and backslash, in octal.
function unescapePath(point: string): string {
  const bytes = point.replaceAll(/\\([0-7]{3})/g, (_, digits: string) =>
    String.fromCharCode(Number.parseInt(digits, 8)),
  );
  return decodePath(Buffer.from(bytes, 'latin1'));
}
