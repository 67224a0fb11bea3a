import { argvs, type Command, type CommandContract } from '../contract/index.ts';
import type { ApprovalRule, Policy, PolicyDocument } from '../policy/index.ts';
import { classifyEffect } from './classify.ts';
import { type CommandFinding, noFindings } from './finding.ts';

/** So many of one group must agree. */
export interface WantedQuorum {
  /** Empty: of any group. */
  readonly group: string;
  readonly count: number;
}

/** Who must agree to a contract that needs approval: all of it, and nobody is counted twice. */
export interface WantedApprovals {
  /** In the order of the policy's rules, each group once; at least one entry. */
  readonly quorum: readonly WantedQuorum[];
  /** So many people in all, at least. */
  readonly people: number;
}

/**
 * Who must agree to a contract that needs approval: what all rules of the policy that are for it come to. Where none is,
 * anybody who may approve; where the contract asks for dual control, two people at least. Pure: gate and host ask it alike.
 */
export function wantedApprovals(
  contract: CommandContract,
  { policy }: Pick<PolicyDocument, 'policy'>,
): WantedApprovals {
  const counts = new Map<string, number>();
  for (const command of contract.commands)
    for (const [, rule] of rulesOf(contract, command, policy))
      for (const { group, count } of rule.quorum) counts.set(group, Math.max(count, counts.get(group) ?? 0));
  if (counts.size === 0) counts.set('', 1);
  const quorum = [...counts].map(([group, count]) => ({ group, count }));
  const inAll = quorum.reduce((sum, { count }) => sum + count, 0);
  return { quorum, people: Math.max(inAll, contract.approval_mode === 'dual_control_required' ? 2 : 1) };
}

/** For people: `2 of release and 1 of security`, `1 of any group`. */
export function describeQuorum(quorum: readonly WantedQuorum[]): string {
  return quorum.map(({ group, count }) => `${count} of ${group === '' ? 'any group' : group}`).join(' and ');
}

/** That people must agree to a command, by each rule that is for it. */
export function judgeApprovalRules(
  contract: Pick<CommandContract, 'risk_class'>,
  command: Command,
  policy: Policy,
): readonly CommandFinding[] {
  const rules = rulesOf(contract, command, policy);
  if (rules.length === 0) return noFindings;
  return rules.map(([index, { quorum }]) => ({
    reasonCode: 'APPROVAL_REQUIRED',
    member: 'proposed_effect_type',
    message: `approval required by approvals[${index}]: ${describeQuorum(quorum)}`,
  }));
}

function rulesOf(
  { risk_class: risk }: Pick<CommandContract, 'risk_class'>,
  command: Command,
  policy: Policy,
): [number, ApprovalRule][] {
  const { approvals = [] } = policy;
  if (approvals.length === 0) return [];
  const { effect } = classifyEffect(command, policy);
  const programs = argvs(command).map(([program = '']) => program);
  return [...approvals.entries()].filter(
    ([, rule]) =>
      (rule.effects?.includes(effect) ?? true) &&
      (rule.risk_classes?.includes(risk) ?? true) &&
      (rule.programs === undefined || programs.some((it) => rule.programs?.includes(it))),
  );
}
