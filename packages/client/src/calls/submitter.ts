import { createHash, randomBytes } from 'node:crypto';
import { readOwnSigner } from '@csc-fleet/common/crypto';
import { toTimestamp } from '@csc-fleet/common/encoding';
import { CscError, orThrow } from '@csc-fleet/common/errors';
import { type SubmissionSigner, signSubmission } from '@csc-fleet/common/evidence';
import type { Identity, SubmitRequest } from '@csc-fleet/common/rpc';
import { maxSubmissionLifeMs, parseSubmission, type UnsignedSubmission } from '@csc-fleet/common/submission';
import type { PreparedSubmit, SubmitOptions } from './request.ts';

interface Bound {
  readonly executorId: string;
  /** The submission that names it, once there is one: the same bytes however often they are asked for. */
  readonly submissionJson?: Promise<Buffer>;
}

/** Who submits, and signs for it. */
export interface Submitter {
  /** What nonces are bound to, one executor each, for as long as this client lives. */
  readonly bound: Map<string, Bound>;
  /** The one that this client proves to the gate, too. */
  readonly identity: Identity;
  readonly signer: SubmissionSigner;
}

// What a gate lets wait unless its owner says otherwise, and what it takes to get from here to a host beside that.
const defaultQueueMs = 3_600_000;
const marginMs = 5 * 60_000;

interface SignOptions extends SubmitOptions {
  /** It stands for as long as it can, as nobody knows when a person will have agreed. */
  readonly waitForApproval?: boolean | undefined;
}

/** Somebody who signs, and has signed nothing yet. */
export function toSubmitter(identity: Identity, signer: SubmissionSigner): Submitter {
  return { identity, signer, bound: new Map() };
}

/** The submitter of a private key file, under the key id that `csc login` gives it. Throws as readOwnSigner does. */
export function readSubmitterKey(file: string, identity: Identity): Submitter {
  return toSubmitter(identity, readOwnSigner(file, identity.uri));
}

/**
 * A prepared request with the submission that its submitter signs: what hosts believe of who asks. Its nonce is the
 * idempotency key; of a key that the caller gives, it is derived. Without a submitter the request stays as it is.
 * Throws REQUEST_INVALID where the options say what only a submission can; rejects with what the signer throws.
 */
export async function signRequest(
  prepared: PreparedSubmit,
  submitter: Submitter | undefined,
  options: SignOptions,
): Promise<PreparedSubmit> {
  if (submitter === undefined) {
    if (options.limits === undefined && options.executorId === undefined) return prepared;
    const message = 'limits and executorId are part of a signed submission: connect with a submitter';
    throw new CscError('REQUEST_INVALID', message);
  }
  const now = new Date();
  const unsigned = toSubmission(prepared, submitter.identity, options, now);
  if (options.executorId !== undefined) claim(submitter, unsigned.nonce, options.executorId);
  const submissionJson = await signSubmission(unsigned, submitter.signer, now);
  return {
    ...prepared,
    request: { ...prepared.request, idempotencyKey: unsigned.nonce, submissionJson },
  };
}

/**
 * The same submission once more, for the one host that it was placed on. Throws WRONG_AUDIENCE where it was bound to
 * another one before: a gate that has two hosts would have both run it.
 */
export async function bindTo(
  executorId: string,
  request: SubmitRequest,
  submitter: Submitter,
): Promise<Buffer> {
  const parsed = orThrow(parseSubmission(request.submissionJson), 'SUBMISSION_INVALID', 'the submission');
  const { signature: _, audience, ...rest } = parsed;
  const known = claim(submitter, rest.nonce, executorId).submissionJson;
  if (known !== undefined) return known;
  const named = { ...rest, audience: { ...audience, executor_id: executorId } };
  const submissionJson = signSubmission(named, submitter.signer, new Date());
  submitter.bound.set(rest.nonce, { executorId, submissionJson });
  return submissionJson;
}

function claim({ bound }: Submitter, nonce: string, executorId: string): Bound {
  const first = bound.get(nonce) ?? { executorId };
  if (first.executorId !== executorId) {
    const message = `the gate wants the submission for ${executorId}, which was signed for ${first.executorId}: no two hosts may run it; submit it again`;
    throw new CscError('WRONG_AUDIENCE', message);
  }
  bound.set(nonce, first);
  return first;
}

function toSubmission(
  { contractSha256, request }: PreparedSubmit,
  { uri, trustDomain }: Identity,
  options: SignOptions,
  now: Date,
): UnsignedSubmission {
  return {
    submission_version: 'csc.submission.v0.1',
    contract_sha256: contractSha256,
    principal: uri,
    ...(request.policyProfile === '' ? {} : { policy_profile: request.policyProfile }),
    nonce: toNonce(options.idempotencyKey),
    audience: {
      trust_domain: trustDomain,
      selector: request.selector,
      ...(options.executorId === undefined ? {} : { executor_id: options.executorId }),
    },
    not_before: toTimestamp(now),
    expires_at: toTimestamp(new Date(now.getTime() + lifeMs(options))),
    receipt_version: options.receiptVersion ?? 'csc.receipt.v0.2',
    options: options.limits === undefined ? {} : { limits: options.limits },
    approvals: [],
  };
}

/** How long it may take until it starts: no host begins it later. */
function lifeMs({ queueTimeoutMs = defaultQueueMs, waitForApproval = false }: SignOptions): number {
  return waitForApproval ? maxSubmissionLifeMs : Math.min(queueTimeoutMs + marginMs, maxSubmissionLifeMs);
}

// A key that is such a nonce, as errors give it, stands for that very submission.
function toNonce(key: string | undefined): string {
  if (key === undefined) return randomBytes(16).toString('hex');
  if (/^[0-9a-f]{32}$/.test(key)) return key;
  return createHash('sha256').update(key).digest('hex').slice(0, 32);
}
