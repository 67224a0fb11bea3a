import { canonicalJson, type JsonObject, sha256Hex } from '@csc-fleet/common/encoding';
import type { SandboxReport } from '@csc-fleet/common/receipt';
import type { CgroupMechanism } from '../cgroup/index.ts';
import { encodePath } from '../host/index.ts';
import type { RunFacts } from './facts.ts';
import type { Mount, Rlimit, SandboxPlan } from './plan.ts';
import { sandboxHome } from './view.ts';

/**
 * The receipt's `sandbox_profile_id`: SHA-256 (hex) of the plan's canonical JSON. Two runs have the same one exactly if
 * they saw the same sandbox; the values of environment variables are not part of it, as they could be guessed from it,
 * and neither is the host user, which a job does not see and which a pool gives to each run anew.
 */
export function sandboxProfileId(plan: SandboxPlan): string {
  const { credentials: _, ...rest } = plan;
  const effective = { ...rest, environment: Object.keys(plan.environment).sort() } as unknown as JsonObject;
  try {
    return sha256Hex(canonicalJson(effective));
  } catch {
    return sha256Hex(canonicalJson(withTextNames(effective)));
  }
}

// Canonical JSON is UTF-8, which names on a host need not be: such a path is its bytes in hex, behind a NUL, which is in
// no path, so that it is no other one's text.
function withTextNames(value: JsonObject): JsonObject {
  return JSON.parse(JSON.stringify(value), (_, member: unknown) => {
    if (typeof member !== 'string' || member.isWellFormed()) return member;
    return `\0${Buffer.from(encodePath(member)).toString('hex')}`;
  });
}

/** What a receipt says of a sandboxed run. */
export function describeSandbox(plan: SandboxPlan, { jobUser }: Pick<RunFacts, 'jobUser'>): SandboxReport {
  const { uid, gid, name, group } = jobUser;
  return {
    mechanism: 'bubblewrap',
    bwrap_version: plan.bwrapVersion,
    namespaces: [...plan.namespaces],
    network: plan.network,
    cgroup: toVersion(plan.cgroup?.mechanism),
    seccomp_sha256: plan.seccomp.sha256,
    limits: [
      ...cgroupLimits(plan),
      ...rlimitLimits(plan),
      ...plan.mounts.flatMap(toLimit),
      { name: 'write_bytes', value: plan.writeBytes, mechanism: 'watch' },
      { name: 'write_files', value: plan.writeFiles, mechanism: 'watch' },
    ],
    uid,
    gid,
    ...(name === undefined ? {} : { user: name }),
    ...(group === undefined ? {} : { group }),
  };
}

/** What a receipt says of a run without a sandbox. */
export function describeLocal(): SandboxReport {
  return { mechanism: 'none', namespaces: [], limits: [] };
}

function toVersion(mechanism: CgroupMechanism | undefined): 'v1' | 'v2' | 'none' {
  if (mechanism === undefined) return 'none';
  return mechanism === 'cgroup-v1' ? 'v1' : 'v2';
}

type Limits = SandboxReport['limits'];

function cgroupLimits({ cgroup }: SandboxPlan): Limits {
  if (cgroup === undefined) return [];
  const { mechanism, memory_bytes, processes, cpu_millis } = cgroup;
  return [
    { name: 'memory_bytes', value: memory_bytes, mechanism: `${mechanism} memory` },
    { name: 'processes', value: processes, mechanism: `${mechanism} pids` },
    { name: 'cpu_millis', value: cpu_millis, mechanism: `${mechanism} cpu` },
  ];
}

const rlimitNames: Readonly<Record<Rlimit, string>> = {
  core: 'core_bytes',
  fsize: 'file_bytes',
  nofile: 'open_files',
  nproc: 'processes',
};

function rlimitLimits({ rlimits }: SandboxPlan): Limits {
  return Object.entries(rlimits).map(([name, value]) => ({
    name: rlimitNames[name as Rlimit],
    value,
    mechanism: 'rlimit',
  }));
}

const tmpfsNames: Readonly<Record<string, string>> = {
  '/tmp': 'tmp_bytes',
  [sandboxHome]: 'home_bytes',
  '/dev/shm': 'shm_bytes',
};

function toLimit(mount: Mount): Limits {
  const name = tmpfsNames[mount.destination];
  return mount.kind === 'tmpfs' && name !== undefined
    ? [{ name, value: mount.bytes, mechanism: 'tmpfs' }]
    : [];
}
