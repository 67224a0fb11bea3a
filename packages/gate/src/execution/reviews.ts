import { ExecutionState } from '@csc-fleet/common/messages';
import type { LiveExecution } from './execution.ts';
import { toDecision } from './row.ts';

/**
 * Who must agree yet, for people: as the last verdict left it, or as the policy asks it where there was none. Empty where it
 * waits for nobody, or for anybody.
 */
export function missingOf({ row, reviews }: LiveExecution): string {
  if (row.state !== ExecutionState.AWAITING_APPROVAL) return '';
  const last = reviews.at(-1);
  if (last !== undefined) return last.missing;
  const asked = toDecision(row).findings.flatMap(
    ({ message }) => /^approval required by \S+: (.*)$/.exec(message)?.[1] ?? [],
  );
  return [...new Set(asked)].join(' and ');
}
