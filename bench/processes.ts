import { readFileSync } from 'node:fs';

/** What one process has used. */
export interface Usage {
  /** The high-water mark of its resident memory (VmHWM, proc(5)). */
  readonly peakBytes: number;
  /** User and system time of all of its threads. */
  readonly cpuSeconds: number;
}

// USER_HZ, which is 100 on Linux wherever Node runs.
const ticksPerSecond = 100;

/** Reads it from /proc, so that it is the same for every process, and for one that is not ours to ask. */
export function readProcess(pid: number | undefined): Usage {
  const kib = /VmHWM:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
  // The name before the parenthesis may hold anything.
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').at(-1)?.split(' ') ?? [];
  return {
    peakBytes: Number(kib) * 1024,
    cpuSeconds: (Number(fields[11]) + Number(fields[12])) / ticksPerSecond,
  };
}
