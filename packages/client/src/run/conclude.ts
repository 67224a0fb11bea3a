import { CscError, type Refusal } from '@csc-fleet/common/errors';
import type { ExpectedReceipt } from '@csc-fleet/common/evidence';
import type { ExecutionReceipt } from '@csc-fleet/common/receipt';
import { type Decision, type Execution, GateService } from '@csc-fleet/common/rpc';
import type { Connection } from '../connection/connection.ts';
import { concludeFrom, concludeWithout } from '../verify/conclusion.ts';
import type { KeySource } from '../verify/keys.ts';
import type { LogDemand, ProofWanted } from '../verify/log.ts';
import { type ExecutionResolution, type OwnersTrust, readResolution } from '../verify/resolution.ts';
import { verifyFromSource } from '../verify/verify-receipt.ts';
import type { Receiver } from './receiver.ts';

/** How an execution ended by its receipt, or that it waits for an approval. */
export interface RunResult {
  /** As the gate names it; the receipt is of this one. */
  readonly executionId: string;
  /** State, times, executor and error are the receipt's; the gate has no say in them. */
  readonly execution: Execution;
  /** As the gate says it. */
  readonly decision: Decision | undefined;
  /** Until when it can be agreed to, and be started. Absent: it was followed only, or the gate did not say. */
  readonly waitsUntil?: Date | undefined;
  /** Verified. Undefined while an approval is awaited, and where the executor was lost. */
  readonly receipt: ExecutionReceipt | undefined;
  /** The receipt as it was signed; empty where there is none. */
  readonly receiptJson: Buffer;
  /** Where that is v0.1: the v0.2 receipt that it is a projection of, verified; empty where there is none. */
  readonly originalJson: Buffer;
  /** What a process that stands for this run may end with, 0 after a success only: see `Conclusion.exitCode`. */
  readonly exitCode: number;
  /** Why nothing was let run although the policy allows it: see `Conclusion.refusal`. */
  readonly refusal: Refusal | undefined;
  /** What the gate said of the end, where the receipt says otherwise: show it, and do not trust that gate. */
  readonly contradiction: string | undefined;
  /**
   * Where the executor was lost and does not come back: the owners' word that nobody waits for it any more. It says nothing of
   * what ran. Undefined: they have said nothing.
   */
  readonly resolution: ExecutionResolution | undefined;
}

/** What a result is verified by. */
export interface Verifying {
  readonly connection: Connection;
  readonly keys: KeySource;
  /** Absent: resolutions are not verified, and say so. */
  readonly owners?: OwnersTrust | undefined;
  /** Absent: no log is demanded. */
  readonly log?: LogDemand | undefined;
}

const noReceipt = { receiptJson: Buffer.alloc(0), originalJson: Buffer.alloc(0), resolutionsJson: [] };

/** The result of what was followed to its end, by its receipt alone. Rejects with what is wrong with that, or RECEIPT_MISSING. */
export async function conclude(
  { connection, keys, owners, log }: Verifying,
  receiver: Receiver,
  expected: ExpectedReceipt,
  proofWanted?: ProofWanted,
): Promise<RunResult> {
  const finished = receiver.finished();
  const executionId = receiver.executionId() ?? '';
  const told = finished?.execution ?? (await fetchExecution(connection, executionId));
  const { receiptJson, originalJson, resolutionsJson } = finished ?? noReceipt;
  const common = { executionId, decision: receiver.decision(), receiptJson, originalJson };
  if (receiptJson.length === 0) {
    const { contractSha256 = told.contractSha256, endedAfter: askedAt } = expected;
    // The gate chooses what it calls an execution: another one's resolution must not do for it.
    const resolution = readResolution(resolutionsJson, owners, { executionId, contractSha256, askedAt });
    return { ...common, receipt: undefined, resolution, ...concludeWithout(told, resolution) };
  }
  const verified = await verifyFromSource(common, keys, { ...expected, executionId });
  receiver.outputCheck.verify(verified.receipt);
  const brought = proofWanted === undefined ? undefined : { wanted: proofWanted, answer: receiver.proof() };
  await (await log?.())?.check(connection, common, brought);
  const { receipt } = verified;
  return { ...common, receipt, resolution: undefined, ...concludeFrom(told, verified) };
}

async function fetchExecution(connection: Connection, executionId: string): Promise<Execution> {
  const { execution } = await connection.unary(GateService.getExecution, { executionId });
  if (execution === undefined)
    throw new CscError('EXECUTION_UNKNOWN', `there is no execution ${executionId}`);
  return execution;
}

/**
 * Throws RECEIPT_INVALID where output was to be sealed and the receipt does not say that it was, to this key: its host has
 * verified what was signed.
 * @param sealTo undefined: it need not be
 */
export function checkSealed(receipt: ExecutionReceipt | undefined, sealTo: Uint8Array | undefined): void {
  if (sealTo === undefined || (receipt?.status !== 'success' && receipt?.status !== 'failed')) return;
  const said = receipt.receipt_version === 'csc.receipt.v0.2' ? receipt.sealed?.public_key : undefined;
  if (said === Buffer.from(sealTo).toString('base64')) return;
  throw new CscError(
    'RECEIPT_INVALID',
    'the output was to be sealed, and the receipt says that it was not, or to another key: whoever relayed it can have read it',
  );
}
