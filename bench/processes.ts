import { readFileSync } from 'node:fs';

/** What one process has used. */
export interface Usage {
  /** What is in memory now (VmRSS). */
  readonly residentBytes: number;
  /** The high-water mark of its resident memory (VmHWM, proc(5)). */
  readonly peakBytes: number;
  /** User and system time of all of its threads. */
  readonly cpuSeconds: number;
}

// USER_HZ, which is 100 on Linux wherever Node runs.
const ticksPerSecond = 100;

/** Reads it from /proc, so that it is the same for every process, and for one that is not ours to ask. */
export function readProcess(pid: number | undefined): Usage {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  const bytes = (name: string): number =>
    Number(new RegExp(`${name}:\\s+(\\d+) kB`).exec(status)?.[1]) * 1024;
  // The name before the parenthesis may hold anything.
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').at(-1)?.split(' ') ?? [];
  return {
    residentBytes: bytes('VmRSS'),
    peakBytes: bytes('VmHWM'),
    cpuSeconds: (Number(fields[11]) + Number(fields[12])) / ticksPerSecond,
  };
}
