import { canonicalJson } from '@csc-fleet/common/encoding';
import type { ListProfilesResponse, Profile } from '@csc-fleet/common/messages';
import {
  type Binding,
  type Bindings,
  bindingOf,
  type PolicyDocument,
  type PolicySet,
} from '@csc-fleet/common/policy';
import type { Principal } from '../execution/executions.ts';
import type { Peers } from '../schedule/peers.ts';

export interface ProfilePorts {
  readonly policies: Pick<PolicySet, 'byName'>;
  readonly bindings: Bindings;
  readonly scheduler: { readonly peers: Pick<Peers, 'matching' | 'whyNone'> };
}

// Of the texts of all profiles in one answer.
const maxPolicyBytes = 1024 * 1024;

/**
 * What the principal may use: the profiles of its own binding, and no others. Of hosts it learns how many there are for
 * it, and of those on which it may run nothing not even that. Empty where nothing is bound to it.
 */
export function listProfiles(
  { policies, bindings, scheduler }: ProfilePorts,
  principal: Principal,
): ListProfilesResponse {
  const binding = bindingOf(bindings, principal.uri);
  let room = maxPolicyBytes;
  const profiles = (binding?.policies ?? []).flatMap((name) => {
    const document = policies.byName(name);
    if (binding === undefined || document === undefined) return [];
    const policyJson = Buffer.from(canonicalJson({ ...document.policy }));
    room -= policyJson.length;
    const shown = room < 0 ? Buffer.alloc(0) : policyJson;
    return [toProfile(document, binding, principal, scheduler.peers, shown)];
  });
  return { profiles, principal: principal.uri };
}

function toProfile(
  { policy: { name }, sha256 }: PolicyDocument,
  binding: Binding,
  { uri }: Principal,
  peers: ProfilePorts['scheduler']['peers'],
  policyJson: Buffer,
): Profile {
  const requirement = { selector: {}, policySha256: sha256, policyProfile: name, principal: uri };
  const matching = peers.matching(requirement);
  return {
    name,
    policySha256: sha256,
    policyJson,
    executors: matching.length,
    freeExecutors: matching.filter(({ free }) => free > 0).length,
    unavailable: peers.whyNone(requirement) ?? '',
    secrets: [...(binding.secrets?.[name] ?? [])],
    secretsByPolicy: binding.secrets === undefined,
  };
}
