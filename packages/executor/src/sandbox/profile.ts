import { canonicalJson, type JsonObject, sha256Hex } from '@csc-fleet/common/encoding';
import type { HostFacts } from './host-facts.ts';
import type { Mount, Namespace, SandboxPlan } from './plan.ts';

/** A receipt's `sandbox` member (v0.2): what was enforced, and by which mechanism. */
export interface SandboxReport {
  readonly mechanism: 'bubblewrap' | 'none';
  readonly bwrap_version?: string;
  readonly namespaces: Namespace[];
  readonly limits: { readonly name: string; readonly value: number; readonly mechanism: string }[];
  /** The host user that the command ran as. */
  readonly uid?: number;
  readonly gid?: number;
}

/**
 * The receipt's `sandbox_profile_id`: SHA-256 (hex) of the plan's canonical JSON. Two runs have the same one exactly if
 * they saw the same sandbox; the values of environment variables are not part of it, as they could be guessed from it.
 */
export function sandboxProfileId(plan: SandboxPlan): string {
  const effective: JsonObject = {
    ...plan,
    namespaces: [...plan.namespaces],
    credentials: plan.credentials === undefined ? null : { ...plan.credentials },
    environment: Object.keys(plan.environment).sort(),
    mounts: plan.mounts.map((mount) => ({ ...mount })),
  };
  return sha256Hex(canonicalJson(effective));
}

/** What a receipt says of a sandboxed run. */
export function describeSandbox(plan: SandboxPlan, facts: HostFacts): SandboxReport {
  return {
    mechanism: 'bubblewrap',
    bwrap_version: facts.bwrapVersion,
    namespaces: [...plan.namespaces],
    limits: plan.mounts.flatMap(toLimit),
    uid: facts.jobUser.uid,
    gid: facts.jobUser.gid,
  };
}

/** What a receipt says of a run without a sandbox. */
export function describeLocal(): SandboxReport {
  return { mechanism: 'none', namespaces: [], limits: [] };
}

const limitNames: Readonly<Record<string, string>> = {
  '/tmp': 'tmp_bytes',
  '/home/user': 'home_bytes',
  '/dev/shm': 'shm_bytes',
};

function toLimit(mount: Mount): SandboxReport['limits'] {
  const name = limitNames[mount.destination];
  return mount.kind === 'tmpfs' && name !== undefined
    ? [{ name, value: mount.bytes, mechanism: 'tmpfs' }]
    : [];
}
