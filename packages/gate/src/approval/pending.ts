import type { Approver, Approvers, QuorumStanding } from '@csc-fleet/common/approval';
import type { CommandContract } from '@csc-fleet/common/contract';
import { describeQuorum, evaluate, wantedApprovals } from '@csc-fleet/common/decision';
import type { PendingApproval } from '@csc-fleet/common/messages';
import type { PolicyDocument, PolicySet } from '@csc-fleet/common/policy';
import type { LiveExecution } from '../execution/execution.ts';
import type { Executions } from '../execution/executions.ts';
import { fromStoredApprovals, toDecision, toExecution } from '../execution/row.ts';
import { submissionOf } from '../execution/submission-of.ts';
import { type ApprovalRules, countFor } from './standing.ts';

export interface PendingPorts extends ApprovalRules {
  readonly executions: Pick<Executions, 'contract'>;
  readonly policies: Pick<PolicySet, 'bySha256'>;
}

/** An execution as those see it who are asked about it, with what it takes to count for it. */
export interface Looked {
  readonly execution: LiveExecution;
  readonly contract: CommandContract;
  readonly contractJson: string;
  readonly policy: PolicyDocument;
}

/** Undefined where it was decided by a policy that is not held here any more, or its contract is not kept. */
export async function lookAt(
  { executions, policies }: PendingPorts,
  execution: LiveExecution,
): Promise<Looked | undefined> {
  const policy = policies.bySha256(execution.row.policy_sha256);
  if (policy === undefined) return undefined;
  const contractJson = await executions.contract(execution.id);
  if (contractJson === '') return undefined;
  return { execution, contractJson, contract: JSON.parse(contractJson) as CommandContract, policy };
}

/** What of it approvals are held against. */
export function toApprovable({ execution: { row }, contract, policy }: Looked) {
  const asked = { terminal: row.terminal_json !== null };
  return {
    contract,
    policy,
    contractSha256: row.contract_sha256,
    evaluation: evaluate(contract, policy, undefined, asked),
    principal: row.principal,
    submission: submissionOf(row),
  };
}

/** The groups of this person that are asked here; none where it is the person's own, or nobody asks them. */
export function groupsAsked(looked: Looked, person: Approver, { breakGlass }: Approvers): string[] {
  if (isOwn(looked, person)) return [];
  const { quorum } = wantedApprovals(looked.contract, looked.policy);
  return person.groups.filter(
    (name) =>
      breakGlass?.groups.includes(name) !== true &&
      quorum.some(({ group }) => group === '' || group === name),
  );
}

/** True where this person has submitted it, as whichever of their identities. */
export function isOwn(
  { execution: { row } }: Pick<Looked, 'execution'>,
  { identity, also }: Approver,
): boolean {
  return identity === row.principal || also.includes(row.principal);
}

/** Those of this person that may break the glass. */
export function glassGroups(person: Approver, { breakGlass }: Approvers): string[] {
  return person.groups.filter((name) => breakGlass?.groups.includes(name) === true);
}

/** How it stands, for those who are asked and for whoever submitted it. Stored approvals that count no more are left out. */
export function toPending(
  ports: PendingPorts,
  looked: Looked,
  person: Approver | undefined,
  now: Date,
): PendingApproval {
  const { row } = looked.execution;
  const texts = fromStoredApprovals(row.approvals_json);
  const { quorum = [], people = 0 } = countFor(toApprovable(looked), texts, ports, now);
  const agreed = new Set(quorum.flatMap(({ approvedBy }) => approvedBy));
  const findings = toDecision(row).findings.filter((it) => it.reasonCode === 'APPROVAL_REQUIRED');
  return {
    execution: toExecution(row),
    until: new Date(row.decision_expires_at),
    quorum: quorum.map(({ group, count, approvedBy }) => ({ group, count, approvedBy: [...approvedBy] })),
    reviewed: person !== undefined && agreed.has(person.identity),
    riskClass: looked.contract.risk_class,
    reason: findings.map(({ message }) => message).join('; '),
    people,
    ...askedOf(ports, looked, person),
  };
}

function askedOf({ owners }: PendingPorts, looked: Looked, person: Approver | undefined) {
  const approvers = owners.approvers();
  if (person === undefined || approvers === undefined) return { groups: [], mayBreakGlass: false };
  return {
    groups: groupsAsked(looked, person, approvers),
    mayBreakGlass: glassGroups(person, approvers).length > 0,
  };
}

/** What is still missing, for people; empty where nothing is. */
export function describeMissing(quorum: readonly QuorumStanding[], people: number): string {
  const short = quorum
    .map(({ group, count, approvedBy }) => ({ group, count: count - approvedBy.length }))
    .filter(({ count }) => count > 0);
  if (short.length > 0) return describeQuorum(short);
  const agreed = new Set(quorum.flatMap(({ approvedBy }) => approvedBy)).size;
  return agreed < people ? describeQuorum([{ group: '', count: people - agreed }]) : '';
}
