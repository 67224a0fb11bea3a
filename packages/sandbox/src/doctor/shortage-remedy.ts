import { readFileSync } from 'node:fs';
import type { Namespace, SandboxPlan } from '../plan/index.ts';

type Rlimits = SandboxPlan['rlimits'];

/** What a trial of the sandbox was, as far as it decides what its failure is about. */
export interface Trial {
  /** What it said, as strerror(3) has it. */
  readonly text: string;
  /** The namespace that it was to get. */
  readonly namespace?: Namespace;
  /** The rlimits that it was to have. */
  readonly rlimits?: Rlimits;
}

// An executor that is idle has some 150, and gives a sandbox its own by numbers up to 300.
const leastDescriptors = 512;

/**
 * What to do where this process may not have the descriptors that sandboxes take; undefined where it may. Runs would be refused
 * one by one, without a word of bwrap's.
 */
export function descriptorRemedy(limits = ownLimits): string | undefined {
  const most = hardLimit(limits(), keys.nofile[0]);
  return most < leastDescriptors
    ? `the executor may have ${most} file descriptors (RLIMIT_NOFILE): raise LimitNOFILE of its unit, or Docker’s --ulimit nofile, to ${leastDescriptors} or more`
    : undefined;
}

/** The limits of this process, as proc_pid_limits(5) has them. */
export const ownLimits = (): string => readFileSync('/proc/self/limits', 'latin1');

const keys: Readonly<Record<keyof Rlimits, readonly [row: string, member: string, unit: string]>> = {
  core: ['Max core file size', 'core_bytes', 'LimitCORE'],
  fsize: ['Max file size', 'limits.file_bytes', 'LimitFSIZE'],
  nofile: ['Max open files', 'limits.open_files', 'LimitNOFILE'],
  nproc: ['Max processes', 'limits.processes', 'LimitNPROC'],
};

/**
 * What to do where a trial failed for a limit of this process or of its user; undefined where it failed for something else.
 * @param limits the text of proc_pid_limits(5), read where it is needed
 */
export function shortageRemedy(
  { text, namespace, rlimits = {} }: Trial,
  limits = ownLimits,
): string | undefined {
  if (/\blimit: Operation not permitted|failed to set the \w+ resource limit/.test(text))
    return raiseHardLimits(rlimits, limits());
  // Of pipes and descriptors that the launcher has no number for, the kernel says EINVAL as well.
  if (/\b(?:EMFILE|EINVAL)\b|Too many open files|made no pipes/.test(text)) {
    const remedy = descriptorRemedy(limits);
    if (remedy !== undefined) return remedy;
  }
  if (/Resource temporarily unavailable|\bEAGAIN\b/.test(text)) {
    const most = hardLimit(limits(), keys.nproc[0]);
    return `its user or its cgroup may have no more processes (EAGAIN): raise LimitNPROC and TasksMax of the executor’s unit, nproc in limits.conf, or Docker’s --ulimit nproc and --pids-limit (its RLIMIT_NPROC is ${most})`;
  }
  if (namespace !== undefined && /No space left on device|\bENOSPC\b|max_\*_namespaces/.test(text))
    return `sysctl -w user.max_${namespace}_namespaces=15000, here and in every namespace of users around (ENOSPC: there are as many as may be, or they are nested too deep)`;
  return undefined;
}

// setrlimit(2): only CAP_SYS_RESOURCE raises a hard limit, and not that of a user namespace.
function raiseHardLimits(rlimits: Rlimits, limits: string): string {
  const wanted = Object.entries(rlimits) as [keyof Rlimits, number][];
  const over = wanted.flatMap(([name, value]) => {
    const [row, member, unit] = keys[name];
    const most = hardLimit(limits, row);
    return value <= most
      ? []
      : [
          `${member} is ${value} and this process may have ${most}: set ${member} to at most ${most} in executor.yaml, or raise ${unit} of its unit to ${value}`,
        ];
  });
  return over.length > 0
    ? `jobs are to have more than the hard limits (rlimits) of the executor: ${over.join('; ')}`
    : 'raise the hard limits (rlimits) of the executor, or start it with CAP_SYS_RESOURCE';
}

/** The hard limit of one row of them; infinity where there is none. */
export function hardLimit(limits: string, row: string): number {
  const [, most = ''] = new RegExp(`^${row}\\s+\\S+\\s+(\\d+)`, 'm').exec(limits) ?? [];
  return most === '' ? Number.POSITIVE_INFINITY : Number(most);
}
