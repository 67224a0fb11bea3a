import { submissionContentSha256 } from '@csc-fleet/common/approval';
import type { CommandContract } from '@csc-fleet/common/contract';
import { createKeyRing, type KeyRing } from '@csc-fleet/common/crypto';
import { mustBeBound } from '@csc-fleet/common/decision';
import { canonicalJson, parseTimestamp } from '@csc-fleet/common/encoding';
import { CscError, isCscError, openings } from '@csc-fleet/common/errors';
import { identifySubmission } from '@csc-fleet/common/evidence';
import type { OpenedToken, TokenIdentity } from '@csc-fleet/common/oidc';
import {
  describeRevocation,
  type HostNames,
  hasLabels,
  type RevocationSubject,
} from '@csc-fleet/common/owners';
import {
  type Bindings,
  bindingOf,
  bindPolicy,
  type PolicyDocument,
  submitterKeys,
} from '@csc-fleet/common/policy';
import { isSealPublicKey } from '@csc-fleet/common/seal';
import type { Log } from '@csc-fleet/common/service';
import { type Submission, submissionSha256 } from '@csc-fleet/common/submission';
import type { ExecutionTicket } from '@csc-fleet/common/ticket';
import type { Asked } from '../evidence/index.ts';
import type { ClaimedSubmission } from './offer.ts';
import { checkFresh, checkNotFrozen, type FreshnessRules, type OwnersWord } from './owners.ts';
import type { GenuineTicket } from './verify-ticket.ts';

/** What this host's owner has said of submissions. */
export interface SubmissionRules extends FreshnessRules {
  /** Nothing runs without one. */
  readonly required: boolean;
  /** `warn`: what would be refused runs all the same, and log and receipt say why it should not have. */
  readonly enforce: 'enforce' | 'warn';
}

/** What holds where the owner says nothing. */
export const defaultSubmissionRules: SubmissionRules = {
  required: false,
  enforce: 'enforce',
  maxStalenessMs: 24 * 3_600_000,
};

/** All that a submission is believed by: none of it comes from the gate that sent it. */
export interface SubmissionTrust {
  readonly owners: OwnersWord;
  /** That came with it: opened, or why it cannot be. Absent: none came. */
  readonly token?: OpenedToken | CscError | undefined;
  readonly rules: SubmissionRules;
  readonly trustDomain: string;
  readonly executorId: string;
  /** What else the owners may revoke this host by. */
  readonly host: Omit<HostNames, 'executorId'>;
  readonly labels: Readonly<Record<string, string>>;
  /** When this host's journal began: what was submitted before may have been used by one that is lost. */
  readonly journalBornAt: () => Date;
  /** By this host's clock. */
  readonly now: Date;
}

/** A submission that its principal signed. */
export interface GenuineSubmission {
  readonly principal: string;
  readonly nonce: string;
  readonly sha256: string;
  /** What approvals call it by, as submissionContentSha256 gives it. */
  readonly contentSha256: string;
  /** That signed it. */
  readonly keyId: string;
  /** By whose token its principal is who it is. Undefined: bindings name the key. */
  readonly identity: TokenIdentity | undefined;
  /** It names this very host, so that no other runs it. */
  readonly isBound: boolean;
  readonly notBefore: Date;
  readonly limits: Submission['options']['limits'];
}

class Submitted {
  protected readonly step = 'submitted';
  readonly contract: CommandContract;
  readonly contractSha256: string;
  readonly ticket: ExecutionTicket;
  readonly verifiedAt: Date;
  /** What the owners said then: a run ends as it began, whatever they say next. */
  readonly owners: OwnersWord;
  /** Absent: this host does not ask for one, and none came. */
  readonly submission: GenuineSubmission | undefined;
  /** What came, genuine or not. */
  readonly claimed: ClaimedSubmission | undefined;
  /** Why it would have been refused, were the owner not only trying it out. */
  readonly warnings: readonly string[];

  constructor(
    { contract, contractSha256, ticket, verifiedAt, claimed }: GenuineTicket,
    owners: OwnersWord,
    submission: GenuineSubmission | undefined,
    warnings: readonly string[],
  ) {
    this.contract = contract;
    this.contractSha256 = contractSha256;
    this.ticket = ticket;
    this.verifiedAt = verifiedAt;
    this.owners = owners;
    this.submission = submission;
    this.claimed = claimed;
    this.warnings = warnings;
  }

  /** As the values of all steps after this one have it. */
  get submitted(): SubmittedTicket {
    return this;
  }
}

/**
 * The principal of the ticket asked for this contract, may use its profile here, and nobody has taken that back: the
 * gate had no say in it. Where the owners have published no bindings, it is the gate that says so.
 */
export type SubmittedTicket = Submitted;

/**
 * Holds an offer against what the owners say, in this order: their word is fresh and nothing is frozen; the submission
 * is genuine; the ticket says nothing else than it; nobody is revoked; the principal is bound to the profile, here.
 * Throws POLICY_STALE, NOT_PERMITTED, SUBMISSION_INVALID, SUBMISSION_EXPIRED, SUBMISSION_REPLAYED, WRONG_AUDIENCE,
 * CONTRACT_HASH_MISMATCH, POLICY_UNSIGNED.
 * @param submissionJson empty: none came
 */
export function verifySubmission(
  genuine: GenuineTicket,
  submissionJson: Uint8Array,
  trust: SubmissionTrust,
): SubmittedTicket {
  const { owners, rules, now } = trust;
  const trial = new Trial(rules.enforce);
  checkNotFrozen(owners);
  checkTerminal(genuine);
  trial.check(() => checkFresh(owners, now, rules));
  const { bindings } = owners;
  if (bindings === undefined) {
    checkSeal(genuine, undefined);
    return new Submitted(genuine, owners, undefined, trial.warnings);
  }
  const submission = trial.check(() => findSubmission(genuine, submissionJson, bindings, trust));
  checkSeal(genuine, submission);
  checkNotRevoked(genuine, submission, trust);
  trial.check(() => checkBinding(genuine, bindings, trust));
  trial.check(() => checkNamesThisHost(genuine, submission, owners));
  return new Submitted(genuine, owners, submission, trial.warnings);
}

// Also for an owner who only tries it out, and where nobody has signed: a submission that comes along says whether there is
// a terminal, and whose key types there.
function checkTerminal({ ticket, claimed }: GenuineTicket): void {
  const { terminal: granted, receipt_version: version } = ticket.grant;
  const text = (terminal: typeof granted): string => (terminal === undefined ? '' : canonicalJson(terminal));
  if (claimed !== undefined && text(granted) !== text(claimed.terminal)) throw differs('terminal');
  if (granted !== undefined && version !== 'csc.receipt.v0.2')
    throw new CscError('TICKET_INVALID', 'the ticket was refused: a terminal takes receipts of v0.2');
}

// To whom output is sealed a gate must not have a say in, whatever its owner tries out: unsigned, it could be sealed to the gate.
function checkSeal({ ticket, claimed }: GenuineTicket, submission: GenuineSubmission | undefined): void {
  const sealTo = claimed?.sealTo;
  if (sealTo === undefined) return;
  const refused = (why: string): CscError =>
    new CscError('SUBMISSION_INVALID', `the submission was refused: it asks for sealed output, ${why}`);
  if (submission === undefined)
    throw refused(
      'and this host cannot tell that its submitter has signed it: bindings.yaml names keys for that',
    );
  if (ticket.grant.terminal !== undefined) throw refused('and for a terminal, whose output is not sealed');
  if (ticket.grant.receipt_version !== 'csc.receipt.v0.2')
    throw refused('and for a receipt of v0.1, which cannot say so');
  if (!isSealPublicKey(sealTo)) throw refused('to a key that is none of X25519, or that protects nothing');
}

/** What would be refused, for an owner who only tries it out. */
class Trial {
  readonly warnings: string[] = [];
  readonly #enforce: SubmissionRules['enforce'];

  constructor(enforce: SubmissionRules['enforce']) {
    this.#enforce = enforce;
  }

  check<T>(step: () => T): T | undefined {
    try {
      return step();
    } catch (error) {
      if (this.#enforce === 'enforce' || !isCscError(error) || isOfRevokedKey(error)) throw error;
      this.warnings.push(`${error.code}: ${error.message}`);
      return undefined;
    }
  }
}

// What is revoked is not tried out.
function isOfRevokedKey({ cause }: CscError): boolean {
  return isCscError(cause) && cause.code === 'KEY_REVOKED';
}

function findSubmission(
  genuine: GenuineTicket,
  submissionJson: Uint8Array,
  bindings: Bindings,
  trust: SubmissionTrust,
): GenuineSubmission | undefined {
  if (submissionJson.length === 0) {
    if (!trust.rules.required) return undefined;
    const message = `${openings.submissionMissing}, and this host runs nothing that its submitter has not signed (csc login)`;
    throw new CscError('SUBMISSION_INVALID', message);
  }
  const { submission, identity } = identifySubmission(submissionJson, {
    keysOf: (principal) => unrevokedKeys(bindings, principal, trust.owners),
    token: trust.token,
    issuers: trust.owners.issuers,
    revokedAt: (publicKey) => trust.owners.revocations?.revokedKeys().get(publicKey),
    trustDomain: trust.trustDomain,
    now: trust.now,
    contractSha256: genuine.contractSha256,
    host: trust,
  });
  const sha256 = submissionSha256(submission);
  checkAgreement(genuine.ticket, submission, {
    sha256,
    profile: askedProfile(submission, bindings, trust.owners),
  });
  checkJournalKnows(submission, trust);
  return toGenuine(submission, identity, sha256, trust.executorId);
}

// A stolen key signs whatever date it likes, so that nothing of it counts.
function unrevokedKeys(
  bindings: Bindings,
  principal: string,
  { revocations }: OwnersWord,
): KeyRing | undefined {
  const keys = submitterKeys(bindings, principal);
  const revoked = revocations?.revokedKeys();
  if (keys === undefined || revoked === undefined) return keys;
  return createKeyRing(
    keys.entries().map((key) => {
      const revokedAt = revoked.get(key.keyId);
      return revokedAt === undefined ? key : { ...key, revokedAt };
    }),
  );
}

function differs(what: string): CscError {
  return new CscError('TICKET_INVALID', `the ticket was refused: its ${what} is not what was submitted`);
}

// The gate can give less than was asked for, and nothing else.
function checkAgreement(
  ticket: ExecutionTicket,
  submission: Submission,
  { sha256, profile }: { readonly sha256: string; readonly profile: string },
): void {
  if (ticket.principal !== submission.principal) throw differs('principal');
  if (ticket.policy_profile !== profile) throw differs('policy_profile');
  if (ticket.grant.receipt_version !== submission.receipt_version) throw differs('receipt_version');
  if (ticket.submission_sha256 !== sha256) throw differs('submission_sha256');
  const { approvals } = submission;
  if (approvals.length > 0 && ticket.approval_ids.some((id) => !approvals.includes(id)))
    throw differs('approval_ids');
}

// A submitter who names none means the first that it is bound to, and not one of the gate's choice.
function askedProfile(
  { policy_profile: named, principal }: Submission,
  bindings: Bindings,
  { policies }: OwnersWord,
): string {
  return named ?? bindPolicy(bindings, policies, principal, '').policy.name;
}

// A journal that is lost has used nothing that begins after its successor does.
function checkJournalKnows({ not_before: notBefore }: Submission, { journalBornAt }: SubmissionTrust): void {
  const bornAt = journalBornAt();
  if (toDate(notBefore) >= bornAt) return;
  const message = `the submission was made before this host's journal began, at ${bornAt.toISOString()}: it may have been used then; submit it again`;
  throw new CscError('SUBMISSION_REPLAYED', message);
}

function checkNotRevoked(
  { ticket, claimed }: GenuineTicket,
  submission: GenuineSubmission | undefined,
  { owners, executorId, host }: SubmissionTrust,
): void {
  const revoked = owners.revocations?.find(
    subjectOf({ ticket, submission, claimed }, { executorId, ...host }),
  );
  if (revoked === undefined) return;
  throw new CscError('NOT_PERMITTED', describeRevocation(revoked));
}

/** What of a run the owners may revoke. */
export function subjectOf(
  { ticket, submission, claimed }: Pick<SubmittedTicket, 'ticket' | 'submission' | 'claimed'>,
  { executorId, ...host }: HostNames,
): RevocationSubject {
  return {
    principal: ticket.principal,
    executorId,
    host,
    executionId: ticket.execution_id,
    profile: ticket.policy_profile,
    ...(submission === undefined ? {} : { keyId: submission.keyId }),
    ...(submission?.identity === undefined ? {} : { issuer: submission.identity.issuer }),
    ...(claimed === undefined ? {} : { submissionSha256: claimed.sha256, submissionNonce: claimed.nonce }),
  };
}

// What the gate decided by must be what the owners' bindings come to here.
function checkBinding({ contract, ticket }: GenuineTicket, bindings: Bindings, trust: SubmissionTrust): void {
  const { principal, policy_profile: profile } = ticket;
  const document = bindPolicy(bindings, trust.owners.policies, principal, profile);
  if (document.sha256 !== ticket.policy_sha256.toLowerCase()) throw otherVersion(document, ticket);
  const binding = bindingOf(bindings, principal);
  if (!hasLabels(trust.labels, binding?.hosts ?? {}))
    throw new CscError(
      'NOT_PERMITTED',
      `bindings.yaml lets ${principal} run nothing on a host with the labels of this one`,
    );
  if (binding?.secrets === undefined) return;
  const wanted = new Set(contract.commands.flatMap(({ secret_refs: secrets }) => secrets));
  const bound = new Map(Object.entries(binding.secrets)).get(profile);
  const missing = [...wanted].filter((name) => bound?.includes(name) !== true);
  if (missing.length === 0) return;
  const message = `bindings.yaml gives ${principal} under ${profile} no secret named ${missing.join(', ')}`;
  throw new CscError('NOT_PERMITTED', message);
}

// What is to run on one host alone is signed for that one: the gate must not have a second one run it, too.
function checkNamesThisHost(
  { contract, ticket }: GenuineTicket,
  submission: GenuineSubmission | undefined,
  { policies }: OwnersWord,
): void {
  const policy = policies.byName(ticket.policy_profile);
  if (submission === undefined || policy === undefined) return;
  if (submission.isBound || !mustBeBound(contract, policy)) return;
  const message = `the submission was refused: under ${policy.policy.name} it must name the host that runs it (Gate.Bind; a client of this version does that by itself)`;
  throw new CscError('SUBMISSION_INVALID', message);
}

function otherVersion({ policy, sha256 }: PolicyDocument, ticket: ExecutionTicket): CscError {
  const message = `the gate decided under another version of ${policy.name} (${ticket.policy_sha256}) than this host's owners have published (${sha256}); it is decided again once the gate has it`;
  return new CscError('POLICY_UNSIGNED', message);
}

/** The runs that would have been refused: once no more of them come, `enforce: warn` can go. */
export interface TrialLog {
  /** Says of one why, in one line of the log. Gives what its submitter is told. */
  note(ticket: ExecutionTicket, warnings: readonly string[]): readonly string[];
  /** How many there were since the start: the gate tells the owners. */
  readonly count: number;
}

export function createTrialLog(log: Log): TrialLog {
  let sinceStart = 0;
  return {
    get count() {
      return sinceStart;
    },
    note: (ticket, warnings) => {
      if (warnings.length === 0) return [];
      sinceStart += 1;
      const { execution_id: executionId, principal, policy_profile: profile } = ticket;
      log.warn({ executionId, principal, profile, reasons: warnings, sinceStart }, trialNote);
      return warnings.map((reason) => `this host will refuse it once it enforces: ${reason}`);
    },
  };
}

const trialNote = 'a run that this host will refuse once enforce is no longer warn';

/** What a receipt says of it. */
export function toAsked({ submission, claimed, owners: { version }, warnings }: SubmittedTicket): Asked {
  return {
    warnings,
    ...(claimed === undefined ? {} : { claimed }),
    ...(submission === undefined ? {} : { submission }),
    ...(version === undefined ? {} : { policyVersion: version }),
  };
}

function toGenuine(
  submission: Submission,
  identity: TokenIdentity | undefined,
  sha256: string,
  executorId: string,
): GenuineSubmission {
  const { principal, nonce, signature, audience, options } = submission;
  return {
    principal,
    nonce,
    sha256,
    contentSha256: submissionContentSha256(submission),
    keyId: signature.key_id,
    identity,
    isBound: audience.executor_id === executorId,
    notBefore: toDate(submission.not_before),
    limits: options.limits,
  };
}

// openSubmission has let nothing else through; if it ever did, the beginning of time is long over.
function toDate(text: string): Date {
  return parseTimestamp(text) ?? new Date(0);
}
