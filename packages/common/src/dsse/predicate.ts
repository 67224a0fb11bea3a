import * as z from 'zod';
import type { EncodableObject } from '../encoding/index.ts';
import { type ReceiptV02, receiptV02Schema } from '../receipt/index.ts';
import { integer, nonEmptyText, sha256Member, taggedSha256Member, timestamp } from '../schema/index.ts';

/** The type of the project's own predicate: what its members mean never changes under this name. */
export const executionPredicate = 'urn:csc:predicate:execution:v0.1';

const { status, ended, exit_code, failed_command_id, completed_command_ids, error } = receiptV02Schema.shape;
const { commands, sandbox, approvals, artifacts, artifacts_left_out, effect_summary, warnings } =
  receiptV02Schema.shape;
const { sealed, execution_mode, sandbox_profile_id, executor_epoch } = receiptV02Schema.shape;

const output = z
  .strictObject({ hash: taggedSha256Member, truncated: z.boolean().exactOptional() })
  .meta({ id: 'Output', description: 'Of the whole run. Truncated: the hash is of what was kept.' });

/** The predicate of an execution, of which the statement's subjects are what came of it. */
export const executionPredicateSchema = z
  .strictObject({
    execution_id: nonEmptyText,
    ticket_id: nonEmptyText.exactOptional(),
    contract: z.strictObject({ id: nonEmptyText, sha256: sha256Member }),
    principal: nonEmptyText.exactOptional().meta({ description: 'Who it was run for.' }),
    submission_sha256: sha256Member
      .exactOptional()
      .meta({ description: 'Of what the principal signed; absent: nobody had.' }),
    policy: z.strictObject({
      profile: nonEmptyText,
      sha256: sha256Member.exactOptional(),
      version: integer({ min: 1 }).exactOptional().meta({ description: 'Of the owners’ policy repository.' }),
    }),
    approvals,
    executor: z.strictObject({
      id: nonEmptyText.exactOptional(),
      software: nonEmptyText.exactOptional(),
      execution_mode,
      sandbox_profile_id,
    }),
    chain: z
      .strictObject({
        epoch: executor_epoch,
        sequence: integer({ min: 1 }).exactOptional(),
        previous_receipt_sha256: sha256Member.exactOptional(),
      })
      .meta({ description: 'Where its receipt stands in the executor’s chain.' }),
    started_at: timestamp,
    ended_at: timestamp,
    outcome: z.strictObject({
      status,
      ended,
      exit_code,
      completed_command_ids,
      failed_command_id,
      error,
    }),
    commands,
    stdout: output.exactOptional(),
    stderr: output.exactOptional(),
    sealed,
    artifacts,
    artifacts_left_out,
    effects: effect_summary,
    sandbox,
    warnings,
  })
  .meta({
    title: 'CSC execution predicate v0.1',
    description: `What an executor attests of a run, as in-toto predicate ${executionPredicate}: what its receipt says.`,
  });

export type ExecutionPredicate = z.infer<typeof executionPredicateSchema>;

/**
 * What a receipt says, as this predicate says it, to be written as canonical JSON, which has no members that are undefined or
 * null: the same receipt gives the same bytes, always.
 */
export function toExecutionPredicate(receipt: ReceiptV02): EncodableObject {
  return {
    execution_id: receipt.execution_id,
    ticket_id: receipt.ticket_id,
    contract: { id: receipt.contract_id, sha256: receipt.contract_sha256 },
    principal: receipt.principal,
    submission_sha256: receipt.submission_sha256,
    policy: {
      profile: receipt.policy_profile,
      sha256: receipt.policy_sha256,
      version: receipt.policy_version,
    },
    approvals: receipt.approvals,
    executor: {
      id: receipt.executor_id,
      software: receipt.runner_version,
      execution_mode: receipt.execution_mode,
      sandbox_profile_id: receipt.sandbox_profile_id,
    },
    chain: {
      epoch: receipt.executor_epoch,
      sequence: receipt.sequence,
      previous_receipt_sha256: receipt.previous_receipt_sha256,
    },
    started_at: receipt.started_at,
    ended_at: receipt.ended_at,
    outcome: {
      status: receipt.status,
      ended: receipt.ended,
      exit_code: receipt.exit_code,
      completed_command_ids: receipt.completed_command_ids,
      failed_command_id: receipt.failed_command_id,
      error: receipt.error,
    },
    commands: receipt.commands,
    stdout: outputOf(receipt.stdout_hash, receipt.stdout_truncated),
    stderr: outputOf(receipt.stderr_hash, receipt.stderr_truncated),
    sealed: receipt.sealed,
    artifacts: receipt.artifacts,
    artifacts_left_out: receipt.artifacts_left_out,
    effects: receipt.effect_summary,
    sandbox: receipt.sandbox,
    warnings: receipt.warnings,
  };
}

function outputOf(hash: string | undefined, truncated: boolean | undefined): EncodableObject | undefined {
  return hash === undefined ? undefined : { hash, truncated };
}
