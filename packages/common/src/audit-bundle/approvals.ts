import {
  type AnyApproval,
  type Approver,
  type ApproverKey,
  type Approvers,
  parseAnyApproval,
  parseApprovers,
  verifyPersonSignature,
} from '../approval/index.ts';
import { toBase64 } from '../crypto/index.ts';
import { parseTimestamp, sha256Hex, toTimestamp } from '../encoding/index.ts';
import { isCscError, quoteBriefly } from '../errors/index.ts';
import type { ChainEntry } from '../evidence/index.ts';
import { parseIdentity } from '../identity/index.ts';
import type { Revocation } from '../owners/index.ts';
import type { ReceiptV02 } from '../receipt/index.ts';
import { findOwnersFiles } from './manifest.ts';

type Used = ReceiptV02['approvals'][number];
type Signed = Exclude<AnyApproval, { kind: 'unsigned' }>;

/** What is known of an approval that a receipt brings whole. */
export type ApprovalStanding =
  /** A key that an approvers.yaml here names for the person has signed it, for just this run. */
  | { readonly kind: 'signed' }
  /** It is for this run; no approvers.yaml here names its key, or that had ended. */
  | { readonly kind: 'unknown' }
  | { readonly kind: 'fault'; readonly why: string };

/** Who may have approved a run. */
export interface Electorate {
  /** Each version of the file that counts: where it is not known which one was that of then, all of them. */
  readonly approvers: readonly Approvers[];
  /** Whether the owners have signed it, for just this run: whoever is not in it cannot have approved. */
  readonly isSigned: boolean;
  /** Since when what this person signed with this key counts no more; undefined: it counts. */
  revokedSince(person: Approver, key: ApproverKey): Date | undefined;
}

/**
 * In time by the number of keys and revocations, whoever has written them: a bundle's own may be anybody's.
 * @param revoked in any order; of two that are about the same, the earlier since counts
 */
export function toElectorate(approvers: readonly Approvers[], revoked: readonly Revocation[]): Electorate {
  const since = new Map<string, Date>();
  for (const entry of revoked) {
    const [name, at] = [`${entry.kind} ${entry.id}`, parseTimestamp(entry.since) ?? new Date(0)];
    if (at < (since.get(name) ?? latest)) since.set(name, at);
  }
  const files = [...new Set(approvers)];
  // All that a key is called: who revokes one of its names means the key.
  const names = new Map<string, Set<string>>();
  for (const { keyId, publicKey } of files.flatMap((it) => it.all()).flatMap(({ keys }) => keys)) {
    const text = toBase64(publicKey);
    names.set(text, (names.get(text) ?? new Set([text])).add(keyId));
  }
  return {
    approvers: files,
    isSigned: false,
    revokedSince: ({ identity, also }, { publicKey }) => {
      const keys = [...(names.get(toBase64(publicKey)) ?? [])].map((it) => `key ${it}`);
      const people = [identity, ...also].map((it) => `principal ${it}`);
      const found = [...keys, ...people].map((it) => since.get(it)).filter((it) => it !== undefined);
      return found.sort((one, other) => one.getTime() - other.getTime())[0];
    },
  };
}

const latest = new Date(8.64e15);

/** Holds an approval against the receipt that brings it, and against approvers.yaml; undefined where nobody has signed it. */
export function judgeUsedApproval(
  used: Used,
  { receipt, owner }: Pick<ChainEntry, 'receipt' | 'owner'>,
  electorate: Electorate,
): ApprovalStanding | undefined {
  if (used.artifact === undefined) return undefined;
  const bytes = Buffer.from(used.artifact);
  const parsed = parseAnyApproval(bytes);
  if (!parsed.ok || parsed.value.kind === 'unsigned') return fault('what the person signed cannot be read');
  if (sha256Hex(bytes) !== used.sha256?.toLowerCase())
    return fault('what the person signed has another hash');
  const differing = findDifference(parsed.value, used, receipt, parseIdentity(owner ?? '')?.trustDomain);
  if (differing !== undefined) return fault(`what the person signed is for another ${differing}`);
  return judgeSignature(parsed.value.artifact, new Date(receipt.started_at), electorate);
}

/** Each approvers.yaml of the repository in a bundle, every version that is kept. */
export function findApprovers(
  files: ReadonlyMap<string, Uint8Array>,
  onFault: (file: string, why: string) => void,
): Approvers[] {
  return findOwnersFiles(files, 'approvers.yaml').flatMap(([file, bytes]) => {
    const parsed = parseApprovers(bytes);
    if (parsed.ok) return [parsed.value];
    const [first] = parsed.faults;
    onFault(file, `${first?.path ?? ''} ${first?.message ?? ''}`.trim());
    return [];
  });
}

const fault = (why: string): ApprovalStanding => ({ kind: 'fault', why });

function findDifference(
  { kind, id, artifact }: Signed,
  used: Used,
  receipt: ReceiptV02,
  trustDomain: string | undefined,
): string | undefined {
  const { trust_domain: domain, executor_id: host } = artifact.audience;
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
    ['trust domain', domain, trustDomain ?? domain],
    ['executor', host, host === undefined ? undefined : receipt.executor_id],
  ];
  return pairs.find(([, signed, said]) => signed !== said)?.[0];
}

function judgeSignature(
  artifact: Signed['artifact'],
  usedAt: Date,
  electorate: Electorate,
): ApprovalStanding {
  const { identity } = artifact.approver;
  const named = `the key ${quoteBriefly(artifact.signature.key_id)} of ${quoteBriefly(identity)}`;
  let misfit: string | undefined;
  for (const file of electorate.approvers) {
    const person = file.find(identity);
    const key = person?.keys.find((it) => it.keyId === artifact.signature.key_id);
    if (person === undefined || key === undefined || !person.groups.includes(artifact.group)) continue;
    const since = electorate.revokedSince(person, key);
    // What was counted before stays evidence of its time.
    if (since !== undefined && since <= usedAt)
      return fault(`${named} was revoked at ${toTimestamp(since)}, before the run began`);
    try {
      verifyPersonSignature(artifact, key, new Date(artifact.approved_at));
      return { kind: 'signed' };
    } catch (error) {
      if (!isCscError(error)) throw error;
      misfit ??= error.code === 'SIGNATURE_INVALID' || electorate.isSigned ? error.message : undefined;
    }
  }
  if (misfit !== undefined) return fault(misfit);
  if (!electorate.isSigned) return { kind: 'unknown' };
  return fault(
    `no approvers.yaml that the owners have signed for this run names ${named} for the group ${quoteBriefly(artifact.group)}`,
  );
}
