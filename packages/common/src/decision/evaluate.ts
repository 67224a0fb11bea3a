import type { Command, CommandContract } from '../contract/index.ts';
import type { Policy, PolicyDocument } from '../policy/index.ts';
import { classifyEffect } from './classify.ts';
import { allowed, type CommandFinding, type Finding, isDenial } from './finding.ts';
import { judgeArgvs, judgeLimits } from './judge-command.ts';
import { judgeEffectApproval, judgeReclassification } from './judge-effects.ts';
import { type HostRules, judgeForHosts, judgeWords } from './judge-words.ts';
import { type ReasonCode, reasonCodes, type Verdict } from './reason-codes.ts';
import { judgeApprovalRules } from './wanted-approvals.ts';

/** What a command is taken to do. */
export interface ClassifiedEffect {
  readonly command_id: string;
  readonly effect_type: string;
}

/** What is asked for beside the contract, and decided with it. */
export interface AskedBeside {
  /** It is to run on a terminal. Absent: it is not. */
  readonly terminal?: boolean;
}

/** What a policy says of a contract. */
export interface Evaluation {
  readonly verdict: Verdict;
  /** Exactly one under a v0.1 policy; under a v0.2 policy every one that applies, in registry order. */
  readonly reasonCodes: readonly ReasonCode[];
  /** One text a reason code, for people. */
  readonly reasons: readonly string[];
  /**
   * Every rule that is broken, asks for approval or reclassifies, in the order of protocol §3 (a command's wish for
   * approval after its limits); empty for a plain allow. At most 1000, and then one that counts the rest.
   */
  readonly findings: readonly Finding[];
  /** Of every command; for a v0.1 deny, of the commands up to the first broken rule, as in the reference. */
  readonly classifiedEffects: readonly ClassifiedEffect[];
}

/**
 * Decides on a contract (protocol §3). Pure: the executor runs it again and must get what the gate got. Every check
 * runs on every command, and approval counts only where nothing is broken, so that no approval lets a contract past a
 * limit. Which reason codes are told is for the policy's version to say.
 * @param host what is known of the hosts that may run it; a v0.1 decision does not depend on it
 * @param asked absent: nothing
 */
export function evaluate(
  contract: CommandContract,
  { policy }: PolicyDocument,
  host?: HostRules,
  asked: AskedBeside = {},
): Evaluation {
  const { policy_schema_version: version } = policy;
  const findings = [...judgeRiskClass(contract, policy), ...judgeTerminal(contract, policy, asked)];
  const classifiedEffects: ClassifiedEffect[] = [];
  for (const [index, command] of contract.commands.entries()) {
    const add = (found: readonly CommandFinding[]): void => {
      for (const it of found) findings.push(placeFinding(it, command, index));
    };
    const classification = classifyEffect(command, policy);
    const { effect } = classification;
    add(judgeArgvs(command, policy));
    add(judgeWords(command, policy, host, asked));
    if (version === 'csc.policy.v0.2' || !findings.some(isDenial))
      classifiedEffects.push({ command_id: command.id, effect_type: effect });
    add(judgeReclassification(command, classification, policy));
    add(judgeLimits(command, policy));
    add(judgeEffectApproval(effect, policy));
    add(judgeApprovalRules(contract, command, policy));
  }
  findings.push(...judgeApprovalMode(contract));
  return {
    ...(version === 'csc.policy.v0.2' ? concludeWithAll(findings) : concludeWithFirst(findings)),
    findings: bounded(findings),
    classifiedEffects,
  };
}

/**
 * What hosts refuse in the words of commands though a v0.1 policy, which has no rule for it, allows them. None for v0.2:
 * there it is a part of the decision.
 */
export function findHostRefusals(
  contract: CommandContract,
  { policy }: PolicyDocument,
  host: HostRules,
): readonly Omit<Finding, 'reasonCode'>[] {
  const found = contract.commands.flatMap((command, index) =>
    judgeForHosts(command, policy, host).map((it) => placeFinding(it, command, index)),
  );
  return bounded(found).map(({ reasonCode: _, ...finding }) => finding);
}

/**
 * A denial of what the owners have stopped, by a freeze or a revocation, whatever the policy says of it.
 * @param why for people
 */
export function stoppedByOwners(evaluation: Evaluation, why: string): Evaluation {
  const reasonCode = 'EMERGENCY_DENY_ALL';
  const stop: Finding = { reasonCode, commandId: '', member: '', message: why };
  // What the policy denies stays told; that it would allow does not.
  const kept = evaluation.verdict === 'deny' ? evaluation : { reasonCodes: [], reasons: [] };
  return {
    ...evaluation,
    verdict: 'deny',
    reasonCodes: [...kept.reasonCodes, reasonCode],
    reasons: [...kept.reasons, why],
    findings: [...evaluation.findings, stop],
  };
}

type Conclusion = Pick<Evaluation, 'verdict' | 'reasonCodes' | 'reasons'>;

/** As v0.1 does it: the first broken rule, or else the first wish for approval, is the one that is told. */
function concludeWithFirst(findings: readonly Finding[]): Conclusion {
  const first = findings.find(isDenial) ?? findings[0];
  return {
    verdict: toVerdict(findings),
    reasonCodes: [first?.reasonCode ?? 'ALLOW'],
    reasons: [first?.message ?? 'contract satisfies v0.1 policy checks'],
  };
}

/** As v0.2 does it: each code once, in registry order, with the text of its first finding. */
function concludeWithAll(findings: readonly Finding[]): Conclusion {
  const verdict = toVerdict(findings);
  const plain = { reasonCode: 'ALLOW', message: 'contract satisfies v0.2 policy checks' } as const;
  const all = verdict === 'allow' ? [plain, ...findings] : findings;
  const told = reasonCodes.flatMap((code) => all.find(({ reasonCode }) => reasonCode === code) ?? []);
  return {
    verdict,
    reasonCodes: told.map(({ reasonCode }) => reasonCode),
    reasons: told.map(({ message }) => message),
  };
}

function toVerdict(findings: readonly Finding[]): Verdict {
  if (findings.some(isDenial)) return 'deny';
  return findings.some(({ reasonCode }) => reasonCode === 'APPROVAL_REQUIRED') ? 'needs_approval' : 'allow';
}

// A contract may declare 200,000 paths; what is said of them must still fit into a message.
const maxFindings = 1000;

function bounded(findings: readonly Finding[]): readonly Finding[] {
  const next = findings[maxFindings];
  if (next === undefined) return findings;
  const message = `and ${findings.length - maxFindings} more findings`;
  return [...findings.slice(0, maxFindings), { ...next, commandId: '', member: '', message }];
}

function judgeRiskClass({ risk_class: risk }: CommandContract, policy: Policy): Finding[] {
  if (policy.allowed_risk_classes.includes(risk)) return [];
  const message = `risk class not allowed: ${risk}${allowed(policy.allowed_risk_classes)}`;
  return [{ reasonCode: 'RISK_CLASS_NOT_ALLOWED', commandId: '', member: 'risk_class', message }];
}

/** No v0.1 policy grants a terminal, as it has no word for one. */
function judgeTerminal(
  { commands }: CommandContract,
  { terminal: granted }: Policy,
  { terminal: isAsked = false }: AskedBeside,
): Finding[] {
  if (!isAsked) return [];
  const deny = (message: string): Finding[] => [
    { reasonCode: 'TERMINAL_NOT_ALLOWED', commandId: '', member: 'options.terminal', message },
  ];
  if (granted === undefined) return deny('terminal not allowed: the policy has no member terminal');
  if (commands.length === 1 && commands[0]?.exec !== undefined) return [];
  return deny('terminal not allowed: it is for a contract of one command, and no pipeline');
}

function judgeApprovalMode({ approval_mode: mode }: CommandContract): Finding[] {
  if (mode === 'policy_only') return [];
  const message = `contract approval mode requires approval: ${mode}`;
  return [{ reasonCode: 'APPROVAL_REQUIRED', commandId: '', member: 'approval_mode', message }];
}

function placeFinding(
  { reasonCode, member, message }: CommandFinding,
  { id }: Command,
  index: number,
): Finding {
  return { reasonCode, commandId: id, member: `commands[${index}].${member}`, message };
}
