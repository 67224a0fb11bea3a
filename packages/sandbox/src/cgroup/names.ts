import { randomBytes } from 'node:crypto';
import { ownerPattern, type ProcessId, parseOwner, toOwnerId } from '@csc-fleet/common/processes';

/** A new name for the common group of an executor's jobs, which says whose it is. */
export function toJobsName(): string {
  return `csc-jobs-${toOwnerId()}-${randomBytes(4).toString('hex')}`;
}

/** The name of the group that this process itself moves into, where its own may hold groups only. */
export function toLeafName(): string {
  return `csc-executor-${toOwnerId()}`;
}

const ownedName = new RegExp(`^csc-(jobs|executor)-${ownerPattern}(?:-[0-9a-f]+)?$`);

/** Whose group a name says it is; undefined for other names, and for executors of another PID namespace. */
export function findOwner(name: string): { kind: 'jobs' | 'executor'; process: ProcessId } | undefined {
  const [, kind, pid, startTime, namespace] = ownedName.exec(name) ?? [];
  const process = parseOwner(pid, startTime, namespace);
  return process === undefined ? undefined : { kind: kind === 'jobs' ? 'jobs' : 'executor', process };
}
