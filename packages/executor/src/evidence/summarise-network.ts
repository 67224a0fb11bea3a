import type { CommandContract } from '@csc-fleet/common/contract';
import type { ReceiptV02 } from '@csc-fleet/common/receipt';
import { type EgressSummary, mergeSummaries } from '../egress/index.ts';
import type { CommandOutcome } from './command-outcome.ts';

type NetworkEffects = Pick<NonNullable<ReceiptV02['effect_summary']>, 'network_used' | 'egress'>;

/** What a receipt says of the network: whether it was used, and where what was asked of the proxy would have led. */
export function summariseNetwork(
  { commands }: CommandContract,
  outcomes: readonly CommandOutcome[],
): NetworkEffects {
  const summaries = outcomes.flatMap(({ egress }): EgressSummary[] => (egress === undefined ? [] : [egress]));
  // With the host's own network nobody counts: what was started may have used it.
  const hadAll = outcomes.some(
    ({ commandId, startedAt }) =>
      startedAt !== undefined && commands.find(({ id }) => id === commandId)?.network === 'full',
  );
  if (summaries.length === 0) return { network_used: hadAll };
  const egress = mergeSummaries(summaries);
  return { network_used: hadAll || egress.allowed > 0, egress };
}
