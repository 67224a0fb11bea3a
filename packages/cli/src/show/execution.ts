import type {
  Absence,
  Decision,
  Execution,
  GetExecutionResponse,
  Reviewed,
} from '@csc-fleet/common/messages';
import { plainLine } from '../terminal/text.ts';
import { stateName, verdictName } from './messages-json.ts';

/**
 * An execution as the gate tells it, a member a line.
 * @param keyId whose signature its receipt was verified by; undefined: there is no receipt
 * @param receipt what to say of its receipt instead
 * @param absence since when its executor is away. Absent: it is there
 */
export function describeExecution(
  execution: Execution,
  decision: Decision | undefined,
  keyId: string | undefined,
  receipt = keyId === undefined ? 'none: this is what the gate says' : `verified, signed by ${keyId}`,
  absence?: Absence | undefined,
  { reviews, approvalMissing }: Asked = { reviews: [], approvalMissing: '' },
): string {
  const rows: [string, string | undefined][] = [
    ['execution', execution.executionId],
    ['state', stateName(execution.state)],
    ['intent', execution.intent],
    ['contract', `${execution.contractId} (sha256 ${execution.contractSha256})`],
    ['policy', execution.policyProfile],
    ['decision', decision && `${verdictName(decision.verdict)}: ${decision.reasons.join('; ')}`],
    ['submitted by', execution.principal],
    ...reviews.map((it): [string, string] => [
      verdictNames.get(it.verdict) ?? it.verdict,
      describeVerdict(it),
    ]),
    [
      'missing',
      approvalMissing && `${approvalMissing}: they agree with csc approve ${execution.executionId}`,
    ],
    // Who has left sees it queued for ever, though hosts are free.
    [
      'waits for',
      execution.mustNameHost === true
        ? `its submitter, who must name its host: csc get ${execution.executionId} --follow does`
        : '',
    ],
    [
      'glass',
      execution.glassBroken === true ? 'BROKEN: it runs without the approvals that its policy asks for' : '',
    ],
    ['executor', execution.executorId],
    ['away', absence?.lostAt && `its executor ${describeAbsence(absence)}`],
    ['submitted', execution.submittedAt?.toISOString()],
    ['started', execution.startedAt?.toISOString()],
    ['ended', execution.endedAt?.toISOString()],
    ['exit code', execution.exitCode?.toString()],
    ['error', execution.error],
    ['receipt', receipt],
  ];
  return rows.map(([name, value]) => (value ? `${name.padEnd(13)}${plainLine(value)}\n` : '')).join('');
}

/** What people have said of it, and who must agree yet. */
type Asked = Pick<GetExecutionResponse, 'reviews' | 'approvalMissing'>;

const verdictNames = new Map([
  ['approve', 'approved by'],
  ['reject', 'rejected by'],
  ['break_glass', 'broken by'],
]);

function describeVerdict({ approver, group, reason }: Reviewed): string {
  return `${approver} (${group})${reason === '' ? '' : `: ${reason}`}`;
}

/** How long an executor has been away, and when what it has is LOST: after its name in a sentence. */
export function describeAbsence(
  { executorId, since, lostAt }: Pick<Absence, 'executorId' | 'since' | 'lostAt'>,
  now = new Date(),
): string {
  const seconds = (from: Date, to: Date): number =>
    Math.max(0, Math.round((to.getTime() - from.getTime()) / 1000));
  if (since === undefined) return `${executorId} is away`;
  const away = `${executorId} has been away for ${seconds(since, now)} s`;
  return lostAt === undefined
    ? away
    : `${away}; LOST after ${seconds(since, lostAt)} s unless it is back before`;
}

/** The same for programs. */
export function absenceJson({ executorId, since, lostAt }: Absence): object {
  return { executor_id: executorId, since, lost_at: lostAt };
}
