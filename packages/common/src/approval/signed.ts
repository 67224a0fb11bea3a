import type * as z from 'zod';
import { findSignatureFault, type PersonSigner, toBase64, toBeSigned } from '../crypto/index.ts';
import { artifactBytes, canonicalBytes, type JsonValue, sha256Hex, toTimestamp } from '../encoding/index.ts';
import { CscError, type Parsed } from '../errors/index.ts';
import { parseArtifact, validate } from '../schema/index.ts';
import type { Submission } from '../submission/index.ts';
import type { ApproverKey } from './approvers.ts';
import { approvalV02Schema, breakGlassSchema } from './schema.ts';

/** One person's yes or no, signed. */
export type SignedApproval = z.infer<typeof approvalV02Schema>;
export type UnsignedApproval = Omit<SignedApproval, 'signature'>;

/** One person's word that one submission runs without its approvals, signed. */
export type BreakGlass = z.infer<typeof breakGlassSchema>;
export type UnsignedBreakGlass = Omit<BreakGlass, 'signature'>;

/** Reads a signed approval from its JSON text. Its signature is not verified here. */
export function parseSignedApproval(bytes: Uint8Array): Parsed<SignedApproval> {
  return parseArtifact(bytes, artifactBytes.approval, signedApprovalFromJson);
}

/** Validates a signed approval that is parsed already. */
export function signedApprovalFromJson(value: JsonValue): Parsed<SignedApproval> {
  return validate(approvalV02Schema, value);
}

/** Reads a break-glass from its JSON text. Its signature is not verified here. */
export function parseBreakGlass(bytes: Uint8Array): Parsed<BreakGlass> {
  return parseArtifact(bytes, artifactBytes.approval, breakGlassFromJson);
}

/** Validates a break-glass that is parsed already. */
export function breakGlassFromJson(value: JsonValue): Parsed<BreakGlass> {
  return validate(breakGlassSchema, value);
}

/** Signs an approval, and gives it as it leaves: canonical JSON. Rejects with ENCODING_INVALID, and as the signer does. */
export function signApproval(approval: UnsignedApproval, signer: PersonSigner, now: Date): Promise<Buffer> {
  return sign(approval, signer, now);
}

/** Signs a break-glass, as signApproval does. */
export function signBreakGlass(
  breakGlass: UnsignedBreakGlass,
  signer: PersonSigner,
  now: Date,
): Promise<Buffer> {
  return sign(breakGlass, signer, now);
}

async function sign(
  unsigned: UnsignedApproval | UnsignedBreakGlass,
  { keyId: key_id, algorithm, sign: signs }: PersonSigner,
  now: Date,
): Promise<Buffer> {
  const members = { algorithm, key_id, signed_at: toTimestamp(now) };
  const asked = { namespace: versionOf(unsigned), payload: payloadOf(unsigned, members) };
  const signature = toBase64(await signs(messageOf(unsigned, members), asked));
  return canonicalBytes({ ...unsigned, signature: { ...members, signature } });
}

type SignedMembers = Pick<SignedApproval['signature'], 'algorithm' | 'key_id' | 'signed_at'>;

function messageOf(unsigned: UnsignedApproval | UnsignedBreakGlass, members: SignedMembers): Uint8Array {
  return toBeSigned(members.algorithm, versionOf(unsigned), payloadOf(unsigned, members));
}

function payloadOf(unsigned: UnsignedApproval | UnsignedBreakGlass, members: SignedMembers): Uint8Array {
  return canonicalBytes({ ...unsigned, signature: members });
}

function versionOf(artifact: UnsignedApproval | UnsignedBreakGlass): string {
  return 'approval_version' in artifact ? artifact.approval_version : artifact.break_glass_version;
}

/**
 * Throws SIGNATURE_INVALID; KEY_REVOKED, whenever it was signed; KEY_EXPIRED where the key is not good now: whoever has one
 * that has expired since would date its signatures back.
 * @param key that the owners name for the person
 */
export function verifyPersonSignature(
  { signature, ...unsigned }: SignedApproval | BreakGlass,
  key: ApproverKey,
  now: Date,
): void {
  const named = `the key ${JSON.stringify(key.keyId)}`;
  if (key.revokedAt !== undefined)
    throw new CscError('KEY_REVOKED', `${named} was revoked at ${toTimestamp(key.revokedAt)}`);
  if (
    (key.notBefore !== undefined && now < key.notBefore) ||
    (key.notAfter !== undefined && now > key.notAfter)
  )
    throw new CscError('KEY_EXPIRED', `${named} is not valid at ${toTimestamp(now)}`);
  const { signature: _, ...members } = signature;
  const fault = findSignatureFault(messageOf(unsigned, members), signature, key, key.touch);
  if (fault === undefined) return;
  throw new CscError('SIGNATURE_INVALID', `the signature is not valid: ${fault} (${named})`);
}

/**
 * What approvals call a submission by: lower-case hex SHA-256 of the canonical JSON of what it asks for, without its
 * signature and without the host that it names once it is placed.
 */
export function submissionContentSha256({ signature: _, audience, ...rest }: Submission): string {
  const { executor_id: __, ...others } = audience;
  return sha256Hex(canonicalBytes({ ...rest, audience: others }));
}
