import {
  type AnyApproval,
  type Approvers,
  parseAnyApproval,
  parseApprovers,
  verifyPersonSignature,
} from '../approval/index.ts';
import { sha256Hex } from '../encoding/index.ts';
import { isCscError } from '../errors/index.ts';
import type { ReceiptV02 } from '../receipt/index.ts';
import { places } from './manifest.ts';

type Used = ReceiptV02['approvals'][number];
type Signed = Exclude<AnyApproval, { kind: 'unsigned' }>;

/** What is known of an approval that a receipt brings whole. */
export type ApprovalStanding =
  /** A key that an approvers.yaml here names for the person has signed it, for just this run. */
  | { readonly kind: 'signed' }
  /** It is for this run; no approvers.yaml here names its key, or it was revoked or had ended. */
  | { readonly kind: 'unknown' }
  | { readonly kind: 'fault'; readonly why: string };

/**
 * Holds an approval against the receipt that brings it, and against approvers.yaml; undefined where nobody has signed it.
 * @param approvers each version of the file that is here: the one of then may be an earlier one
 */
export function judgeUsedApproval(
  used: Used,
  receipt: ReceiptV02,
  approvers: readonly Approvers[],
): ApprovalStanding | undefined {
  if (used.artifact === undefined) return undefined;
  const bytes = Buffer.from(used.artifact);
  const parsed = parseAnyApproval(bytes);
  if (!parsed.ok || parsed.value.kind === 'unsigned') return fault('what the person signed cannot be read');
  if (sha256Hex(bytes) !== used.sha256?.toLowerCase())
    return fault('what the person signed has another hash');
  const differing = findDifference(parsed.value, used, receipt);
  if (differing !== undefined) return fault(`what the person signed is for another ${differing}`);
  return judgeSignature(parsed.value.artifact, approvers);
}

/** Each approvers.yaml of the repository in a bundle, as it is published: by name, and with the hash before it of each version that is kept. */
export function findApprovers(files: ReadonlyMap<string, Uint8Array>): Approvers[] {
  return [...files].flatMap(([path, bytes]) => {
    if (!path.startsWith(places.repository) || !/(?:^|[/.])approvers\.yaml$/.test(path)) return [];
    const parsed = parseApprovers(bytes);
    return parsed.ok ? [parsed.value] : [];
  });
}

const fault = (why: string): ApprovalStanding => ({ kind: 'fault', why });

function findDifference({ kind, id, artifact }: Signed, used: Used, receipt: ReceiptV02): string | undefined {
  const isApproval = 'verdict' in artifact ? artifact.verdict === 'approve' : true;
  const pairs: readonly (readonly [string, string | undefined, string | undefined])[] = [
    ['kind', kind === 'break_glass' ? kind : 'approval', used.kind],
    ['verdict', String(isApproval), 'true'],
    ['approval_id', id, used.approval_id],
    ['approver', artifact.approver.identity, used.approver],
    ['group', artifact.group, used.group],
    ['contract', artifact.contract_sha256.toLowerCase(), receipt.contract_sha256.toLowerCase()],
    ['policy', artifact.policy_sha256.toLowerCase(), receipt.policy_sha256?.toLowerCase()],
    ['principal', artifact.principal, receipt.principal],
  ];
  return pairs.find(([, signed, said]) => signed !== said)?.[0];
}

function judgeSignature(artifact: Signed['artifact'], approvers: readonly Approvers[]): ApprovalStanding {
  const keys = approvers.flatMap((file) => {
    const person = file.find(artifact.approver.identity);
    const key = person?.keys.find((it) => it.keyId === artifact.signature.key_id);
    return key !== undefined && person?.groups.includes(artifact.group) === true ? [key] : [];
  });
  let misfit: string | undefined;
  for (const key of keys)
    try {
      verifyPersonSignature(artifact, key, new Date(artifact.approved_at));
      return { kind: 'signed' };
    } catch (error) {
      if (!isCscError(error)) throw error;
      if (error.code === 'SIGNATURE_INVALID') misfit = error.message;
    }
  return misfit === undefined ? { kind: 'unknown' } : fault(misfit);
}
