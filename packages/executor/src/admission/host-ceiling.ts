import { camelKeys } from '@csc-fleet/common/config';
import { type NetworkMode, networkModes } from '@csc-fleet/common/contract';
import { CscError } from '@csc-fleet/common/errors';
import { type HostRule, rulesFor } from '@csc-fleet/common/owners';
import { isCoveredBy } from '@csc-fleet/common/paths';
import { identityPattern, matchesPattern } from '@csc-fleet/common/policy';
import { type EgressHost, egressHostEntry } from '@csc-fleet/common/schema';
import * as z from 'zod';
import type { OwnersWord } from './owners.ts';

/** What this host grants at most, whatever a policy or a ticket says. It belongs to the host's owner and never travels. */
export interface HostCeiling {
  /** Whatever a contract declares must lie below one of these. */
  readonly pathRoots: readonly string[];
  /** The widest network mode. */
  readonly network: NetworkMode;
  /** Where an allowlisted network may lead, as policies write it; the policy must name it too. */
  readonly egressHosts: readonly EgressHost[];
  /** Further lists that must name it as well. Absent: none. */
  readonly egressAlso?: readonly (readonly EgressHost[])[];
  /** The secrets that this host hands out. */
  readonly secrets: readonly string[];
  /** Programs by argv[0]. Absent: those that the policy allows. */
  readonly commands?: readonly string[];
  /** Identity patterns of those who may submit. Absent: whoever the policy is bound to. */
  readonly principals?: readonly string[];
  /** Whether argv may carry code of its own, as in `sh -c …`. */
  readonly inlineCode: boolean;
  /** `unshared`: commands that cannot meet one of another run have them. `deny`: none has any but connected pairs. */
  readonly unixSockets: 'unshared' | 'deny';
  /**
   * Whether a contract may have a terminal, where its policy grants one. `signed`: where its submitter has signed that; of what
   * nobody has signed, it is the gate that says whose key types.
   */
  readonly terminal: boolean | 'signed';
  /** The most of a contract's stdout that is kept, where policy and submitter want more than what comes unasked. Absent: that. */
  readonly stdoutBytes?: number;
  readonly stderrBytes?: number;
}

/** What an owner grants who says nothing. */
export const defaultCeiling: HostCeiling = {
  pathRoots: ['/'],
  network: 'deny',
  egressHosts: [],
  secrets: [],
  inlineCode: false,
  unixSockets: 'unshared',
  terminal: true,
};

const absolutePath = z.string().regex(/^\/(?!.*(^|\/)\.\.(\/|$))/, 'must be an absolute path without ..');

/** The `ceiling` of an executor's config, as a HostCeiling. What it leaves out is `defaultCeiling`'s. */
export const ceilingConfig = z
  .strictObject({
    path_roots: z
      .array(absolutePath)
      .min(1)
      .default([...defaultCeiling.pathRoots]),
    network: z.enum(networkModes).default(defaultCeiling.network),
    egress_hosts: z.array(egressHostEntry).default([]),
    secrets: z.array(z.string().min(1)).default([]),
    commands: z.array(z.string().min(1)).exactOptional(),
    principals: z.array(identityPattern).exactOptional(),
    inline_code: z.boolean().default(defaultCeiling.inlineCode),
    unix_sockets: z.enum(['unshared', 'deny']).default(defaultCeiling.unixSockets),
    terminal: z.union([z.boolean(), z.literal('signed')]).default(defaultCeiling.terminal),
    stdout_bytes: z.int().min(0).exactOptional(),
    stderr_bytes: z.int().min(0).exactOptional(),
  })
  .prefault({})
  .transform(camelKeys);

/** What is to run, and for whom. */
export interface Asking {
  readonly policy_profile: string;
  /** Absent: that is not known yet. */
  readonly principal?: string;
}

/**
 * What bounds this host: its own ceiling, narrowed by every rule of hosts.yaml that means it. Throws
 * HOST_CEILING_EXCEEDED where there is a hosts.yaml and no rule of it means this host, or one of them keeps the profile
 * or the principal off it.
 */
export function ceilingUnder(
  own: HostCeiling,
  { hosts }: OwnersWord,
  labels: Readonly<Record<string, string>>,
  { policy_profile: profile, principal }: Asking,
): HostCeiling {
  if (hosts === undefined) return own;
  const rules = rulesFor(hosts, labels);
  if (rules.length === 0) throw exceeded('hosts.yaml has no rule for a host with its labels');
  for (const { policies, principals } of rules) {
    if (policies?.includes(profile) === false)
      throw exceeded(`hosts.yaml keeps the profile ${profile} off it`);
    if (principal !== undefined && principals?.some((it) => matchesPattern(it, principal)) === false)
      throw exceeded(`hosts.yaml lets it run nothing for ${principal}`);
  }
  return rules.reduce(narrow, own);
}

function narrow(ceiling: HostCeiling, rule: HostRule): HostCeiling {
  const { commands, egressAlso = [] } = ceiling;
  const named = rule.commands;
  return {
    ...ceiling,
    pathRoots: commonRoots(ceiling.pathRoots, rule.path_roots),
    network: networkModes[Math.min(rank(ceiling.network), rank(rule.network))] ?? 'deny',
    egressAlso: [...egressAlso, rule.egress_hosts],
    secrets: ceiling.secrets.filter((name) => rule.secrets.includes(name)),
    inlineCode: ceiling.inlineCode && rule.inline_code,
    terminal: lesser(ceiling.terminal, rule.terminal ?? true),
    ...(named === undefined ? {} : { commands: commands?.filter((name) => named.includes(name)) ?? named }),
  };
}

// In this order: none, signed, any.
function lesser(some: HostCeiling['terminal'], other: HostCeiling['terminal']): HostCeiling['terminal'] {
  if (!some || !other) return false;
  return some === 'signed' ? some : other;
}

function rank(network: HostCeiling['network']): number {
  return networkModes.indexOf(network);
}

// What lies below a root of both.
function commonRoots(some: readonly string[], others: readonly string[]): string[] {
  const within = (inner: readonly string[], outer: readonly string[]) =>
    inner.filter((root) => isCoveredBy(root, outer));
  return [...new Set([...within(some, others), ...within(others, some)])];
}

function exceeded(why: string): CscError {
  return new CscError('HOST_CEILING_EXCEEDED', `this host does not run it: ${why}`);
}
