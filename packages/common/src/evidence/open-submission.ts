import { createKeyRing, type KeyRing, keyLength, parseBase64, toBase64 } from '../crypto/index.ts';
import { parseTimestamp } from '../encoding/index.ts';
import { CscError, isCscError, orThrow } from '../errors/index.ts';
import { parseIdentity } from '../identity/index.ts';
import {
  judgeToken,
  type OpenedToken,
  refusedToken,
  type TokenContext,
  type TokenIdentity,
} from '../oidc/index.ts';
import {
  maxSubmissionLifeMs,
  parseSubmission,
  type Submission,
  submissionSkewMs,
} from '../submission/index.ts';
import { checkLife, type LifeRules } from './life.ts';
import { verifySubmission } from './submission-signature.ts';

/** What a submission is held against, by gate and host alike. */
export interface SubmissionContext {
  /** The keys that the owners' bindings name for this principal. Absent: none. */
  readonly keysOf: (principal: string) => KeyRing | undefined;
  /**
   * The token that came beside it, opened, or why it cannot be; and the owners' issuers, who say what it means. Absent: none
   * came.
   */
  readonly token?: OpenedToken | CscError | undefined;
  readonly issuers?: TokenContext['issuers'];
  /** When a public key (base64) of a token's was revoked. Absent: none was. */
  readonly revokedAt?: ((publicKey: string) => Date | undefined) | undefined;
  readonly trustDomain: string;
  readonly now: Date;
  /** Of the contract that came with it; hex, in either case. */
  readonly contractSha256: string;
  /** The host that is to run it. Absent at the gate, before it is placed. */
  readonly host?: { readonly executorId: string; readonly labels: Readonly<Record<string, string>> };
}

/**
 * A submission that its principal really made, of this contract, for this host, now; that its nonce is unused is for
 * the journal to see to, and that the principal may use the profile for the bindings. The order is that of trust:
 * nothing in it is believed before the signature is. Throws SUBMISSION_INVALID (malformed, no key of that principal,
 * signature, life over 24 h, not valid yet), SUBMISSION_EXPIRED, WRONG_AUDIENCE, CONTRACT_HASH_MISMATCH.
 */
export function openSubmission(bytes: Uint8Array, context: SubmissionContext): Submission {
  return identifySubmission(bytes, context).submission;
}

/** The same, and by which token its principal is who signed it; undefined where bindings name the key. */
export function identifySubmission(
  bytes: Uint8Array,
  context: SubmissionContext,
): { readonly submission: Submission; readonly identity: TokenIdentity | undefined } {
  const submission = orThrow(parseSubmission(bytes), 'SUBMISSION_INVALID', 'the submission');
  const identity = submission.token_sha256 === undefined ? undefined : checkToken(submission, context);
  if (identity === undefined) checkSignature(submission, context);
  checkLife(submission, context.now, life);
  checkAudience(submission, context);
  if (submission.contract_sha256.toLowerCase() !== context.contractSha256.toLowerCase())
    throw new CscError('CONTRACT_HASH_MISMATCH', 'the contract is not the one that was submitted');
  return { submission, identity };
}

// The key that has signed is the token's, and the token's is the principal; the token that came is the one that was signed for.
function checkToken(submission: Submission, context: SubmissionContext): TokenIdentity {
  const { token, issuers, trustDomain, now } = context;
  if (token === undefined) throw refusedToken('none came, and the submission is signed with the key of one');
  if (isCscError(token)) throw token;
  if (token.sha256 !== submission.token_sha256?.toLowerCase())
    throw refusedToken('it is not the one that the submission was signed with');
  const publicKey = readTokenKey(submission);
  const keyId = toBase64(publicKey);
  const revokedAt = context.revokedAt?.(keyId);
  const keys = createKeyRing([{ keyId, publicKey, ...(revokedAt === undefined ? {} : { revokedAt }) }]);
  verifyBy(submission, keys, now, 'the key that it names');
  const usedAt = parseTimestamp(submission.not_before) ?? new Date(0);
  const identity = judgeToken(token, { issuers, trustDomain, publicKey, usedAt, now });
  if (identity.principal === submission.principal) return identity;
  throw refusedToken(`it is of ${identity.principal}, and the submission of ${submission.principal}`);
}

function readTokenKey({ signature: { algorithm, key_id: keyId } }: Submission): Uint8Array {
  const publicKey = parseBase64(keyId);
  if (algorithm === 'ed25519' && publicKey?.length === keyLength) return publicKey;
  throw invalid('with a token, signature.key_id must be the base64 of the Ed25519 key that signed');
}

function checkSignature(submission: Submission, { keysOf, now }: SubmissionContext): void {
  const { principal } = submission;
  const keys = keysOf(principal);
  if (keys === undefined)
    throw invalid(`bindings.yaml names no submission key of ${principal}; ask the owner to add one`);
  verifyBy(submission, keys, now, `a key that bindings.yaml names for ${principal}`);
}

function verifyBy(submission: Submission, keys: KeyRing, now: Date, whose: string): void {
  try {
    verifySubmission(submission, keys, now);
  } catch (error) {
    if (!isCscError(error)) throw error;
    throw invalid(`it is not signed with ${whose}: ${error.message}`, error);
  }
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

function invalid(why: string, cause?: CscError): CscError {
  const message = `the submission was refused: ${why}`;
  return new CscError('SUBMISSION_INVALID', message, cause === undefined ? {} : { cause });
}

function wrongAudience(what: string): CscError {
  return new CscError('WRONG_AUDIENCE', `the submission is ${what}`);
}

const life: LifeRules = {
  longest: { ms: maxSubmissionLifeMs, words: '24 hours' },
  earlyMs: submissionSkewMs,
  lateMs: submissionSkewMs,
  expired: (at) => {
    const message = `the submission expired at ${at}; submit it again, and check the clocks`;
    return new CscError('SUBMISSION_EXPIRED', message);
  },
  invalid,
};
