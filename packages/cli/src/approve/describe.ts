import type { CommandContract } from '@csc-fleet/common/contract';
import type { PendingApproval, QuorumState } from '@csc-fleet/common/messages';
import { contractLines, describeContract, wrapLine } from '../show/contract.ts';
import { describeFindings } from '../show/decision.ts';
import { formatTime } from '../terminal/table.ts';
import { formatElapsed, type Paint, plainLine } from '../terminal/text.ts';
import { diffLines } from './diff.ts';
import { type ApprovalRequest, findDangers, type Review } from './request.ts';

/** What somebody is to be told beside the request itself. */
export interface Shown {
  readonly paint: Paint;
  /** Of the terminal; 0 where it is not known. No line is longer. */
  readonly columns: number;
  readonly now: Date;
}

/**
 * All that somebody agrees to, and by whose word it is known: the contract in full, what it changes, what the policy finds, who
 * asks and who else was asked. Nothing is left out; nothing from elsewhere can move what stands beside it.
 */
export function describeRequest(request: ApprovalRequest, shown: Shown): string {
  const { paint, columns } = shown;
  const sections = [
    wrapLine(`${paint('bold', 'Approval')} ${plainLine(request.executionId)}`, columns, 2),
    ...describeAsked(request, shown),
    '',
    describeContract(request.contract, paint, columns),
    '',
    ...describeChange(request, shown),
    '',
    ...describeJudgement(request, shown),
    '',
    ...describePeople(request, shown),
  ];
  const dangers = findDangers(request);
  const warnings = request.doubts.map((doubt) => `${paint(['yellow', 'bold'], 'DOUBT')} ${plainLine(doubt)}`);
  const danger = `${paint(['red', 'bold'], 'DANGEROUS')} it wants ${plainLine(dangers.join('; '))}`;
  const ending = [...warnings, ...(dangers.length === 0 ? [] : [danger])];
  if (ending.length > 0) sections.push('', ...ending.map((line) => wrapLine(line, columns, 2)));
  return sections.join('\n');
}

const byWords = {
  signed: 'by a signature of a key that the owners name',
  unverified: 'as the gate says: by a signature that is not verified here',
  gate: 'as the gate says: nobody has signed it',
} as const;

function describeAsked(request: ApprovalRequest, { columns, now }: Shown): string[] {
  const { pending, principal, principalBy, submission, trustDomain } = request;
  const { execution, until } = pending;
  const age = execution?.submittedAt === undefined ? '' : `, ${formatAge(execution.submittedAt, now)} ago`;
  const { selector = {}, executor_id: host } = submission?.audience ?? {};
  const hosts = Object.entries(selector).map(([label, value]) => `${label}=${value}`);
  const where = host ?? (hosts.length === 0 ? 'any host' : `hosts with ${hosts.join(', ')}`);
  const terminal = submission?.options.terminal === undefined ? '' : ', on a terminal that it is typed into';
  return rowsOf(columns, [
    ['asked by', `${principal}, ${byWords[principalBy]}`],
    ['asked', `${formatTime(execution?.submittedAt)}${age} (gate’s clock)`],
    ['waits to', `${formatTime(until)}, as the gate says`],
    // What a signature of the submitter’s says too was held against it.
    [
      'fleet',
      `${trustDomain}, ${principalBy === 'signed' ? 'as its submitter has signed' : 'as the gate says'}`,
    ],
    ['runs on', submission === undefined ? 'any host that the gate chooses' : `${where}${terminal}`],
  ]);
}

function describeChange({ last, contract }: ApprovalRequest, { paint, columns }: Shown): string[] {
  const title = paint('bold', 'Change');
  if (last === undefined)
    return [wrapLine(`${title} none of this kind was approved before, says the gate`, columns, 2)];
  const of = `${plainLine(last.executionId)}, approved ${formatTime(last.at)}`;
  const head = wrapLine(`${title} since ${of} (which that is, is the gate’s word)`, columns, 2);
  const lines = diffContracts(last.contract, contract);
  if (lines === undefined) return [head, '  too much to be compared line by line: read all of it'];
  const changed = lines.filter(({ sign }) => sign !== ' ');
  if (changed.length === 0) return [head, '  nothing but ids and words of its author at most'];
  return [
    head,
    ...changed.map(({ sign, text }) =>
      paint(sign === '-' ? 'red' : 'green', wrapLine(`  ${sign} ${text}`, columns, 6)),
    ),
  ];
}

/** What is run, where, and what it may touch: not its ids, and not the words of its author. */
function diffContracts(before: CommandContract, after: CommandContract) {
  return diffLines(contractLines(before), contractLines(after));
}

function describeJudgement(
  { evaluation, policy, policyBy, policyVersion, contractSha256 }: ApprovalRequest,
  { paint, columns }: Shown,
): string[] {
  const { verdict, reasons, findings } = evaluation;
  const view = {
    verdict,
    reasons,
    contractSha256,
    findings: findings.map(({ reasonCode, member, message }) => ({ reasonCode, member, message })),
  };
  const version = policyVersion === undefined ? '' : ` of version ${policyVersion} of the repository`;
  const from =
    policyBy === 'owners'
      ? `as in the owners’ files here${version === '' ? '' : `;${version}, says the gate`}`
      : `as the gate shows it${version === '' ? '' : `:${version}`}`;
  const { name, allowed_egress_hosts: hosts } = policy.policy;
  return [
    ...describeFindings(view, paint)
      .split('\n')
      .map((line) => wrapLine(line, columns, 4)),
    ...rowsOf(columns, [
      ['policy', `${name}, ${from}`],
      ['sha256', policy.sha256],
      ['egress', hosts.length === 0 ? 'to no host' : hosts.map(String).join(' ')],
    ]),
  ];
}

function describePeople({ pending, reviews }: ApprovalRequest, { paint, columns, now }: Shown): string[] {
  const wanted = describeQuorum(pending).map((text): [string, string] => ['wanted', text]);
  return [
    `${paint('bold', 'People')} who are wanted, as the gate says`,
    ...rowsOf(columns, wanted),
    ...rowsOf(
      columns,
      reviews.map((it): [string, string] => [
        it.approval.verdict === 'approve' ? 'agreed' : 'REJECTED',
        toWords(it, now),
      ]),
    ),
  ];
}

function toWords({ approval, verified }: Review, now: Date): string {
  const { approver, group, reason = '', approved_at: at } = approval;
  const by =
    verified === undefined
      ? 'not verified here'
      : verified
        ? 'signature verified'
        : 'NOT TO THIS, OR NOT THEIRS: DOES NOT COUNT';
  const why = reason === '' ? '' : `: ${reason}`;
  return `${approver.identity} for ${group}, ${formatAge(new Date(at), now)} ago (${by})${why}`;
}

/** What is still to be had of whom, each a line; by the gate's word. */
export function describeQuorum({ quorum, people }: Pick<PendingApproval, 'quorum' | 'people'>): string[] {
  const groups = quorum.map((it) => {
    const whose = it.group === '' ? 'anybody who may approve' : it.group;
    const who = it.approvedBy.length === 0 ? '' : `: ${it.approvedBy.join(', ')}`;
    return `${it.approvedBy.length} of ${it.count} of ${whose}${who}`;
  });
  // Of several groups somebody may be in two. Of one, its line says it.
  const asked = quorum.reduce((sum, it) => sum + it.count, 0);
  const isSaid = quorum.length < 2 && people <= asked;
  return people > 1 && !isSaid
    ? [...groups, `${people} different people: who is of several groups counts once`]
    : groups;
}

/** How many are still to come, at least. */
export function missingOf(quorum: readonly QuorumState[]): number {
  return quorum.reduce((sum, it) => sum + Math.max(it.count - it.approvedBy.length, 0), 0);
}

export function formatAge(at: Date, now: Date): string {
  return formatElapsed(Math.max(now.getTime() - at.getTime(), 0));
}

const nameWidth = 11;

function rowsOf(columns: number, rows: readonly (readonly [string, string])[]): string[] {
  return rows.map(([name, value]) =>
    wrapLine(`  ${name.padEnd(nameWidth)}${plainLine(value)}`, columns, 2 + nameWidth),
  );
}
