import * as z from 'zod';
import { type KeyRing, type Signer, signArtifact, verifyArtifact } from '../crypto/index.ts';
import { canonicalBytes, type JsonObject, parseTimestamp, sha256Hex } from '../encoding/index.ts';
import { CscError, isCscError, orThrow, type Parsed } from '../errors/index.ts';
import { parseIdentity } from '../identity/index.ts';
import { receiptVersions } from '../receipt/index.ts';
import {
  boundedText,
  labelsMember,
  limitsSchema,
  nonEmptyText,
  oneOf,
  parseArtifact,
  sha256Member,
  signatureMember,
  timestamp,
  uniqueList,
  validate,
  versionMember,
} from '../schema/index.ts';

/** A client's identity, without patterns. */
const principalMember = z
  .string()
  .refine((text) => parseIdentity(text)?.role === 'client', {
    error: 'must be spiffe://TRUST_DOMAIN/client/NAME',
  })
  .meta({ examples: ['spiffe://csc.local/client/ci-7'] });

const audience = z.strictObject({
  trust_domain: boundedText({ min: 1, max: 255 }),
  selector: labelsMember.meta({
    description: 'Labels that the host must have, all of them. Empty: any host.',
  }),
  executor_id: boundedText({ min: 1, max: 255 })
    .exactOptional()
    .meta({ description: 'The one host that may run it. Absent: any that the selector names.' }),
});

const options = z.strictObject({
  limits: limitsSchema.exactOptional().meta({
    description: 'The most that the submitter wants used; policy and host can only say less.',
  }),
});

/** The rules of a Submission. */
export const submissionSchema = z
  .strictObject({
    submission_version: versionMember('submission', 'csc.submission.v0.1'),
    contract_sha256: sha256Member,
    principal: principalMember,
    policy_profile: nonEmptyText
      .exactOptional()
      .meta({ description: 'Absent: the first of the profiles that the principal is bound to.' }),
    nonce: z
      .string()
      .regex(/^[0-9a-f]{32}$/, 'must be 16 random bytes in lower-case hex')
      .meta({ description: 'Used once on a host, whatever came of it.' }),
    audience,
    not_before: timestamp,
    expires_at: timestamp.meta({
      format: 'date-time',
      description: 'At most 24 h after not_before; bounds the start only.',
    }),
    receipt_version: oneOf(receiptVersions),
    options,
    approvals: uniqueList(boundedText({ min: 1, max: 256 }), 0).meta({
      uniqueItems: true,
      description: 'Ids of the approvals that the submitter wants counted. Empty: whatever comes.',
    }),
    signature: signatureMember,
  })
  .meta({
    title: 'CSC Submission v0.1',
    description: 'Who asks for which contract to be run, where and until when, signed by the submitter.',
  });

/** What a submitter asks for, signed with the submitter's own key. */
export type Submission = z.infer<typeof submissionSchema>;
export type UnsignedSubmission = Omit<Submission, 'signature'>;

/** Milliseconds from not_before to expires_at, at most. */
export const maxSubmissionLifeMs = 24 * 3_600_000;

/** Milliseconds that a submitter's clock may be off, either way. */
export const submissionSkewMs = 60_000;

/** Bytes of its JSON text. */
export const maxSubmissionBytes = 65_536;

/** What a submission is held against, by gate and host alike. */
export interface SubmissionContext {
  /** The keys that the owners' bindings name for this principal. Absent: none. */
  readonly keysOf: (principal: string) => KeyRing | undefined;
  readonly trustDomain: string;
  readonly now: Date;
  /** Of the contract that came with it; hex, in either case. */
  readonly contractSha256: string;
  /** The host that is to run it. Absent at the gate, before it is placed. */
  readonly host?: { readonly executorId: string; readonly labels: Readonly<Record<string, string>> };
}

/** Canonical JSON of a signed submission. */
export function signSubmission(submission: UnsignedSubmission, signer: Signer, now: Date): Buffer {
  return canonicalBytes(signArtifact(submission, signer, now) as unknown as JsonObject);
}

/** Reads a submission from its JSON text. The signature is not verified here: see openSubmission. */
export function parseSubmission(bytes: Uint8Array): Parsed<Submission> {
  return parseArtifact(bytes, maxSubmissionBytes, (value) => validate(submissionSchema, value));
}

/** Lower-case hex SHA-256 of its canonical JSON, signature included: what tickets and receipts name it by. */
export function submissionSha256(submission: Submission): string {
  return sha256Hex(canonicalBytes(submission as unknown as JsonObject));
}

/**
 * A submission that its principal really made, of this contract, for this host, now; that its nonce is unused is for
 * the journal to see to, and that the principal may use the profile for the bindings. The order is that of trust:
 * nothing in it is believed before the signature is. Throws SUBMISSION_INVALID (malformed, no key of that principal,
 * signature, life over 24 h, not valid yet), SUBMISSION_EXPIRED, WRONG_AUDIENCE, CONTRACT_HASH_MISMATCH.
 */
export function openSubmission(bytes: Uint8Array, context: SubmissionContext): Submission {
  const submission = orThrow(parseSubmission(bytes), 'SUBMISSION_INVALID', 'the submission');
  checkSignature(submission, context);
  checkTimes(submission, context.now);
  checkAudience(submission, context);
  if (submission.contract_sha256.toLowerCase() !== context.contractSha256.toLowerCase())
    throw new CscError('CONTRACT_HASH_MISMATCH', 'the contract is not the one that was submitted');
  return submission;
}

function checkSignature(submission: Submission, { keysOf }: SubmissionContext): void {
  const { principal } = submission;
  const keys = keysOf(principal);
  if (keys === undefined)
    throw invalid(`bindings.yaml names no submission key of ${principal}; ask the owner to add one`);
  try {
    verifyArtifact(submission as unknown as JsonObject, keys);
  } catch (error) {
    if (!isCscError(error)) throw error;
    throw invalid(
      `it is not signed with a key that bindings.yaml names for ${principal}: ${error.message}`,
      error,
    );
  }
}

function checkTimes(submission: Submission, now: Date): void {
  const notBefore = time(submission.not_before);
  const expiresAt = time(submission.expires_at);
  const signedAt = time(submission.signature.signed_at);
  if (expiresAt <= notBefore) throw invalid('it expires before it begins');
  if (expiresAt - notBefore > maxSubmissionLifeMs) throw invalid('its life is longer than 24 hours');
  if (now.getTime() >= expiresAt + submissionSkewMs) {
    const message = `the submission expired at ${submission.expires_at}; submit it again, and check the clocks`;
    throw new CscError('SUBMISSION_EXPIRED', message);
  }
  if (now.getTime() < notBefore - submissionSkewMs)
    throw invalid(`it is not valid before ${submission.not_before}; check the clocks`);
  // A key's validity is judged at signed_at, so that it must not be dated back to when an old key was valid.
  if (signedAt < notBefore - submissionSkewMs || signedAt > expiresAt)
    throw invalid('it was not signed when it begins');
}

function checkAudience(submission: Submission, { trustDomain, host }: SubmissionContext): void {
  const { trust_domain: domain, selector, executor_id: executorId } = submission.audience;
  if (domain !== trustDomain)
    throw wrongAudience(`for the trust domain ${JSON.stringify(domain)}, not ${JSON.stringify(trustDomain)}`);
  if (parseIdentity(submission.principal)?.trustDomain !== domain)
    throw wrongAudience('for another trust domain than its principal is of');
  if (host === undefined) return;
  if (executorId !== undefined && executorId !== host.executorId)
    throw wrongAudience(
      `for the executor ${JSON.stringify(executorId)}, not ${JSON.stringify(host.executorId)}`,
    );
  const missing = Object.entries(selector).find(([label, value]) => host.labels[label] !== value);
  if (missing === undefined) return;
  throw wrongAudience(`for hosts with the label ${missing.join('=')}, which this host has not`);
}

function time(text: string): number {
  return parseTimestamp(text)?.getTime() ?? Number.NaN;
}

function invalid(why: string, cause?: CscError): CscError {
  const message = `the submission was refused: ${why}`;
  return new CscError('SUBMISSION_INVALID', message, cause === undefined ? {} : { cause });
}

function wrongAudience(what: string): CscError {
  return new CscError('WRONG_AUDIENCE', `the submission is ${what}`);
}
