import { toBase64 } from '../crypto/index.ts';
import type { WantedApprovals } from '../decision/index.ts';
import { parseTimestamp, toTimestamp } from '../encoding/index.ts';
import { CscError, isCscError, quoteBriefly } from '../errors/index.ts';
import type { Approver, Approvers } from './approvers.ts';
import { maxBreakGlassSec } from './schema.ts';
import { type BreakGlass, type SignedApproval, verifyPersonSignature } from './signed.ts';

/** What a signed artifact of a person is held against: none of it is believed from whoever sent it. */
export interface SignedSubject {
  readonly approvers: Approvers;
  readonly trustDomain: string;
  /** Hex, in either case. */
  readonly contractSha256: string;
  readonly policyProfile: string;
  /** Hex, in either case. */
  readonly policySha256: string;
  /** Of the policy repository that is gone by here. Absent: there is none. */
  readonly policyVersion?: number | undefined;
  readonly principal: string;
  /** As submissionContentSha256 gives it. Absent: nobody has signed one. */
  readonly submissionSha256?: string | undefined;
  /** The keys that sign for the principal, and the one that has: whose they are cannot agree. */
  readonly submitterKeys: readonly Uint8Array[];
  /** The keys that somebody submits with, as the owners' bindings name them; none of who does not. */
  readonly submissionKeysOf: (principal: string) => readonly Uint8Array[];
  /** That is to run it. Absent at the gate, before it is placed. */
  readonly executorId?: string | undefined;
  readonly now: Date;
}

/** How far ahead a person's clock may be. */
const skewMs = 60_000;

/**
 * A signed approval or rejection that is one: by a person of approvers.yaml, with a key of that person, as a member of a group
 * that is asked, of just this, for here, and now; and not by whoever submitted it. Throws APPROVAL_INVALID.
 */
export function verifyApproval(
  approval: SignedApproval,
  wanted: WantedApprovals,
  subject: SignedSubject,
): void {
  const fail = failFor('approval', approval.approval_id);
  const person = verifyPerson(approval, subject, fail);
  const { submission_sha256: submission } = approval;
  if (submission !== 'any') checkSubmission(submission, subject, fail);
  checkNotSubmitter(person, subject, fail);
  checkGroup(approval, wanted, subject.approvers, fail);
}

function checkGroup(
  { group }: SignedApproval,
  { quorum }: WantedApprovals,
  { breakGlass }: Approvers,
  fail: Fail,
): void {
  if (breakGlass?.groups.includes(group) === true)
    throw fail(`the group ${group} is for breaking the glass, and for nothing else`);
  if (quorum.some((it) => it.group === '' || it.group === group)) return;
  throw fail(`nobody asks the group ${group} here, but ${quorum.map((it) => it.group).join(', ')}`);
}

/**
 * A break-glass that is one: as verifyApproval, but by a member of a group that approvers.yaml names for it, for one
 * submission that was signed, and short. Whoever submitted may break the glass, with another key. Throws APPROVAL_INVALID.
 */
export function verifyBreakGlass(glass: BreakGlass, subject: SignedSubject): void {
  const fail = failFor('break-glass', glass.break_glass_id);
  const { breakGlass } = subject.approvers;
  if (breakGlass?.groups.includes(glass.group) !== true)
    throw fail(`approvers.yaml does not name the group ${glass.group} for breaking the glass`);
  const person = verifyPerson(glass, subject, fail);
  const lifeMs = toMs(glass.expires_at) - toMs(glass.approved_at);
  const mostSec = Math.min(breakGlass.maxSec, maxBreakGlassSec);
  if (lifeMs > mostSec * 1000) throw fail(`it is for more than ${mostSec} seconds`);
  checkSubmission(glass.submission_sha256, subject, fail);
  checkNotSubmittersKey(person, subject, fail);
}

type Fail = (why: string, cause?: CscError) => CscError;

function failFor(what: string, id: string): Fail {
  return (why, cause) =>
    new CscError(
      'APPROVAL_INVALID',
      `the ${what} ${quoteBriefly(id)} does not count: ${why}`,
      cause === undefined ? {} : { cause },
    );
}

// The order is that of trust: nothing in it is believed before the signature is.
function verifyPerson(artifact: SignedApproval | BreakGlass, subject: SignedSubject, fail: Fail): Approver {
  const { identity } = artifact.approver;
  const person = subject.approvers.find(identity);
  if (person === undefined) throw fail(`approvers.yaml names no approver ${identity}`);
  const { key_id: keyId } = artifact.signature;
  const key = person.keys.find((it) => it.keyId === keyId);
  if (key === undefined) throw fail(`approvers.yaml names no key ${quoteBriefly(keyId)} of ${identity}`);
  try {
    verifyPersonSignature(artifact, key, subject.now);
  } catch (error) {
    if (!isCscError(error)) throw error;
    throw fail(error.message, error);
  }
  if (!person.groups.includes(artifact.group))
    throw fail(`${identity} is not of the group ${artifact.group}`);
  checkAbout(artifact, subject, fail);
  checkTime(artifact, subject.now, fail);
  return person;
}

function checkAbout(
  { audience, ...artifact }: SignedApproval | BreakGlass,
  subject: SignedSubject,
  fail: Fail,
): void {
  if (audience.trust_domain !== subject.trustDomain)
    throw fail(`it is for the trust domain ${quoteBriefly(audience.trust_domain)}`);
  const { executor_id: executorId } = audience;
  if (executorId !== undefined && subject.executorId !== undefined && executorId !== subject.executorId)
    throw fail(`it is for the executor ${quoteBriefly(executorId)} alone`);
  if (!same(artifact.contract_sha256, subject.contractSha256))
    throw fail('it is for another contract: its contract_sha256 does not match');
  if (artifact.policy_profile !== subject.policyProfile)
    throw fail(`it is for the profile ${quoteBriefly(artifact.policy_profile)}`);
  if (!same(artifact.policy_sha256, subject.policySha256))
    throw fail(`it is for another version of the profile ${subject.policyProfile}: look at it again`);
  const { policy_version: version } = artifact;
  if (version !== undefined && version > (subject.policyVersion ?? 0))
    throw fail(`it is for version ${version} of the policy repository, which has not come here yet`);
  if (artifact.principal !== subject.principal) throw fail(`it is for what ${artifact.principal} submits`);
}

function checkSubmission(
  named: string,
  { submissionSha256 }: Pick<SignedSubject, 'submissionSha256'>,
  fail: Fail,
): void {
  if (submissionSha256 === undefined)
    throw fail('it is for one submission, and what was submitted here nobody has signed');
  if (!same(named, submissionSha256)) throw fail('it is for another submission of that contract');
}

function checkTime(
  { approved_at: approved, expires_at: expires }: SignedApproval | BreakGlass,
  now: Date,
  fail: Fail,
): void {
  const [from, until] = [toMs(approved), toMs(expires)];
  if (!(until > from)) throw fail('its expires_at must be later than its approved_at');
  if (from > now.getTime() + skewMs)
    throw fail(`it was signed at ${approved}, which is still to come: it is ${toTimestamp(now)} here`);
  if (now.getTime() >= until) throw fail(`it expired at ${expires}`);
}

function checkNotSubmitter(person: Approver, subject: SignedSubject, fail: Fail): void {
  if (person.identity === subject.principal || person.also.includes(subject.principal))
    throw fail(`${person.identity} has submitted it, and nobody approves what is their own`);
  checkNotSubmittersKey(person, subject, fail);
  const submitters = new Set(subject.submitterKeys.map((it) => toBase64(it)));
  if (!submissionKeys(person, subject).some((it) => submitters.has(it))) return;
  throw fail(`a key with which ${person.identity} submits also signs what ${subject.principal} submits`);
}

function submissionKeys(
  { identity, also }: Approver,
  { submissionKeysOf }: Pick<SignedSubject, 'submissionKeysOf'>,
): string[] {
  return [identity, ...also].flatMap((it) => submissionKeysOf(it).map(toBase64));
}

/** All keys, base64, that the owners name for a person, to approve or to submit: two who have one in common are one person. */
export function keysOfPerson(
  identity: string,
  subject: Pick<SignedSubject, 'approvers' | 'submissionKeysOf'>,
): readonly string[] {
  const person = subject.approvers.find(identity);
  if (person === undefined) return [];
  return [...person.keys.map(({ publicKey }) => toBase64(publicKey)), ...submissionKeys(person, subject)];
}

// One person under two names: what submits has a key that this person approves with.
function checkNotSubmittersKey({ identity, keys }: Approver, subject: SignedSubject, fail: Fail): void {
  const submitters = new Set(subject.submitterKeys.map((it) => toBase64(it)));
  const shared = keys.find((it) => submitters.has(toBase64(it.publicKey)));
  if (shared === undefined) return;
  throw fail(
    `the key ${quoteBriefly(shared.keyId)} of ${identity} also signs what ${subject.principal} submits`,
  );
}

function same(some: string, other: string): boolean {
  return some.toLowerCase() === other.toLowerCase();
}

// The schema has let nothing else through.
function toMs(text: string): number {
  return parseTimestamp(text)?.getTime() ?? Number.NaN;
}
