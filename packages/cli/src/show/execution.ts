import type { Decision, Execution } from '@csc-fleet/common/messages';
import { plainLine } from '../terminal/text.ts';
import { stateName, verdictName } from './messages-json.ts';

/**
 * An execution as the gate tells it, a member a line.
 * @param keyId whose signature its receipt was verified by; undefined: there is no receipt
 * @param receipt what to say of its receipt instead
 */
export function describeExecution(
  execution: Execution,
  decision: Decision | undefined,
  keyId: string | undefined,
  receipt = keyId === undefined ? 'none: this is what the gate says' : `verified, signed by ${keyId}`,
): string {
  const rows: [string, string | undefined][] = [
    ['execution', execution.executionId],
    ['state', stateName(execution.state)],
    ['intent', execution.intent],
    ['contract', `${execution.contractId} (sha256 ${execution.contractSha256})`],
    ['policy', execution.policyProfile],
    ['decision', decision && `${verdictName(decision.verdict)}: ${decision.reasons.join('; ')}`],
    ['submitted by', execution.principal],
    ['executor', execution.executorId],
    ['submitted', execution.submittedAt?.toISOString()],
    ['started', execution.startedAt?.toISOString()],
    ['ended', execution.endedAt?.toISOString()],
    ['exit code', execution.exitCode?.toString()],
    ['error', execution.error],
    ['receipt', receipt],
  ];
  return rows.map(([name, value]) => (value ? `${name.padEnd(13)}${plainLine(value)}\n` : '')).join('');
}
