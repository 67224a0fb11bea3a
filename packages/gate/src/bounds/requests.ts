import { artifactBytes } from '@csc-fleet/common/encoding';
import { ExecutionState } from '@csc-fleet/common/messages';
import * as z from 'zod';
import { bytes, commandId, duration, id, labels, line, list, stream, text, whole } from './members.ts';

const submit = z.object({
  idempotencyKey: text(256),
  selector: labels,
  policyProfile: text(256),
  approvalsJson: list(bytes(artifactBytes.approval), 16),
  options: z.object({ receiptVersion: line(64), queueTimeout: duration }).optional(),
});

const state = whole(ExecutionState.AWAITING_APPROVAL, ExecutionState.LOST);

/**
 * What every member of a request may be, by method of csc.gate.v1.Gate; the contract has rules of its own. A text is
 * counted in UTF-16 units.
 */
export const requestBounds = {
  submit,
  run: z.object({ submit: submit.optional() }),
  check: z.object({ policyProfile: text(256) }),
  watch: z.object({ executionId: id, fromSequence: whole(0) }),
  // A contract has at most 20 commands, of three streams each.
  readOutput: z.object({
    executionId: id,
    from: list(z.object({ commandId, stream, offset: whole(0) }), 60),
  }),
  cancel: z.object({ executionId: id, gracePeriod: duration }),
  getExecution: z.object({ executionId: id }),
  // More than 1000 a page are as good as 1000.
  listExecutions: z.object({ states: list(state, 20), pageSize: whole(0), pageToken: text(64) }),
  getReceipt: z.object({ executionId: id }),
  getKeys: z.object({ keyIds: list(text(200), 100) }),
} as const satisfies Record<string, z.ZodType>;
