import type { CommandContract } from '../contract/index.ts';
import type { Evaluation } from '../decision/index.ts';
import { parseTimestamp } from '../encoding/index.ts';
import { CscError, isCscError, orThrow } from '../errors/index.ts';
import { type ApprovalArtifact, checkApproval, parseApproval } from './approval.ts';

/**
 * What `approval_mode: dual_control_required` comes to. Two approvals that nobody signed may be one person's, so two
 * people cannot be told from one: it is refused, or the operator has said that one approval is enough.
 */
export const dualControls = ['refuse', 'one_approval'] as const;

export type DualControl = (typeof dualControls)[number];

/** What the owner of a gate or of a host has said of approvals in its config. */
export interface ApprovalConfig {
  readonly by: 'gate' | 'host';
  /** Whether v0.1 approvals count, which nobody has signed. */
  readonly acceptUnsigned: boolean;
  readonly dualControl: DualControl;
}

/** What approvals are held against. */
export interface ApprovalRules extends ApprovalConfig {
  readonly contract: Pick<CommandContract, 'approval_mode'>;
  /** Hex, in either case. */
  readonly contractSha256: string;
  readonly now: Date;
  /** The ids that a ticket names: no other is counted. Absent: all that came may be. */
  readonly named?: readonly string[] | undefined;
}

/** Which approvals count for a contract, and why the others do not. */
export interface ApprovalCount {
  /** `not_needed`: nobody was asked, and what came was not read. `missing`: somebody's is still to come. */
  readonly consent: 'not_needed' | 'missing' | 'given';
  /** In the order in which they came. */
  readonly counted: readonly ApprovalArtifact[];
  /** APPROVAL_INVALID each: about the contract's own wish first, then about one approval after another. */
  readonly objections: readonly CscError[];
}

/**
 * Counts the approvals that came with a contract, at the gate and once more on the host: neither believes the other.
 * Pure: that a `single_execution` one is used only once is for the caller's store or journal to see to.
 * @param texts the JSON of each, as it came
 */
export function countApprovals(
  { verdict }: Pick<Evaluation, 'verdict'>,
  texts: readonly Uint8Array[],
  rules: ApprovalRules,
): ApprovalCount {
  if (verdict !== 'needs_approval') return { consent: 'not_needed', counted: [], objections: [] };
  const dual = findDualControlObjection(rules.contract, rules);
  const looked = texts.map((text, index) => lookAt(text, index, rules));
  const counted = looked.flatMap((one) => (one === undefined || isCscError(one) ? [] : [one]));
  return {
    consent: counted.length === 0 || dual !== undefined ? 'missing' : 'given',
    counted,
    objections: [...(dual === undefined ? [] : [dual]), ...looked.filter((one) => isCscError(one))],
  };
}

/** The approval where it counts, or why it does not; undefined for one that the ticket does not name. */
function lookAt(
  text: Uint8Array,
  index: number,
  rules: ApprovalRules,
): ApprovalArtifact | CscError | undefined {
  try {
    const approval = orThrow(parseApproval(text), 'APPROVAL_INVALID', `approval ${index + 1}`);
    if (rules.named?.includes(approval.approval_id) === false) return undefined;
    if (!rules.acceptUnsigned) return unsigned(rules);
    checkApproval(approval, rules);
    return approval;
  } catch (error) {
    if (isCscError(error)) return error;
    throw error;
  }
}

const configFile = { gate: 'gate.yaml', host: 'executor.yaml' } as const;

function unsigned({ by }: ApprovalConfig): CscError {
  const message =
    `this ${by} does not count approvals of version csc.approval.v0.1, because nobody has signed them; ` +
    `its owner can say that they count with accept_unsigned_approvals: true in ${configFile[by]}`;
  return new CscError('APPROVAL_INVALID', message);
}

/**
 * Why a contract that asks for the consent of two people is not run here, with the member at fault, where this gate or
 * host would have to take one approval for it. Undefined where nothing is to be said.
 */
export function findDualControlObjection(
  { approval_mode: mode }: Pick<CommandContract, 'approval_mode'>,
  { by, dualControl }: Pick<ApprovalConfig, 'by' | 'dualControl'>,
): CscError | undefined {
  if (mode !== 'dual_control_required' || dualControl === 'one_approval') return undefined;
  const message =
    `is dual_control_required, and this ${by} cannot tell yet whether two people agreed: ` +
    `ask for human_required, or have its owner set dual_control: one_approval in ${configFile[by]}, ` +
    'after which one approval is enough';
  return new CscError('APPROVAL_INVALID', `approval_mode ${message}`, {
    faults: [{ path: 'approval_mode', message }],
  });
}

/**
 * The consent, where nothing speaks against it: whoever hands in an approval that does not count is told so, rather than
 * that it was passed over. Throws the first objection.
 */
export function orThrowObjection(count: ApprovalCount): ApprovalCount {
  const [first] = count.objections;
  if (first !== undefined) throw first;
  return count;
}

/** An approval that one execution uses up. */
export interface ConsumedApproval {
  readonly approvalId: string;
  /** Until when it must be remembered. */
  readonly expiresAt: Date;
}

// As far as a Date goes.
const endOfTime = new Date(8.64e15);

/** Those that one execution uses up, each once. */
export function toConsumed(approvals: readonly ApprovalArtifact[]): ConsumedApproval[] {
  const once = approvals.filter(({ scope }) => scope === 'single_execution');
  const byId = new Map(once.map(({ approval_id, expires_at }) => [approval_id, expires_at]));
  return [...byId].map(([approvalId, expiresAt]) => ({
    approvalId,
    expiresAt: parseTimestamp(expiresAt) ?? endOfTime,
  }));
}
