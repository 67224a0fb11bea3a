import { randomBytes } from 'node:crypto';
import { CscError, isCscError } from '@csc-fleet/common/errors';
import { type Check, failed, passed } from '../host/index.ts';
import { below, type GroupDirectories, makeGroup, openGroup, type RunGroup, removeNow } from './group.ts';
import type { CgroupMechanism, Hierarchies } from './hierarchy.ts';
import { toJobsName } from './names.ts';
import { findOwn, type Reserve, toCommonLimits } from './own.ts';
import {
  type CommonLimits,
  type GroupLimits,
  type Setting,
  toCommonSettings,
  toSettings,
} from './settings.ts';
import { type JobsGroup, makeV2Jobs } from './v2-jobs.ts';

/** Where the groups of this executor's commands are made. */
export interface Cgroups {
  readonly mechanism: CgroupMechanism;
  /** What all groups together may use up; none may be given more. */
  readonly most: CommonLimits;
  /** A fresh group, empty. Throws what the kernel says. */
  create(limits: GroupLimits): RunGroup;
  /** Gives the common group back. What is still in it is left to the next start's sweep. */
  close(): void;
}

const remedy =
  'start csc as root, or the executor as a systemd service with Delegate=cpu memory pids; in a container, make /sys/fs/cgroup writable; or do without: accept_rlimits_only: true in an executor’s config, csc run --accept-rlimits-only';

/** Opens a common group of all jobs of this process. Throws SANDBOX_UNAVAILABLE with what to do. */
export function openCgroups(options: { readonly reserve: Reserve }): Cgroups {
  try {
    return open(options);
  } catch (error) {
    if (!isCscError(error, 'SANDBOX_UNAVAILABLE')) throw error;
    throw unavailable(`${error.message}; ${remedy}`, error.cause);
  }
}

function open({ reserve }: { readonly reserve: Reserve }): Cgroups {
  const hierarchies = findOwn();
  if (hierarchies === undefined)
    throw unavailable('this host has no cgroups with memory, pids and cpu controllers');
  const { mechanism } = hierarchies;
  const most = toCommonLimits(reserve, hierarchies);
  let jobs = makeJobsGroup(hierarchies, most);
  const create = (limits: GroupLimits): RunGroup => {
    const directories = below(jobs.directories, `run-${randomBytes(6).toString('hex')}`);
    makeGroup(directories, toSettings(mechanism, limits));
    return openGroup(mechanism, directories);
  };
  return {
    mechanism,
    most,
    create(limits) {
      try {
        return create(limits);
      } catch (error) {
        // While nothing runs the common group is empty, and whoever tidies up cgroups may take it.
        if (mechanism !== 'cgroup-v1' || !isGone(error)) throw error;
        jobs.close();
        jobs = makeJobsGroup(hierarchies, most);
        return create(limits);
      }
    },
    close: () => jobs.close(),
  };
}

function isGone(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ENOENT';
}

/** Whether jobs can be put into cgroups here: really makes one. */
export function probeCgroups(): Check[] {
  try {
    const cgroups = open({ reserve: { memory_bytes: 0, cpu_millis: 0 } });
    try {
      const limits = { memory_bytes: 64 * 1024 * 1024, processes: 8, cpu_millis: leastCpuMillis };
      void cgroups.create(limits).remove();
    } finally {
      cgroups.close();
    }
    return [passed('cgroups', `${cgroups.mechanism}: memory, processes and cpu of jobs can be limited`)];
  } catch (error) {
    return [failed('cgroups', error instanceof Error ? error.message : String(error), remedy)];
  }
}

// Within what even a small container has.
const leastCpuMillis = 10;

function makeJobsGroup(hierarchies: Hierarchies, most: CommonLimits): JobsGroup {
  const { mechanism, own } = hierarchies;
  const settings = toCommonSettings(mechanism, most);
  const name = toJobsName();
  try {
    return mechanism === 'cgroup-v1'
      ? makeV1Jobs(own, name, settings)
      : makeV2Jobs(hierarchies, name, settings);
  } catch (cause) {
    throw unavailable(`no ${mechanism} group can be made for jobs: ${toReason(cause)}`, cause);
  }
}

function makeV1Jobs(own: GroupDirectories, name: string, settings: readonly Setting[]): JobsGroup {
  const directories = below(own, name);
  makeGroup(directories, settings);
  return { directories, close: () => void removeNow(directories) };
}

/** What a failure to make a group means, in words. Exported for its test. */
export function toReason(error: unknown): string {
  const { code, path = 'the group', message } = error as NodeJS.ErrnoException;
  switch (code) {
    case 'EACCES':
    case 'EPERM':
      return `this account may not write ${path}`;
    case 'EROFS':
      return `${path} is on a read-only mount`;
    case 'EBUSY':
      return `${path} cannot be changed, as there are other processes in that group: only one that is the executor's alone can have groups below it`;
    case 'ENOENT':
      return `${path} is not there, or lacks one of the controllers cpu, memory and pids`;
    default:
      return message;
  }
}

function unavailable(what: string, cause?: unknown): CscError {
  return new CscError('SANDBOX_UNAVAILABLE', what, { cause });
}
