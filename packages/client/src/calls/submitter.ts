import { createHash, randomBytes } from 'node:crypto';
import { canonicalJson, parseTimestamp, toTimestamp } from '@csc-fleet/common/encoding';
import { CscError, orThrow } from '@csc-fleet/common/errors';
import { type SubmissionSigner, signSubmission } from '@csc-fleet/common/evidence';
import type { Decision } from '@csc-fleet/common/messages';
import { tokenSha256 } from '@csc-fleet/common/oidc';
import type { Identity } from '@csc-fleet/common/rpc';
import { sealAlgorithm } from '@csc-fleet/common/seal';
import { maxSubmissionLifeMs, parseSubmission, type UnsignedSubmission } from '@csc-fleet/common/submission';
import type { PreparedSubmit, SubmitOptions, TerminalAsked } from './request.ts';
import type { SignedSubmission, SignedSubmissions } from './signed.ts';

/** Who submits, and signs for it. */
export interface Submitter {
  /** What was signed, and which hosts it names. */
  readonly signed: SignedSubmissions;
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

/** A request that is ready to leave, and its submission. */
export interface SignedSubmit extends PreparedSubmit {
  /** Undefined: nobody signs. */
  readonly submission: SignedSubmission | undefined;
}

/**
 * A prepared request with the submission that its submitter signs: what hosts believe of who asks. Its nonce is the
 * idempotency key; of a key that the caller gives, it is derived, and what was signed for that before is handed in once
 * more where it says the same and stands. Without a submitter the request stays as it is.
 * Throws REQUEST_INVALID where the options say what only a submission can, WRONG_AUDIENCE where they name another host than
 * was named for this key; rejects with what the signer throws.
 */
export async function signRequest(
  prepared: PreparedSubmit,
  submitter: Submitter | undefined,
  options: SignOptions,
): Promise<SignedSubmit> {
  if (submitter === undefined) {
    const { limits, executorId, requireOutputs, attest, sealTo, startWithinMs } = options;
    const flags = requireOutputs === true || attest === true;
    const asked = [limits, executorId, sealTo, startWithinMs].some((it) => it !== undefined);
    if (!asked && !flags) return { ...prepared, submission: undefined };
    const message =
      'limits, executorId, requireOutputs, attest, sealTo and startWithinMs are part of a signed submission: connect with a submitter';
    throw new CscError('REQUEST_INVALID', message);
  }
  const now = new Date();
  const token = await submitter.signer.token?.();
  const unsigned = toSubmission(prepared, { ...submitter.identity, token }, options, now);
  const { nonce } = unsigned;
  if (options.executorId !== undefined) await claim(submitter, nonce, options.executorId);
  const known = options.idempotencyKey === undefined ? undefined : await submitter.signed.find(nonce);
  const submissionJson =
    known !== undefined && stands(known, unsigned, submitter, now)
      ? known.submissionJson
      : await signSubmission(unsigned, submitter.signer, now);
  const submission = { nonce, submissionJson };
  // Whoever gives a key may hand it in again from another process.
  if (options.idempotencyKey !== undefined) await submitter.signed.keep({ ...known, ...submission });
  const request = { ...prepared.request, idempotencyKey: nonce, submissionJson, submissionToken: token };
  return { ...prepared, request, submission };
}

// The gate takes only the first for what its key stands for.
function stands(
  { submissionJson }: SignedSubmission,
  wanted: UnsignedSubmission,
  { signer }: Submitter,
  now: Date,
): boolean {
  const known = parseSubmission(submissionJson);
  if (!known.ok || known.value.signature.key_id !== signer.keyId) return false;
  if (Date.parse(known.value.expires_at) <= now.getTime()) return false;
  const { signature: _, ...before } = known.value;
  const { not_before, expires_at } = before;
  return canonicalJson(before) === canonicalJson({ ...wanted, not_before, expires_at });
}

/**
 * The same submission once more, for the one host that it was placed on; the same bytes whenever it is asked for, as far as
 * that is up to us. Throws WRONG_AUDIENCE where another host was named before: a gate that has two would have both run it.
 */
export async function bindTo(
  executorId: string,
  { submissionJson }: Pick<SignedSubmission, 'submissionJson'>,
  submitter: Submitter,
): Promise<Buffer> {
  const parsed = orThrow(parseSubmission(submissionJson), 'SUBMISSION_INVALID', 'the submission');
  const { signature, audience, ...rest } = parsed;
  await claim(submitter, rest.nonce, executorId);
  const named = { ...rest, audience: { ...audience, executor_id: executorId } };
  return signSubmission(named, submitter.signer, parseTimestamp(signature.signed_at) ?? new Date());
}

async function claim({ signed }: Submitter, nonce: string, executorId: string): Promise<void> {
  const first = await signed.claim(nonce, executorId);
  if (first === executorId) return;
  const message = `the gate wants the submission for ${executorId}, which was signed for ${first}: no two hosts may run it; submit it again`;
  throw new CscError('WRONG_AUDIENCE', message);
}

function toSubmission(
  { contractSha256, request }: PreparedSubmit,
  { uri, trustDomain, token }: Identity & { readonly token: string | undefined },
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
    options: {
      ...(options.limits === undefined ? {} : { limits: options.limits }),
      ...(options.requireOutputs === true ? { require_outputs: true as const } : {}),
      ...(options.sealTo === undefined ? {} : { seal: toSeal(options.sealTo) }),
      ...(options.attest === true ? { attest: true as const } : {}),
      ...(options.terminal === undefined ? {} : { terminal: toWish(options.terminal) }),
    },
    approvals: [],
    ...(token === undefined ? {} : { token_sha256: tokenSha256(token) }),
  };
}

function toSeal(publicKey: Uint8Array) {
  return { algorithm: sealAlgorithm, public_key: Buffer.from(publicKey).toString('base64') };
}

function toWish({ columns, rows, type, inputKey }: TerminalAsked) {
  return { columns, rows, type, input_key: Buffer.from(inputKey).toString('base64') };
}

/** How long it may take until it starts: no host begins it later. */
function lifeMs({
  queueTimeoutMs = defaultQueueMs,
  waitForApproval = false,
  startWithinMs,
}: SignOptions): number {
  if (startWithinMs !== undefined && !(startWithinMs > 0 && startWithinMs <= maxSubmissionLifeMs))
    throw new CscError('REQUEST_INVALID', 'startWithinMs must be more than 0, and 24 hours at most');
  if (startWithinMs !== undefined) return startWithinMs;
  return waitForApproval ? maxSubmissionLifeMs : Math.min(queueTimeoutMs + marginMs, maxSubmissionLifeMs);
}

// A key that is such a nonce, as errors give it, stands for that very submission.
function toNonce(key: string | undefined): string {
  if (key === undefined) return randomBytes(16).toString('hex');
  if (/^[0-9a-f]{32}$/.test(key)) return key;
  return createHash('sha256').update(key).digest('hex').slice(0, 32);
}

/**
 * Until when what was handed in can be agreed to, and be started: the earlier of when the decision and the submission
 * end. Undefined: the gate has not said.
 */
export function waitsUntil(
  decision: Pick<Decision, 'expiresAt'> | undefined,
  submissionJson: Uint8Array | undefined,
): Date | undefined {
  const submission = submissionJson === undefined ? undefined : parseSubmission(submissionJson);
  const expires = submission?.ok === true ? parseTimestamp(submission.value.expires_at) : undefined;
  const times = [decision?.expiresAt, expires].filter((it) => it !== undefined);
  return times.sort((a, b) => a.getTime() - b.getTime())[0];
}
