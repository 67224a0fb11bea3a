import { createHash, randomBytes } from 'node:crypto';
import { readOwnSigner } from '@csc-fleet/common/crypto';
import { toTimestamp } from '@csc-fleet/common/encoding';
import { CscError } from '@csc-fleet/common/errors';
import { type SubmissionSigner, signSubmission } from '@csc-fleet/common/evidence';
import type { Identity } from '@csc-fleet/common/rpc';
import { maxSubmissionLifeMs, type UnsignedSubmission } from '@csc-fleet/common/submission';
import type { PreparedSubmit, SubmitOptions } from './request.ts';

/** Who submits, and signs for it. */
export interface Submitter {
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

/** The submitter of a private key file, under the key id that `csc login` gives it. Throws as readOwnSigner does. */
export function readSubmitterKey(file: string, identity: Identity): Submitter {
  return { identity, signer: readOwnSigner(file, identity.uri) };
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
    if (options.limits === undefined) return prepared;
    throw new CscError('REQUEST_INVALID', 'limits are part of a signed submission: connect with a submitter');
  }
  const now = new Date();
  const unsigned = toSubmission(prepared, submitter.identity, options, now);
  const submissionJson = await signSubmission(unsigned, submitter.signer, now);
  return {
    ...prepared,
    request: { ...prepared.request, idempotencyKey: unsigned.nonce, submissionJson },
  };
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
    audience: { trust_domain: trustDomain, selector: request.selector },
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
