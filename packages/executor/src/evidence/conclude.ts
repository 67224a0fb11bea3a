import { setTimeout as sleep } from 'node:timers/promises';
import { isCscError } from '@csc-fleet/common/errors';
import { sealReceipt } from '@csc-fleet/common/evidence';
import type { ReceiptV02 } from '@csc-fleet/common/receipt';
import type { FinishedExecution, SealedReceipt } from '../journal/index.ts';
import { type Execution, writtenSoFar } from '../run/execution.ts';
import type { Host } from '../run/host.ts';
import { buildReceipt, describeArtifacts, type RunResult } from './index.ts';
import { summariseNetwork } from './summarise-network.ts';

type Effects = NonNullable<RunResult['effects']>;

/** The receipt of an execution whose commands are done: measured, signed, chained, journalled. */
export async function conclude(execution: Execution, host: Host): Promise<FinishedExecution> {
  const { run, subject, spool, trace } = execution;
  const endedAt = host.clock.now();
  const measured = measureEffects(execution).finally(() => trace.measurer.close());
  const [effects] = await Promise.all([measured, spool.end()]);
  host.spools.settle(spool);
  const totals = { stdout: spool.total('stdout'), stderr: spool.total('stderr') };
  const receipt = buildReceipt(subject, { ...trace, totals, endedAt, effects });
  return journalReceipt(run.executionId, host, (previousSha256) => ({
    ...seal(receipt, execution, host, previousSha256),
    outputLogLength: spool.length,
  }));
}

function seal(
  receipt: ReceiptV02,
  { subject }: Execution,
  { signer, clock }: Host,
  previousSha256: string | undefined,
): Omit<SealedReceipt, 'outputLogLength'> {
  const version = subject.ticket.grant.receipt_version;
  return sealReceipt(receipt, { version, signer, now: clock.now(), previousSha256 });
}

const pauseMs = 1000;

// A full disk empties again; until then the slot stays taken and the gate waits.
async function journalReceipt(
  executionId: string,
  { journal, log }: Host,
  sealWith: (previousSha256: string | undefined) => SealedReceipt,
): Promise<FinishedExecution> {
  for (;;) {
    try {
      return await journal.finish(executionId, sealWith);
    } catch (error) {
      if (!isCscError(error, 'STORE_UNAVAILABLE')) throw error;
      log.error({ executionId, error }, 'the receipt could not be journalled; trying again');
      await sleep(pauseMs);
    }
  }
}

// Cancelling ends it.
async function measureEffects({ run, subject, trace, granted }: Execution): Promise<Effects> {
  const { contract, executionMode } = subject;
  const { writableRoots: roots, outcomes, measurer, limits } = trace;
  const paths = [...new Set(contract.expected_outputs)];
  const { artifact_bytes: maxBytes, artifact_sec: seconds } = limits;
  const answers = await measurer.hash({ paths, roots, maxBytes, ms: seconds * 1000 }, run.signal);
  const written = writtenSoFar(outcomes);
  return {
    ...describeArtifacts(paths, answers),
    effect_summary: {
      files_written: written.files,
      bytes_written: written.bytes,
      inodes_written: written.inodes,
      ...(written.complete ? {} : { written_in_part: true }),
      ...(executionMode === 'hardened' ? summariseNetwork(contract, outcomes) : {}),
      secrets_used: granted.secrets.values.size,
    },
  };
}
