import * as z from 'zod';
import {
  boundedText,
  count,
  nonEmptyText,
  oneOf,
  reportedPath,
  sha256Member,
  signatureMember,
  taggedSha256Member,
  timestamp,
  uniqueList,
  versionMember,
} from '../schema/index.ts';

const artifact = z.strictObject({ path: reportedPath, sha256: sha256Member });

/** What it did to the world, as v0.1 counts it. */
export const effectSummary = z.strictObject({
  files_written: count.exactOptional(),
  network_used: z.boolean().exactOptional(),
  secrets_used: count.exactOptional(),
});

const truncated = z.boolean().meta({ description: 'True: the hash is of the captured prefix only.' });

/** Code points of a receipt's `error`. */
export const maxReceiptError = 4000;

/** The members of protocol §7 without the version, in both versions of the receipt. */
export const commonMembers = {
  contract_id: nonEmptyText,
  execution_id: nonEmptyText,
  contract_sha256: sha256Member,
  status: oneOf(['success', 'failed', 'blocked', 'expired']),
  started_at: timestamp,
  ended_at: timestamp,
  policy_profile: nonEmptyText,
  exit_code: z.int().exactOptional(),
  stdout_hash: taggedSha256Member.exactOptional(),
  stderr_hash: taggedSha256Member.exactOptional(),
  stdout_truncated: truncated.exactOptional(),
  stderr_truncated: truncated.exactOptional(),
  artifacts: z.array(artifact).exactOptional(),
  policy_schema_version: nonEmptyText.exactOptional(),
  policy_sha256: sha256Member.exactOptional(),
  runner_version: nonEmptyText.exactOptional(),
  execution_mode: oneOf(['local', 'hardened']).exactOptional(),
  sandbox_profile_id: nonEmptyText.exactOptional(),
  signing_key_id: nonEmptyText.exactOptional(),
  effect_summary: effectSummary.exactOptional(),
  completed_command_ids: uniqueList(nonEmptyText, 0).exactOptional(),
  failed_command_id: z.string().nullable().exactOptional(),
  error: boundedText({ min: 0, max: maxReceiptError }).exactOptional(),
  signature: signatureMember.exactOptional(),
};

/** What a receipt of something that ran must also have, as JSON Schema. */
export const ranRule = {
  if: { properties: { status: { enum: ['success', 'failed'] } }, required: ['status'] },
  // biome-ignore lint/suspicious/noThenProperty: a keyword of JSON Schema
  then: { required: ['exit_code', 'stdout_hash', 'stderr_hash'] },
};

const resultMembers = ['exit_code', 'stdout_hash', 'stderr_hash'] as const;

/** The same for the parser. Runs beside the members' own faults; the value may be anything. */
export function refineRan(receipt: unknown, context: z.core.$RefinementCtx): void {
  if (typeof receipt !== 'object' || receipt === null || !('status' in receipt)) return;
  const { status } = receipt;
  if (status !== 'success' && status !== 'failed') return;
  for (const member of resultMembers.filter((it) => !(it in receipt))) {
    context.addIssue({
      code: 'custom',
      path: [member],
      message: `is required where the status is ${status}`,
    });
  }
}

/** The rules of an ExecutionReceipt v0.1 (protocol §7). */
export const receiptV01Schema = z
  .strictObject({ receipt_version: versionMember('receipt', 'csc.receipt.v0.1'), ...commonMembers })
  .superRefine(refineRan, { when: () => true })
  .meta({ title: 'CSC ExecutionReceipt v0.1', description: 'What really happened.', ...ranRule });
