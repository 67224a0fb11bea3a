import { type Decision, type Execution, ExecutionState, Verdict } from '@csc-fleet/common/messages';
import { type DecisionView, describeDecision } from '../check/describe.ts';
import type { Paint } from '../terminal/colour.ts';
import { formatElapsed } from '../terminal/elapsed.ts';
import { plainLine } from '../terminal/plain-text.ts';
import type { Outcome } from './outcome.ts';

/** How it ended, for people: one line, and what to do where that helps. */
export function describeOutcome(outcome: Outcome, paint: Paint): string {
  const { execution, decision } = outcome;
  const isDenied = decision?.verdict === Verdict.DENY && execution.state === ExecutionState.BLOCKED;
  if (isDenied) return describeDecision(toDecisionView(decision), paint);
  if (execution.state === ExecutionState.AWAITING_APPROVAL && decision !== undefined) {
    return describeAwaiting(outcome, decision, paint);
  }
  const { format, title, text } = describeEnd(outcome);
  const lines = [`${paint([format, 'bold'], title)} — ${plainLine(text)}`];
  if (execution.error !== '' && !text.includes(execution.error))
    lines.push(`  ${plainLine(execution.error)}`);
  if (outcome.contradiction !== undefined) lines.unshift(describeContradiction(outcome.contradiction, paint));
  return lines.join('\n');
}

// Whoever watches the gate's events has been told something else.
function describeContradiction(said: string, paint: Paint): string {
  const title = paint(['red', 'bold'], 'WARNING');
  return `${title} — the gate said ${said}; the executor's signed receipt says otherwise, and that counts:`;
}

/** A gate's decision as `csc check` shows decisions. */
export function toDecisionView(decision: Decision): DecisionView {
  const verdicts = { [Verdict.ALLOW]: 'allow', [Verdict.NEEDS_APPROVAL]: 'needs_approval' } as const;
  const { verdict, reasons, findings, contractSha256 } = decision;
  const known = verdict === Verdict.ALLOW || verdict === Verdict.NEEDS_APPROVAL ? verdicts[verdict] : 'deny';
  return { verdict: known, reasons, findings, contractSha256 };
}

function describeAwaiting({ executionId }: Outcome, decision: Decision, paint: Paint): string {
  const until = decision.expiresAt === undefined ? '' : ` until ${decision.expiresAt.toISOString()}`;
  return [
    describeDecision(toDecisionView(decision), paint),
    `Execution ${plainLine(executionId)} waits for it${until}: submit the same contract with --approval FILE.`,
  ].join('\n');
}

interface End {
  readonly format: 'green' | 'red' | 'yellow';
  readonly title: string;
  readonly text: string;
}

function describeEnd({ execution, exitCode }: Outcome): End {
  const where = `${execution.executorId === '' ? '' : ` on ${execution.executorId}`}${elapsed(execution)}`;
  const exit = exitCode === undefined ? 'no exit code' : `exit code ${exitCode}`;
  switch (execution.state) {
    case ExecutionState.SUCCEEDED:
      return { format: 'green', title: 'SUCCESS', text: `${exit}${where}` };
    case ExecutionState.FAILED:
      return { format: 'red', title: 'FAILED', text: `${exit}${where}` };
    case ExecutionState.CANCELLED:
      return { format: 'yellow', title: 'CANCELLED', text: `${exit}${where}` };
    case ExecutionState.BLOCKED:
      return { format: 'yellow', title: 'BLOCKED', text: execution.error || 'nothing was run' };
    case ExecutionState.EXPIRED:
      return { format: 'yellow', title: 'EXPIRED', text: execution.error || 'it was not started in time' };
    case ExecutionState.LOST:
      return {
        format: 'red',
        title: 'LOST',
        text: `the executor is gone and has not said how it ended${where}`,
      };
    default:
      return { format: 'yellow', title: 'UNDECIDED', text: 'it has not ended' };
  }
}

function elapsed({ startedAt, endedAt }: Execution): string {
  if (startedAt === undefined || endedAt === undefined) return '';
  return ` in ${formatElapsed(endedAt.getTime() - startedAt.getTime())}`;
}
