import { type LeftOutReason, maxLeftOut, type ReceiptV02 } from '@csc-fleet/common/receipt';
import type { HashAnswer } from './artifact-hash.ts';

// Beside all else that a receipt holds, well below what it may be (maxReceiptBytes).
const mostBytes = 2 * 1_048_576;
// Of an entry, beside its path.
const entryBytes = 100;

/**
 * What a receipt says of expected outputs: the hashes, and of what is left out the reason, by name as far as there is room.
 * Pure. @param answers in the order of the paths
 */
export function describeArtifacts(
  paths: readonly string[],
  answers: readonly HashAnswer[],
): Pick<ReceiptV02, 'artifacts' | 'artifacts_left_out'> {
  const artifacts: NonNullable<ReceiptV02['artifacts']> = [];
  const leftOut: { path: string; reason: LeftOutReason }[] = [];
  let room = mostBytes;
  for (const [index, path] of paths.entries()) {
    const answer = answers[index] ?? { reason: 'artifact_sec' };
    const bytes = Buffer.byteLength(JSON.stringify(path)) + entryBytes;
    if ('reason' in answer) leftOut.push({ path, reason: answer.reason });
    else if (bytes > room) leftOut.push({ path, reason: 'receipt_bytes' });
    else {
      artifacts.push({ path, sha256: answer.sha256 });
      room -= bytes;
    }
  }
  const first = leftOut.slice(0, maxLeftOut);
  return {
    ...(artifacts.length === 0 ? {} : { artifacts }),
    ...(first.length === 0 ? {} : { artifacts_left_out: { count: leftOut.length, first } }),
  };
}
