import { randomBytes } from 'node:crypto';
import { identify, type ProcessId } from '../launch/processes.ts';

/** A new name for the common group of an executor's jobs, which says by pid and start time whose it is. */
export function toJobsName(): string {
  const startTime = identify(process.pid)?.startTime ?? '0';
  return `csc-jobs-${process.pid}-${startTime}-${randomBytes(4).toString('hex')}`;
}

/** Whose group it is; undefined for other names. */
export function findJobsOwner(name: string): ProcessId | undefined {
  const [, pid, startTime] = /^csc-jobs-(\d+)-(\d+)-[0-9a-f]+$/.exec(name) ?? [];
  return pid === undefined || startTime === undefined ? undefined : { pid: Number(pid), startTime };
}
