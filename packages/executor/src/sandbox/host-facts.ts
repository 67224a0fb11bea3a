import type { SeccompFilter } from '../seccomp/index.ts';

/** What the sandbox depends on and only the host can say. Gathered once at start by `probeHost`. */
export interface HostFacts {
  readonly bwrapPath: string;
  /** As `bwrap --version` says it, for example "0.8.0". */
  readonly bwrapVersion: string;
  /** The long options that `bwrap --help` lists, without the dashes. */
  readonly bwrapOptions: ReadonlySet<string>;
  readonly executorUid: number;
  /** The host user that jobs run as: another one than the executor's only where the executor is root. */
  readonly jobUser: JobUser;
  /** Links of a merged /usr that a sandbox needs beside /usr: /bin, /sbin, /lib, /lib64, … */
  readonly systemLinks: readonly SystemLink[];
  /** The same where they are real directories. */
  readonly systemDirectories: readonly string[];
  /** Paths below /etc that are shown as they are; only those that exist. */
  readonly etcPaths: readonly string[];
  /** What name resolution needs of /etc beside that, for commands that have the host's network. */
  readonly resolverPaths: readonly string[];
  /** Files and directories below /proc that tell a job about the host and are masked; only those that exist. */
  readonly maskedFiles: readonly string[];
  readonly maskedDirectories: readonly string[];
  /** The system call filter of every command. */
  readonly seccomp: SeccompFilter;
  /** "none" only where the operator has said that rlimits are enough. */
  readonly cgroups: CgroupMechanism | 'none';
}

export type CgroupMechanism = 'cgroup-v1' | 'cgroup-v2';

export interface JobUser {
  readonly uid: number;
  readonly gid: number;
  /** Absent where the uid has no account. */
  readonly name?: string;
}

export interface SystemLink {
  readonly path: string;
  readonly target: string;
}
