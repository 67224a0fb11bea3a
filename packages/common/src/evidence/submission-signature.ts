import { type KeyRing, toBase64, toBeSigned } from '../crypto/index.ts';
import { canonicalBytes, toTimestamp } from '../encoding/index.ts';
import { CscError } from '../errors/index.ts';
import type { Submission, UnsignedSubmission } from '../submission/index.ts';
import { verifyBytes } from './artifact.ts';

type SignedMembers = Pick<Submission['signature'], 'algorithm' | 'key_id' | 'signed_at'>;

/** Signs submissions: any Signer, or an SSH agent, which holds the key and answers when it does. */
export interface SubmissionSigner {
  readonly keyId: string;
  /** 32 bytes. */
  readonly publicKey: Uint8Array;
  /** Absent: ed25519, as all artifacts are signed. */
  readonly algorithm?: Submission['signature']['algorithm'];
  /**
   * The OIDC token that names this key, and says who the principal is; `keyId` is then the base64 of `publicKey`. Absent:
   * bindings.yaml names the key.
   */
  readonly token?: () => Promise<string>;
  /** An Ed25519 signature, 64 bytes, over these very bytes. */
  sign(message: Uint8Array): Uint8Array | Promise<Uint8Array>;
}

/**
 * Signs a submission, and gives it as it leaves: canonical JSON. An agent signs what SSHSIG makes of it. Rejects with
 * ENCODING_INVALID, and with what the signer throws.
 */
export async function signSubmission(
  unsigned: UnsignedSubmission,
  signer: SubmissionSigner,
  now: Date,
): Promise<Buffer> {
  const { keyId: key_id, algorithm = 'ed25519' } = signer;
  const members: SignedMembers = { algorithm, key_id, signed_at: toTimestamp(now) };
  const signature = toBase64(await signer.sign(messageOf(unsigned, members)));
  return canonicalBytes({ ...unsigned, signature: { ...members, signature } });
}

/**
 * Throws SIGNATURE_INVALID, KEY_UNKNOWN, KEY_REVOKED, KEY_EXPIRED, as verifyArtifact does. The key must be good now, too: a
 * submission asks for something to be done, and whoever has a key that has expired since would date it back.
 */
export function verifySubmission({ signature, ...unsigned }: Submission, keys: KeyRing, now: Date): void {
  const { signature: _, ...members } = signature;
  verifyBytes(signature, keys, () => messageOf(unsigned, members));
  const until = keys.find(signature.key_id)?.notAfter;
  if (until === undefined || now <= until) return;
  const message = `the key ${JSON.stringify(signature.key_id)} was good until ${toTimestamp(until)}`;
  throw new CscError('KEY_EXPIRED', message);
}

function messageOf(unsigned: UnsignedSubmission, members: SignedMembers): Uint8Array {
  const payload = canonicalBytes({ ...unsigned, signature: members });
  return toBeSigned(members.algorithm, 'csc.submission.v0.1', payload);
}
