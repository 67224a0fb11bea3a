import { lstatSync, readlinkSync, type Stats } from 'node:fs';
import { findCgroupMechanism, probeCgroups } from '../cgroup/index.ts';
import { examineTools, type RunAs, requireChecks, resolveJobUsers } from '../host/index.ts';
import {
  gatherEtc,
  type HostFacts,
  type KeptPlace,
  recallEtc,
  resolverPaths,
  type SystemLink,
} from '../plan/index.ts';
import { loadSeccomp } from '../seccomp/index.ts';
import { askBwrap } from './examine-bwrap.ts';
import { hardLimit, ownLimits } from './shortage-remedy.ts';

export interface ProbeOptions {
  /** Absolute. Default: /usr/bin/bwrap. */
  readonly bwrapPath?: string;
  readonly runAs?: RunAs;
  /** Whether a host without usable cgroups will do. Default: false. */
  readonly acceptRlimitsOnly?: boolean;
  /**
   * True: who asks opens cgroups as soon as it has the answer, and hears from that, with the same words, whether they can be
   * had; where they may be done without they are tried all the same. Default: false, one is made and removed again.
   */
  readonly opensCgroups?: boolean;
  /** A file with a further system call filter. */
  readonly seccompProfile?: string;
  /** A directory of this user's own, for what bwrap says of itself and /etc holds. Absent: both are asked anew. */
  readonly keptIn?: string;
  /** What else jobs may not write. Default: nothing. */
  readonly kept?: readonly KeptPlace[];
}

export const defaultBwrapPath = '/usr/bin/bwrap';

/**
 * Gathers what the sandbox depends on. Quick, so it does not try whether namespaces can be had: `requireHost` does.
 * Throws SANDBOX_UNAVAILABLE with what to do.
 */
export async function probeHost(options: ProbeOptions = {}): Promise<HostFacts> {
  const bwrapPath = options.bwrapPath ?? defaultBwrapPath;
  const executorUid = process.getuid?.() ?? -1;
  requireChecks([examineTools(executorUid)]);
  const bwrap = await askBwrap(bwrapPath, options.keptIn);
  requireChecks(bwrap.checks);
  const paths = findSystemPaths();
  const shown = ['/usr', ...paths.systemDirectories];
  return {
    bwrapPath,
    bwrapVersion: bwrap.version,
    bwrapOptions: bwrap.options,
    executorUid,
    jobUsers: resolveJobUsers(options.runAs, { uid: executorUid, gid: process.getgid?.() ?? -1 }),
    ...paths,
    resolverPaths: resolverPaths.filter((path) => look(path) !== undefined),
    etc: options.keptIn === undefined ? gatherEtc(shown) : recallEtc(shown, options.keptIn),
    ...findMasks(),
    seccomp: loadSeccomp(options.seccompProfile === undefined ? {} : { profileFile: options.seccompProfile }),
    cgroups: chooseMechanism(options),
    coreBytes: hardLimit(ownLimits(), 'Max core file size') >= 1 ? 1 : 0,
    kept: [...keptForLater(options.keptIn), ...(options.kept ?? [])],
  };
}

function keptForLater(path: string | undefined): KeptPlace[] {
  return path === undefined ? [] : [{ path, name: 'the cache directory of csc (below XDG_CACHE_HOME)' }];
}

// There is no weaker fallback that nobody has asked for.
function chooseMechanism({
  acceptRlimitsOnly = false,
  opensCgroups = false,
}: ProbeOptions): HostFacts['cgroups'] {
  const mechanism = findCgroupMechanism();
  if (mechanism !== undefined && opensCgroups && !acceptRlimitsOnly) return mechanism;
  const checks = probeCgroups();
  if (mechanism !== undefined && checks.every(({ ok }) => ok)) return mechanism;
  if (!acceptRlimitsOnly) requireChecks(checks);
  return 'none';
}

function findSystemPaths(): { systemLinks: SystemLink[]; systemDirectories: string[] } {
  const systemLinks: SystemLink[] = [];
  const systemDirectories: string[] = [];
  for (const path of ['/bin', '/sbin', '/lib', '/lib32', '/lib64', '/libx32']) {
    const stats = look(path);
    if (stats?.isSymbolicLink()) systemLinks.push({ path, target: readlinkSync(path) });
    else if (stats?.isDirectory()) systemDirectories.push(path);
  }
  return { systemLinks, systemDirectories };
}

// What container runtimes mask as well (the OCI default), and what tells of the host's keys, kernel and devices.
const hostDirectories = ['acpi', 'asound', 'scsi'];
const hostFiles = [
  ...['config.gz', 'interrupts', 'kallsyms', 'kcore', 'key-users', 'keys'],
  ...['latency_stats', 'sched_debug', 'timer_list', 'timer_stats'],
];

function findMasks(): { maskedFiles: string[]; maskedDirectories: string[] } {
  return { maskedFiles: hostFiles.flatMap(readable), maskedDirectories: hostDirectories.flatMap(readable) };
}

// What only root may read needs no mask: no job is root.
function readable(name: string): string[] {
  const stats = look(`/proc/${name}`);
  return stats !== undefined && (stats.mode & 0o004) !== 0 ? [`/proc/${name}`] : [];
}

function look(path: string): Stats | undefined {
  return lstatSync(path, { throwIfNoEntry: false });
}
