import type { Clock } from '@csc-fleet/common/encoding';
import type { ProveOwnReceiptsRequest, ProveOwnReceiptsResponse } from '@csc-fleet/common/messages';
import { type LogTrust, maxNoteBytes, openCheckpoint } from '@csc-fleet/common/tlog';
import type { UnprovenReceipt } from '../journal/index.ts';
import { judgeAnswer } from './judge.ts';

/** Asks the gate for proofs. Undefined: it is of a release that knows no such call. Rejects where it does not answer. */
export type AskProofs = (request: ProveOwnReceiptsRequest) => Promise<ProveOwnReceiptsResponse | undefined>;

/** What asking for receipts has come to. */
export interface Answered {
  /** The newest checkpoint that adds to what was met, a signed note. Absent: none was shown. */
  readonly checkpoint?: string;
  /** Executions whose receipts are in it. */
  readonly proven: ReadonlySet<string>;
  /** All that were asked for. */
  readonly asked: readonly string[];
  /** Why no more is proven, for people. Absent: nothing stood in the way. */
  readonly trouble?: string;
  readonly isOlder?: true;
  /** What it threw, and the checkpoints that it is about. */
  readonly failed?: { readonly error: unknown; readonly seen: string; readonly shown: string };
}

const atOnce = 64;

/**
 * Asks for these receipts, so many at once, until the first answer that proves nothing. Never rejects.
 * @param met the newest checkpoint that was met of the log, a signed note. Absent: none was
 */
export async function askFor(
  ask: AskProofs,
  trust: LogTrust,
  met: string | undefined,
  due: readonly UnprovenReceipt[],
  clock: Clock,
): Promise<Answered> {
  const proven = new Set<string>();
  const asked: string[] = [];
  let checkpoint: string | undefined;
  let shown = '';
  const answered = (): Answered => ({ proven, asked, ...(checkpoint === undefined ? {} : { checkpoint }) });
  try {
    for (let at = 0; at < due.length; at += atOnce) {
      const some = due.slice(at, at + atOnce);
      const before = checkpoint ?? met;
      const executionIds = some.map(({ executionId }) => executionId);
      const request = { executionIds, oldSize: sizeOf(before, trust), witnesses: trust.quorum ?? 0 };
      const answer = await ask(request);
      if (answer === undefined) return { ...answered(), isOlder: true };
      asked.push(...executionIds);
      shown = answer.checkpoint.length > maxNoteBytes ? '' : answer.checkpoint.toString();
      const judged = judgeAnswer({ trust, before, now: clock.now() }, some, answer);
      checkpoint = judged.checkpoint ?? checkpoint;
      for (const id of judged.proven) proven.add(id);
      if (judged.trouble !== undefined) return { ...answered(), trouble: judged.trouble };
    }
    return answered();
  } catch (error) {
    return { ...answered(), failed: { error, seen: checkpoint ?? met ?? '', shown } };
  }
}

function sizeOf(note: string | undefined, { log }: LogTrust): number {
  return note === undefined ? 0 : openCheckpoint(Buffer.from(note), { log }).checkpoint.size;
}
