import type { CommandContract } from '@csc-fleet/common/contract';
import { type LeftOutReason, maxLeftOut, type ReceiptV02 } from '@csc-fleet/common/receipt';
import { type EgressSummary, mergeSummaries } from '../egress/index.ts';
import type { HashAnswer } from './artifact-hash.ts';
import type { ReceiptSubject, RunResult } from './build-receipt.ts';
import { type CommandOutcome, writtenSoFar } from './command-outcome.ts';
import type { FoundOutputs } from './measurer.ts';
import type { RunRecord } from './run-record.ts';

type Effects = NonNullable<RunResult['effects']>;

/** A run of which a receipt is to say what it did. */
export interface MeasuredRun {
  readonly subject: ReceiptSubject;
  readonly record: RunRecord;
  /** How many it was given. */
  readonly secretsUsed: number;
  /** Aborted where it was cancelled: what is not hashed by then is left out. */
  readonly signal: AbortSignal;
}

/** Hashes what was expected and sums up what was done. Cancelling ends the hashing. */
export async function measureEffects({
  subject,
  record,
  secretsUsed,
  signal,
}: MeasuredRun): Promise<Effects> {
  const { contract, executionMode } = subject;
  const { writableRoots: roots, outcomes, measurer, limits } = record;
  const { artifact_bytes: maxBytes, artifact_sec: seconds } = limits;
  const until = performance.now() + seconds * 1000;
  const left = (): number => Math.max(0, until - performance.now());
  const declared = [...new Set(contract.expected_outputs)];
  const found = await measurer.find(declared, { roots, ms: left() }, signal);
  const paths = [...new Set(found.flatMap((it) => it.paths))];
  const answers = await measurer.hash({ paths, roots, maxBytes, ms: left() }, signal);
  const written = writtenSoFar(outcomes);
  return {
    ...describeArtifacts(paths, answers, found),
    effect_summary: {
      files_written: written.files,
      bytes_written: written.bytes,
      inodes_written: written.inodes,
      ...(written.complete ? {} : { written_in_part: true }),
      ...(executionMode === 'hardened' ? summariseNetwork(contract, outcomes) : {}),
      secrets_used: secretsUsed,
    },
  };
}

// Beside all else that a receipt holds, well below what it may be (maxReceiptBytes).
const mostBytes = 2 * 1_048_576;
// Of an entry, beside its path.
const entryBytes = 100;

/**
 * What a receipt says of expected outputs: the hashes, and of what is left out the reason, by name as far as there is room.
 * Pure.
 * @param answers in the order of the paths
 * @param found what they come from
 */
function describeArtifacts(
  paths: readonly string[],
  answers: readonly HashAnswer[],
  found: readonly FoundOutputs[],
): Pick<ReceiptV02, 'artifacts' | 'artifacts_left_out'> {
  const artifacts: NonNullable<ReceiptV02['artifacts']> = [];
  const leftOut: { path: string; reason: LeftOutReason }[] = found.flatMap(
    ({ declared: path, cut: reason }) => (reason === undefined ? [] : [{ path, reason }]),
  );
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

type NetworkEffects = Pick<NonNullable<ReceiptV02['effect_summary']>, 'network_used' | 'egress'>;

/** What a receipt says of the network: whether it was used, and where what was asked of the proxy would have led. */
function summariseNetwork(
  { commands }: CommandContract,
  outcomes: readonly CommandOutcome[],
): NetworkEffects {
  const summaries = outcomes.flatMap(({ egress }): EgressSummary[] => (egress === undefined ? [] : [egress]));
  // With the host's own network nobody counts: what was started may have used it.
  const hadAll = outcomes.some(
    ({ commandId, startedAt }) =>
      startedAt !== undefined && commands.find(({ id }) => id === commandId)?.network === 'full',
  );
  if (summaries.length === 0) return { network_used: hadAll };
  const egress = mergeSummaries(summaries);
  // One whose proxy ended may have used it without anybody having been told.
  const isSure = !egress.hosts.some(({ reason }) => reason === 'proxy_lost');
  return { network_used: hadAll || egress.allowed > 0 || !isSure, egress };
}
