import { judgeCommand } from '@csc-fleet/common/command-rules';
import { argvs, type CommandContract, parseContract } from '@csc-fleet/common/contract';
import {
  type AskedBeside,
  type Evaluation,
  evaluate,
  type Finding,
  findHostRefusals,
  type HostRules,
  type PolicyDecision,
  toPolicyDecision,
} from '@csc-fleet/common/decision';
import { artifactBytes } from '@csc-fleet/common/encoding';
import { orThrow } from '@csc-fleet/common/errors';
import { type PolicyDocument, parsePolicy } from '@csc-fleet/common/policy';
import { exitCodes } from '../action/exit-codes.ts';
import { inputName, readInput } from '../files/read-input.ts';

/** How long a decision that nobody keeps says that it holds. */
const decisionLifeMs = 24 * 60 * 60 * 1000;

/** The PolicyDecision, with the policy's hash and all findings beside its own members. */
export interface DecisionDocument extends PolicyDecision {
  readonly policy_sha256: string;
  readonly findings: readonly FindingDocument[];
  /** What hosts refuse though a v0.1 policy does not deny it. Absent where there is nothing. */
  readonly host_findings?: readonly FindingDocument[];
}

interface FindingDocument {
  readonly reason_code: string;
  /** Absent where it is of the whole contract. */
  readonly command_id?: string;
  readonly member: string;
  readonly message: string;
}

/** A contract judged by a policy: what a person reads of it, and what a program does. */
interface Judgement {
  readonly evaluation: Evaluation;
  /** What hosts refuse though a v0.1 policy does not deny it. */
  readonly refusals: readonly Omit<Finding, 'reasonCode'>[];
  /** Made when it is asked for: it has hashes, and people mostly read none. */
  document(): DecisionDocument;
}

/**
 * Judges without a gate: nothing is signed or recorded. Asks what a host asks of the words of commands as well, so that
 * its refusal is known before it is met: a v0.2 policy then denies it, and beside a v0.1 decision it is told.
 */
export function decide(
  contract: CommandContract,
  policy: PolicyDocument,
  now: Date,
  host: HostRules = { inlineCode: false },
  asked: AskedBeside = {},
): Judgement {
  const evaluation = evaluate(contract, policy, host, asked);
  const refusals = findHostRefusals(contract, policy, host);
  const expiresAt = new Date(now.getTime() + decisionLifeMs);
  const document = () => ({
    ...toPolicyDecision(contract, evaluation, policy, expiresAt),
    policy_sha256: policy.sha256,
    findings: evaluation.findings.map(toFindingDocument),
    ...(refusals.length === 0 ? {} : { host_findings: refusals.map(toHostFinding) }),
  });
  return { evaluation, refusals, document };
}

function toFindingDocument({ reasonCode, commandId, member, message }: Finding): FindingDocument {
  return {
    reason_code: reasonCode,
    ...(commandId === '' ? {} : { command_id: commandId }),
    member,
    message,
  };
}

// The code that a host's refusal has.
function toHostFinding(finding: Omit<Finding, 'reasonCode'>): FindingDocument {
  return {
    ...toFindingDocument({ ...finding, reasonCode: 'COMMAND_NOT_ALLOWED' }),
    reason_code: 'HOST_CEILING_EXCEEDED',
  };
}

/**
 * What a gate that allows a contract leaves to its hosts, for people: they are asked by nobody who only checks. Empty where
 * that is nothing.
 */
export function describeLeftToHosts(
  { commands }: CommandContract,
  { terminal = false }: AskedBeside = {},
): string[] {
  const names = [...new Set(commands.flatMap(({ secret_refs }) => secret_refs))];
  const withCode = commands.filter((command) =>
    argvs(command).some((argv, at) => hasInlineCode(argv, at > 0 || terminal)),
  );
  const ids = withCode.map(({ id }) => id);
  const secrets = `it gives the secrets ${names.join(', ')} only where bindings.yaml has them for you and its ceiling.secrets names them`;
  const code = `it takes inline code (commands ${ids.join(', ')}) only where its ceiling.inline_code says so`;
  const tty =
    'it gives a terminal unless its ceiling.terminal or hosts.yaml says no, or says signed and nobody has signed';
  return [
    ...(names.length === 0 ? [] : [secrets]),
    ...(ids.length === 0 ? [] : [code]),
    ...(terminal ? [tty] : []),
  ];
}

// Of its faults, those that a host with inline code does not have.
function hasInlineCode(argv: readonly string[], piped: boolean): boolean {
  const faults = (inlineCode: boolean) => judgeCommand(argv, { allowCommands: [], inlineCode, piped }).length;
  return faults(false) > faults(true);
}

export const exitCodeOfVerdict = {
  allow: exitCodes.ok,
  deny: exitCodes.no,
  needs_approval: exitCodes.needsApproval,
} as const;

/** A contract file, or `-`. Throws FILE_UNREADABLE, or CONTRACT_INVALID with every fault. */
export async function readContractInput(path: string): Promise<CommandContract> {
  return orThrow(
    parseContract(await readInput(path, artifactBytes.contract)),
    'CONTRACT_INVALID',
    inputName(path),
  );
}

/** A policy file. Throws FILE_UNREADABLE, or POLICY_INVALID with every fault. */
export async function readPolicyInput(path: string): Promise<PolicyDocument> {
  return orThrow(
    parsePolicy(await readInput(path, artifactBytes.policy), path),
    'POLICY_INVALID',
    inputName(path),
  );
}
