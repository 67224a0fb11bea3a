import { randomBytes } from 'node:crypto';
import { readlinkSync } from 'node:fs';
import { identify, type ProcessId } from '../launch/processes.ts';

/** A new name for the common group of an executor's jobs, which says whose it is. */
export function toJobsName(): string {
  return `csc-jobs-${toOwner()}-${randomBytes(4).toString('hex')}`;
}

/** The name of the group that this process itself moves into, where its own may hold groups only. */
export function toLeafName(): string {
  return `csc-executor-${toOwner()}`;
}

/** Whose group a name says it is; undefined for other names, and for executors of another PID namespace. */
export function findOwner(name: string): { kind: 'jobs' | 'executor'; process: ProcessId } | undefined {
  const [, kind, pid, startTime, namespace] =
    /^csc-(jobs|executor)-(\d+)-(\d+)-(\d+)(?:-[0-9a-f]+)?$/.exec(name) ?? [];
  if (pid === undefined || startTime === undefined || namespace !== pidNamespace()) return undefined;
  return { kind: kind === 'jobs' ? 'jobs' : 'executor', process: { pid: Number(pid), startTime } };
}

function toOwner(): string {
  return `${process.pid}-${identify(process.pid)?.startTime ?? '0'}-${pidNamespace()}`;
}

// A pid means nothing outside its namespace: an executor in a container would look dead to one on the host.
function pidNamespace(): string {
  return /\d+/.exec(readlinkSync('/proc/self/ns/pid'))?.[0] ?? '0';
}
