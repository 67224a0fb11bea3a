import { type Limits, narrowLimits } from '@csc-fleet/common/limits';
import type { PolicyDocument } from '@csc-fleet/common/policy';
import type { Host } from '../run/host.ts';
import type { Granted } from '../run/workplace.ts';

/**
 * What a run may have: the host's config is the most, and the owner's policy and the ticket can only take away from it.
 * A gate that was taken over can therefore starve a run, and never feed it.
 * @param limits the ticket's
 */
export function grantOf(
  { policy }: PolicyDocument,
  limits: Limits,
  { secrets, user }: Pick<Granted, 'secrets' | 'user'>,
  { runLimits, ceiling }: Pick<Host, 'runLimits' | 'ceiling'>,
): Granted {
  return {
    policy,
    limits: narrowLimits(narrowLimits(runLimits, policy.limits ?? {}), limits),
    secrets,
    ...(user === undefined ? {} : { user }),
    pathRoots: ceiling.pathRoots,
    unixSockets: ceiling.unixSockets,
    egressHosts: [policy.allowed_egress_hosts, ceiling.egressHosts],
  };
}
