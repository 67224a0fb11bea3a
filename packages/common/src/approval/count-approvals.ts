import type { CommandContract } from '../contract/index.ts';
import type { Evaluation, WantedApprovals, WantedQuorum } from '../decision/index.ts';
import { canonicalJson, parseTimestamp } from '../encoding/index.ts';
import { CscError, isCscError, orThrow } from '../errors/index.ts';
import { type AnyApproval, approvalSha256, parseAnyApproval } from './any-approval.ts';
import { type ApprovalArtifact, checkApproval } from './approval.ts';
import type { SignedApproval } from './signed.ts';
import { keysOfPerson, type SignedSubject, verifyApproval, verifyBreakGlass } from './verify-signed.ts';

/**
 * What `approval_mode: dual_control_required` comes to where nobody is named who could sign. Two approvals that nobody signed
 * may be one person's, so two people cannot be told from one: it is refused, or the operator has said that one approval is
 * enough. Where approvers.yaml names people, it takes two of them.
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
  /** Who must agree, as wantedApprovals says. Absent: somebody, or two where the contract asks for dual control. */
  readonly wanted?: WantedApprovals;
  /** What signed ones are held against. Absent: the owners name nobody who could sign. */
  readonly signed?: Omit<SignedSubject, 'contractSha256' | 'now'> | undefined;
}

/** An approval that counts, of whichever kind. */
export interface CountedApproval {
  readonly kind: AnyApproval['kind'];
  readonly approval_id: string;
  readonly approver: ApprovalArtifact['approver'];
  readonly scope: ApprovalArtifact['scope'];
  readonly expires_at: string;
  /** Absent of one that nobody signed. */
  readonly approved_at?: string;
  /** As whose member; absent of one that nobody signed. */
  readonly group?: string;
  /** Canonical JSON, with its signature; absent of one that nobody signed. */
  readonly artifactJson?: string;
  /** Of that, lower-case hex. */
  readonly sha256?: string;
}

/** How far one group has agreed. */
export interface QuorumStanding extends WantedQuorum {
  /** Identities of those who have, and count. */
  readonly approvedBy: readonly string[];
}

/** Which approvals count for a contract, and why the others do not. */
export interface ApprovalCount {
  /**
   * `not_needed`: nobody was asked, and what came was not read. `missing`: somebody's is still to come. `rejected`: somebody
   * who was asked has said no, and no approval changes that.
   */
  readonly consent: 'not_needed' | 'missing' | 'given' | 'rejected';
  /** In the order in which they came. */
  readonly counted: readonly CountedApproval[];
  /** APPROVAL_INVALID each: about the contract's own wish first, then about one approval after another. */
  readonly objections: readonly CscError[];
  /** Of each group that is asked, who has agreed. Absent where nobody was asked. */
  readonly quorum?: readonly QuorumStanding[];
  /** How many different people must agree in all. */
  readonly people?: number;
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
  const looked = texts.map((text, index) => lookAt(text, index, rules));
  const heard = looked.flatMap((one) => (one === undefined || isCscError(one) ? [] : [one]));
  const objections: CscError[] = looked.filter((one) => isCscError(one));
  const rejection = heard.find(isRejection);
  const once = eachOnce(
    heard.filter((it) => !isRejection(it)),
    rules.signed,
  );
  const counted = once.counted.map(toCounted);
  const dual = rules.signed === undefined ? findDualControlObjection(rules.contract, rules) : undefined;
  const { quorum, people, isMet } = tally(counted, rules);
  return {
    consent: rejection !== undefined ? 'rejected' : dual === undefined && isMet ? 'given' : 'missing',
    counted,
    objections: [
      ...(dual === undefined ? [] : [dual]),
      ...(rejection === undefined ? [] : [rejected(rejection.artifact)]),
      ...objections,
      ...once.objections,
    ],
    quorum,
    people,
  };
}

type Rejection = Extract<AnyApproval, { kind: 'signed' }>;

function isRejection(it: AnyApproval): it is Rejection {
  return it.kind === 'signed' && it.artifact.verdict === 'reject';
}

function rejected({ approver, group, reason = '' }: SignedApproval): CscError {
  const why = reason === '' ? 'without a reason' : `: ${reason}`;
  const message = `${approver.identity} of the group ${group} has rejected it${reason === '' ? `, ${why}` : why}`;
  return new CscError('APPROVAL_INVALID', message);
}

/** A person is counted once, whatever groups, keys and names that person has, and so is an artifact. */
function eachOnce(
  heard: readonly AnyApproval[],
  signed: ApprovalRules['signed'],
): { readonly counted: readonly AnyApproval[]; readonly objections: readonly CscError[] } {
  // By kind and name, and by kind and key.
  const seen = new Map<string, string>();
  const counted: AnyApproval[] = [];
  const objections: CscError[] = [];
  for (const it of heard) {
    const { identity } = it.artifact.approver;
    // Nobody knows whose those are that nobody signed.
    const keys = it.kind === 'unsigned' || signed === undefined ? [] : keysOfPerson(identity, signed);
    const marks = it.kind === 'unsigned' ? [] : [identity, ...keys].map((mark) => `${it.kind} ${mark}`);
    const other = marks.flatMap((mark) => seen.get(mark) ?? [])[0];
    if (other === undefined) counted.push(it);
    else {
      const as = other === identity ? '' : `, as ${other}, who has a key in common`;
      const message = `${identity} has agreed already${as}, and is counted once`;
      objections.push(new CscError('APPROVAL_INVALID', message));
    }
    for (const mark of marks) seen.set(mark, other ?? identity);
  }
  return { counted, objections };
}

function toCounted(it: AnyApproval): CountedApproval {
  const { approver, expires_at } = it.artifact;
  const common = { kind: it.kind, approval_id: it.id, approver, expires_at };
  if (it.kind === 'unsigned') return { ...common, scope: it.artifact.scope };
  return {
    ...common,
    scope: it.kind === 'signed' ? it.artifact.scope : 'single_execution',
    approved_at: it.artifact.approved_at,
    group: it.artifact.group,
    artifactJson: canonicalJson(it.artifact),
    sha256: approvalSha256(it),
  };
}

/** Whether they come to what is wanted: of each group so many, and so many different people in all. */
function tally(
  counted: readonly CountedApproval[],
  { wanted, contract }: ApprovalRules,
): { readonly quorum: readonly QuorumStanding[]; readonly people: number; readonly isMet: boolean } {
  const isDual = contract.approval_mode === 'dual_control_required';
  const { quorum: asked, people } = wanted ?? { quorum: [anybody], people: isDual ? 2 : 1 };
  const signed = counted.filter(({ kind }) => kind === 'signed');
  const quorum = asked.map((it) => ({
    ...it,
    approvedBy: signed
      .filter(({ group }) => it.group === '' || it.group === group)
      .map(({ approver }) => approver.identity),
  }));
  const hasQuorum = quorum.every(({ approvedBy, count }) => approvedBy.length >= count);
  return {
    quorum,
    people,
    isMet:
      (hasQuorum && signed.length >= people) ||
      counted.some(({ kind }) => kind === 'break_glass') ||
      counted.some(({ kind }) => kind === 'unsigned'),
  };
}

const anybody: WantedQuorum = { group: '', count: 1 };

/** The approval where it counts, or why it does not; undefined for one that the ticket does not name. */
function lookAt(text: Uint8Array, index: number, rules: ApprovalRules): AnyApproval | CscError | undefined {
  try {
    const approval = orThrow(parseAnyApproval(text), 'APPROVAL_INVALID', `approval ${index + 1}`);
    if (rules.named?.includes(approval.id) === false) return undefined;
    if (approval.kind === 'unsigned') return lookAtUnsigned(approval, rules);
    const { signed, wanted = { quorum: [anybody], people: 1 }, contractSha256, now } = rules;
    if (signed === undefined) return nobodyNamed(rules);
    const subject = { ...signed, contractSha256, now };
    if (approval.kind === 'signed') verifyApproval(approval.artifact, wanted, subject);
    else verifyBreakGlass(approval.artifact, subject);
    return approval;
  } catch (error) {
    if (isCscError(error)) return error;
    throw error;
  }
}

function lookAtUnsigned(
  approval: AnyApproval & { kind: 'unsigned' },
  rules: ApprovalRules,
): AnyApproval | CscError {
  if (!rules.acceptUnsigned) return unsigned(rules);
  const { quorum = [anybody], people = 1 } = rules.wanted ?? {};
  if (quorum.some(({ group }) => group !== '') || (rules.signed !== undefined && people > 1)) {
    const message =
      'an approval that nobody has signed (csc.approval.v0.1) does not count where groups or two people are asked: csc approve';
    return new CscError('APPROVAL_INVALID', message);
  }
  checkApproval(approval.artifact, rules);
  return approval;
}

function nobodyNamed({ by }: ApprovalConfig): CscError {
  const message = `this ${by} counts no signed approval: its owners' policy repository has no approvers.yaml`;
  return new CscError('APPROVAL_INVALID', message);
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

/**
 * Those that one execution uses up, each once, and until the last that has its id has ended: who signs chooses the id, and
 * could give another person's approval an earlier end than it has, after which it would count again.
 */
export function toConsumed(
  approvals: readonly Pick<CountedApproval, 'approval_id' | 'expires_at' | 'scope'>[],
): ConsumedApproval[] {
  const byId = new Map<string, Date>();
  for (const { approval_id: id, expires_at: end, scope } of approvals) {
    if (scope !== 'single_execution') continue;
    const [expiresAt, known] = [parseTimestamp(end) ?? endOfTime, byId.get(id)];
    byId.set(id, known !== undefined && known > expiresAt ? known : expiresAt);
  }
  return [...byId].map(([approvalId, expiresAt]) => ({ approvalId, expiresAt }));
}
