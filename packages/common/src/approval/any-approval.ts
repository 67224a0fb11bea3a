import { artifactBytes, canonicalBytes, isJsonObject, type JsonValue, sha256Hex } from '../encoding/index.ts';
import { type Parsed, parsed } from '../errors/index.ts';
import { parseArtifact } from '../schema/index.ts';
import { type ApprovalArtifact, approvalFromJson } from './approval.ts';
import {
  type BreakGlass,
  breakGlassFromJson,
  type SignedApproval,
  signedApprovalFromJson,
} from './signed.ts';

/** Whatever may be handed in where people must agree. */
export type AnyApproval =
  | { readonly kind: 'unsigned'; readonly id: string; readonly artifact: ApprovalArtifact }
  | { readonly kind: 'signed'; readonly id: string; readonly artifact: SignedApproval }
  | { readonly kind: 'break_glass'; readonly id: string; readonly artifact: BreakGlass };

/** Reads an approval of either version, or a break-glass, from its JSON text. */
export function parseAnyApproval(bytes: Uint8Array): Parsed<AnyApproval> {
  return parseArtifact(bytes, artifactBytes.approval, fromJson);
}

function fromJson(value: JsonValue): Parsed<AnyApproval> {
  if (isJsonObject(value) && 'break_glass_version' in value) {
    const glass = breakGlassFromJson(value);
    if (!glass.ok) return glass;
    return parsed({ kind: 'break_glass', id: glass.value.break_glass_id, artifact: glass.value });
  }
  if (isJsonObject(value) && value['approval_version'] === 'csc.approval.v0.2') {
    const signed = signedApprovalFromJson(value);
    if (!signed.ok) return signed;
    return parsed({ kind: 'signed', id: signed.value.approval_id, artifact: signed.value });
  }
  const unsigned = approvalFromJson(value);
  if (!unsigned.ok) return unsigned;
  return parsed({ kind: 'unsigned', id: unsigned.value.approval_id, artifact: unsigned.value });
}

/** Lower-case hex SHA-256 of its canonical JSON, signature included. */
export function approvalSha256({ artifact }: AnyApproval): string {
  return sha256Hex(canonicalBytes(artifact));
}
