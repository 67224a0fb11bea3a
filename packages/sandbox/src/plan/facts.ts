import type { CgroupMechanism } from '../cgroup/index.ts';
import type { JobUser, JobUsers } from '../host/index.ts';
import type { SeccompFilters } from '../seccomp/index.ts';
import type { EtcView } from './gather-etc.ts';

/** What the sandbox depends on and only the host can say. Gathered once at start by `probeHost`. */
export interface HostFacts {
  readonly bwrapPath: string;
  /** As `bwrap --version` says it, for example "0.8.0". */
  readonly bwrapVersion: string;
  /** The long options that `bwrap --help` lists, without the dashes. */
  readonly bwrapOptions: ReadonlySet<string>;
  readonly executorUid: number;
  /** Whom jobs run as. */
  readonly jobUsers: JobUsers;
  /** Links of a merged /usr that a sandbox needs beside /usr: /bin, /sbin, /lib, /lib64, … */
  readonly systemLinks: readonly SystemLink[];
  /** The same where they are real directories. */
  readonly systemDirectories: readonly string[];
  /** What of /etc is shown. */
  readonly etc: EtcView;
  /** What name resolution needs of /etc beside that, for commands that have the host's network. */
  readonly resolverPaths: readonly string[];
  /** Files and directories below /proc that tell a job about the host and are masked; only those that exist. */
  readonly maskedFiles: readonly string[];
  readonly maskedDirectories: readonly string[];
  /** The system call filters of commands. */
  readonly seccomp: SeccompFilters;
  /** "none" only where the operator has said that rlimits are enough. */
  readonly cgroups: CgroupMechanism | 'none';
  /**
   * RLIMIT_CORE of commands, in bytes. 1: none of them is dumped, neither into a file nor to a program of the host's that
   * core_pattern names, for which 0 is no limit (core(5)). 0: the executor itself may have no more.
   */
  readonly coreBytes: 0 | 1;
  /** No job may write there, nor read what is secret there. Asked anew for each command: a reload may have named others. */
  readonly kept: readonly KeptPlace[];
}

/** A file or directory that csc believes later, outside of any sandbox. */
export interface KeptPlace {
  /** There or not yet. */
  readonly path: string;
  /** What people know it by, and whatever lets them have it elsewhere. */
  readonly name: string;
  /** No job may read it either: it holds keys, or what other runs have left. Absent: anybody may know it. */
  readonly isSecret?: true;
}

/**
 * The facts of a host whose jobs may neither read nor write this directory: it says which tickets and approvals are used up,
 * and has the receipt key and what other runs have said.
 */
export function keepingState(facts: HostFacts, stateDir: string): HostFacts {
  const place: KeptPlace = {
    path: stateDir,
    name: 'the state directory (state_dir, or --state-dir of csc run)',
    isSecret: true,
  };
  return {
    ...facts,
    get kept() {
      return [...facts.kept, place];
    },
  };
}

/** The facts of one run: those of the host, and which of its job users this run has. */
export interface RunFacts extends HostFacts {
  /** Another one than the executor's own user only where the executor is root. */
  readonly jobUser: JobUser;
  /** What is taken from the mode of the files that it makes, and of the write paths that are made for it (umask(2)). */
  readonly umask: number;
}

/**
 * The facts of a run as one of the host's job users. Without a umask that the policy says it has the usual one; where the
 * next run has another user, it is through the group that it can change what this one makes.
 */
export function toRunFacts(
  facts: HostFacts,
  jobUser: JobUser = facts.jobUsers.all[0],
  umask: number = facts.jobUsers.pooled ? 0o002 : 0o022,
): RunFacts {
  return { ...facts, jobUser, umask };
}

export interface SystemLink {
  readonly path: string;
  readonly target: string;
}
