import { toExitCode } from '@csc-fleet/client/offline';
import { createKeyRing } from '@csc-fleet/common/crypto';
import { CscError, orThrow } from '@csc-fleet/common/errors';
import { sealReceipt, verifyReceiptFor } from '@csc-fleet/common/evidence';
import { ExecutionState } from '@csc-fleet/common/messages';
import { type ExecutionReceipt, parseReceipt } from '@csc-fleet/common/receipt';
import { type LocalGate, localPrincipal as principal } from './gate.ts';
import type { LocalRun, LocalRunResult, Withheld } from './local-run.ts';

/** Nothing runs: gives a `blocked` receipt that says why. */
export async function withhold(
  { gate: { methods } }: LocalGate,
  run: LocalRun,
  withheld: Withheld,
): Promise<LocalRunResult> {
  // Handed in anew, without the approvals that do not count: as another request it must not be taken for the first.
  const request = { ...run.request, idempotencyKey: '', approvalsJson: [] };
  const submitted = await methods.submit({ principal, request });
  const { executionId, decision, state } = submitted;
  if (state === ExecutionState.AWAITING_APPROVAL) {
    await methods.cancel({ principal, request: { executionId, gracePeriod: undefined } });
  }
  const error = withheld.error?.message ?? decision?.reasons.join('; ') ?? 'blocked';
  const { receiptJson: gates } = await methods.getReceipt({ principal, request: { executionId } });
  const receiptJson = resign(gates, { execution_mode: run.mode, error }, run);
  const { execution } = await methods.getExecution({ principal, request: { executionId } });
  if (execution === undefined) throw new CscError('INTERNAL', 'the gate does not know its own execution');
  const awaits = withheld.reason === 'needs_approval';
  return {
    executionId,
    execution: { ...execution, state: ExecutionState.BLOCKED, error },
    decision,
    receipt: verify(receiptJson, executionId, run),
    receiptJson,
    exitCode: toExitCode({
      ...execution,
      state: awaits ? ExecutionState.AWAITING_APPROVAL : ExecutionState.BLOCKED,
    }),
    withheld,
  };
}

// The gate has signed it with a key that ends with this process: signed again with the key that was asked for, and
// saying what the gate cannot know.
function resign(
  receiptJson: Uint8Array,
  known: Required<Pick<ExecutionReceipt, 'execution_mode' | 'error'>>,
  { signer }: LocalRun,
): Buffer {
  const gates = orThrow(parseReceipt(receiptJson), 'RECEIPT_INVALID', 'the receipt');
  const blocked: ExecutionReceipt = { ...gates, ...known, status: 'blocked' };
  return sealReceipt(blocked, { version: blocked.receipt_version, signer, now: new Date() }).receiptJson;
}

function verify(receiptJson: Buffer, executionId: string, run: LocalRun): ExecutionReceipt {
  const { contractSha256, receiptVersion, signer } = run;
  const ring = createKeyRing([{ keyId: signer.keyId, publicKey: signer.publicKey }]);
  return verifyReceiptFor({ executionId, contractSha256, receiptVersion }, receiptJson, ring).receipt;
}
