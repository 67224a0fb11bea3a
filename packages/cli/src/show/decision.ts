import { type Paint, plainLine } from '../terminal/text.ts';

/** What a person reads of a decision; from `csc check`, or from a gate. */
export interface DecisionView {
  readonly verdict: 'allow' | 'deny' | 'needs_approval';
  readonly reasons: readonly string[];
  readonly findings: readonly FindingView[];
  readonly contractSha256: string;
  /** The policy that a gate has decided by, of those that its caller may use. Absent: it was named as a file. */
  readonly policyProfile?: string;
}

interface FindingView {
  readonly reasonCode: string;
  /** Empty where it is of the whole contract. */
  readonly member: string;
  readonly message: string;
}

const titles = {
  allow: { format: 'green', title: 'ALLOW' },
  deny: { format: 'red', title: 'DENY' },
  needs_approval: { format: 'yellow', title: 'NEEDS APPROVAL' },
} as const;

/**
 * `ALLOW — reason`, then every finding, then what to do, for whoever wants it run.
 * @param executionId what waits at a gate. Absent: it was only asked, or is to run in this process
 */
export function describeDecision(view: DecisionView, paint: Paint, executionId?: string): string {
  return [describeFindings(view, paint), ...whatToDo(view, executionId)].join('\n');
}

/**
 * Who must agree by a signature, as the policy's rules say: `2 of release and 1 of security`; undefined where it names no
 * groups, so that an approval of v0.1 may do.
 */
export function groupsAsked({ findings }: Pick<DecisionView, 'findings'>): string | undefined {
  const asked = findings.flatMap(({ reasonCode, message }) =>
    reasonCode === 'APPROVAL_REQUIRED' ? (byRule.exec(message)?.slice(1) ?? []) : [],
  );
  return asked.length === 0 ? undefined : plainLine([...new Set(asked)].join(' and '));
}

// As judgeApprovalRules says it, whose message is all that a decision has of the rule.
const byRule = /^approval required by approvals\[\d+\]: (.+)$/;

/** `ALLOW — reason`, then every finding. */
export function describeFindings(view: DecisionView, paint: Paint): string {
  const { format, title } = titles[view.verdict];
  const lines = [`${paint([format, 'bold'], title)} — ${plainLine(view.reasons.join('; '))}`];
  for (const { reasonCode, member, message } of view.findings) {
    const said = view.reasons.includes(message) ? '' : `: ${plainLine(message)}`;
    lines.push(`  ${reasonCode}${member === '' ? '' : ` ${plainLine(member)}`}${said}`);
  }
  return lines.join('\n');
}

function whatToDo(view: DecisionView, executionId: string | undefined): string[] {
  if (view.verdict === 'allow') return [];
  if (view.verdict === 'deny') {
    // Nothing about the contract is wrong then.
    if (view.findings.some(({ reasonCode }) => reasonCode === 'EMERGENCY_DENY_ALL'))
      return [
        'What to do: ask the owners of the fleet, who have stopped this, whatever the contract asks for.',
      ];
    // Whoever names no profile is judged by the first of theirs, and cannot know that by the findings.
    if (view.policyProfile !== undefined && view.policyProfile !== '')
      return [
        `What to do: ask for less than the policy ${plainLine(view.policyProfile)} allows, by which this was decided, or use another of yours (--profile NAME; csc profiles shows them), or ask its owner for more.`,
      ];
    return ['What to do: ask for less in the contract, or ask the policy’s owner for more.'];
  }
  const groups = groupsAsked(view);
  if (groups !== undefined) {
    const first = executionId === undefined ? 'hand it in with csc submit; then ' : '';
    const approve = `csc approve ${plainLine(executionId ?? 'ID')}`;
    return [
      `What to do: ${first}members of the groups agree (${groups}), each with ${approve}; csc approvals shows them what waits.`,
      `  contract_sha256 ${view.contractSha256}`,
    ];
  }
  return [
    'What to do: have somebody approve exactly this contract (csc approve CONTRACT), and hand that in with --approval FILE:',
    `  contract_sha256 ${view.contractSha256}`,
  ];
}
