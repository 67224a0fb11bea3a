import { CscError, isCscError } from '@csc-fleet/common/errors';
import type { OwnReceiptProof, ProveOwnReceiptsResponse } from '@csc-fleet/common/messages';
import {
  type Checkpoint,
  cosignedLately,
  type LogTrust,
  leafHash,
  openCheckpoint,
  parseEntry,
  verifyConsistency,
  verifyInclusion,
} from '@csc-fleet/common/tlog';
import type { UnprovenReceipt } from '../journal/index.ts';

/** What a log has shown of itself and of the receipts that it was asked for. */
export interface Judged {
  /** A signed note that adds to what was met before. Absent: the gate shows no log, and has shown none. */
  readonly checkpoint?: string;
  /** Executions whose receipts it has. */
  readonly proven: ReadonlySet<string>;
  /** Why nothing is proven by it, for people. Absent: it is what the owners ask for. */
  readonly trouble?: string;
}

// More than any gate has a reason to send for 64 executions: one record each, and few came late.
const mostProofs = 256;

/**
 * Believes nothing of what a gate answers: by the key that the owners name, what was met of that log before, and this host's own
 * receipts. Throws LOG_INVALID where that contradicts it.
 * @param before the newest checkpoint that was met of this log, a signed note. Absent: none was
 * @param now by which cosignatures must be recent, where the owners demand witnesses
 */
export function judgeAnswer(
  {
    trust,
    before,
    now,
  }: { readonly trust: LogTrust; readonly before: string | undefined; readonly now: Date },
  asked: readonly UnprovenReceipt[],
  answer: ProveOwnReceiptsResponse,
): Judged {
  const { log } = trust;
  const met = before === undefined ? undefined : openCheckpoint(Buffer.from(before), { log }).checkpoint;
  if (answer.checkpoint.length === 0) {
    if (met !== undefined) throw new CscError('LOG_INVALID', `it had ${met.size} entries, and is gone`);
    return { proven: new Set(), trouble: 'the gate shows no log' };
  }
  const { checkpoint } = openCheckpoint(answer.checkpoint, { log });
  if (met !== undefined) verifyConsistency(met, checkpoint, answer.consistency);
  if (answer.proofs.length > mostProofs)
    throw new CscError('LOG_INVALID', `${answer.proofs.length} proofs are too many`);
  const shown = { checkpoint: answer.checkpoint.toString() };
  const trouble = whyUnseen(answer.checkpoint, trust, now);
  if (trouble !== undefined) return { ...shown, proven: new Set(), trouble };
  return { ...shown, proven: provenOf(asked, answer.proofs, checkpoint) };
}

// Too few witnesses make no log false: it may have what it shows to everybody.
function whyUnseen(bytes: Uint8Array, trust: LogTrust, now: Date): string | undefined {
  try {
    openCheckpoint(bytes, trust, cosignedLately(now));
    return undefined;
  } catch (error) {
    if (isCscError(error, 'LOG_MISSING')) return error.message;
    throw error;
  }
}

// What is of another receipt proves nothing, and contradicts nothing.
function provenOf(
  asked: readonly UnprovenReceipt[],
  proofs: readonly OwnReceiptProof[],
  head: Checkpoint,
): ReadonlySet<string> {
  const due = new Map(asked.map(({ executionId, receiptSha256 }) => [executionId, receiptSha256]));
  const proven = new Set<string>();
  for (const { entry, index, hashes } of proofs) {
    const parsed = parseEntry(entry);
    if (!parsed.ok || due.get(parsed.value.execution_id) !== parsed.value.receipt_sha256) continue;
    verifyInclusion(head, index, leafHash(entry), hashes);
    proven.add(parsed.value.execution_id);
  }
  return proven;
}
