import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { identify } from '../processes/index.ts';

/**
 * Names one process for ever, as "PID START": a pid alone is given to another process later, so the start time goes
 * with it, and the id of the boot that it counts from. Undefined where there is no such process.
 */
export function processIdentity(pid: number): string | undefined {
  const start = process.platform === 'linux' ? startFromProc(pid) : startFromPs(pid);
  return start === undefined ? undefined : `${pid} ${start}`;
}

/** False where the process is gone, also when its pid has been given to another one since. */
export function isAlive(identity: string): boolean {
  const pid = Number.parseInt(identity, 10);
  return processIdentity(pid) === identity;
}

function startFromProc(pid: number): string | undefined {
  const startTime = identify(pid)?.startTime;
  if (startTime === undefined) return undefined;
  try {
    return `${startTime} ${readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim()}`;
  } catch {
    return undefined;
  }
}

function startFromPs(pid: number): string | undefined {
  try {
    const text = execFileSync('ps', ['-o', 'lstart=', '-p', String(pid)], {
      encoding: 'utf8',
      stdio: 'pipe',
    });
    return text.trim() === '' ? undefined : text.trim();
  } catch {
    return undefined;
  }
}
