import { readFileSync } from 'node:fs';

/** One process for as long as it lives: a pid alone may be given to another one later. */
export interface ProcessId {
  readonly pid: number;
  /** Clock ticks after boot, from /proc/PID/stat (proc(5), field 22). */
  readonly startTime: string;
}

export interface ProcessStat {
  readonly parent: number;
  readonly startTime: string;
}

/** The process that has this pid now; undefined where there is none, or only what is left to be waited for. */
export function identify(pid: number): ProcessId | undefined {
  const stat = readStat(pid);
  return stat === undefined ? undefined : { pid, startTime: stat.startTime };
}

/** Whether it is still running; false once it is a zombie, when its memory, files and PID namespace are gone. */
export function isAlive({ pid, startTime }: ProcessId): boolean {
  return readStat(pid)?.startTime === startTime;
}

/** Of the process that has this pid now; undefined as `identify`. */
export function readStat(pid: number): ProcessStat | undefined {
  try {
    return parseStat(readFileSync(`/proc/${pid}/stat`, 'latin1'));
  } catch {
    return undefined;
  }
}

/** What /proc/PID/stat says (proc(5)); undefined of what is left to be waited for. */
export function parseStat(text: string): ProcessStat | undefined {
  // The name in parentheses may hold anything, so the fields are counted from the last one on.
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ', 20);
  const [state = '', parent] = fields;
  if (state === 'Z' || state === 'X') return undefined;
  return { parent: Number(parent), startTime: fields[19] ?? '' };
}
