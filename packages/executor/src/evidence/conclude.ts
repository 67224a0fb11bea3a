import { setTimeout as sleep } from 'node:timers/promises';
import type { Signer } from '@csc-fleet/common/crypto';
import type { Clock } from '@csc-fleet/common/encoding';
import { isCscError } from '@csc-fleet/common/errors';
import { sealReceipt } from '@csc-fleet/common/evidence';
import type { Log } from '@csc-fleet/common/service';
import type { FinishedExecution, Journal, SealedReceipt } from '../journal/index.ts';
import type { OutputSpool, SpoolDirectory } from '../output/index.ts';
import { buildReceipt, type ReceiptSubject, type RunResult } from './build-receipt.ts';
import { writtenSoFar } from './command-outcome.ts';
import { describeArtifacts } from './describe-artifacts.ts';
import type { RunRecord } from './run-record.ts';
import { summariseNetwork } from './summarise-network.ts';

type Effects = NonNullable<RunResult['effects']>;

/** An execution whose commands are done. */
export interface Concluded {
  readonly subject: ReceiptSubject;
  readonly record: RunRecord;
  readonly spool: OutputSpool;
  /** How many it was given. */
  readonly secretsUsed: number;
  /** Aborted where it was cancelled: what is not hashed by then is left out. */
  readonly signal: AbortSignal;
}

/** What evidence is made and kept with. */
export interface ConcludePorts {
  readonly journal: Pick<Journal, 'finish'>;
  readonly spools: Pick<SpoolDirectory, 'settle'>;
  readonly signer: Signer;
  readonly clock: Clock;
  readonly log: Log;
}

/** The receipt of an execution: measured, signed, chained, journalled. */
export async function conclude(concluded: Concluded, ports: ConcludePorts): Promise<FinishedExecution> {
  const { subject, spool, record } = concluded;
  const { spools, signer, clock } = ports;
  const endedAt = clock.now();
  const measured = measureEffects(concluded).finally(() => record.measurer.close());
  const [effects] = await Promise.all([measured, spool.end()]);
  spools.settle(spool);
  const totals = { stdout: spool.total('stdout'), stderr: spool.total('stderr') };
  const { outcomes, profileIds, sandbox } = record;
  const receipt = buildReceipt(subject, { outcomes, profileIds, sandbox, totals, endedAt, effects });
  const version = subject.ticket.grant.receipt_version;
  return journalReceipt(subject.ticket.execution_id, ports, (previousSha256) => ({
    ...sealReceipt(receipt, { version, signer, now: clock.now(), previousSha256 }),
    outputLogLength: spool.length,
  }));
}

const pauseMs = 1000;

// A full disk empties again; until then the slot stays taken and the gate waits.
async function journalReceipt(
  executionId: string,
  { journal, log }: ConcludePorts,
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
async function measureEffects({ subject, record, secretsUsed, signal }: Concluded): Promise<Effects> {
  const { contract, executionMode } = subject;
  const { writableRoots: roots, outcomes, measurer, limits } = record;
  const paths = [...new Set(contract.expected_outputs)];
  const { artifact_bytes: maxBytes, artifact_sec: seconds } = limits;
  const answers = await measurer.hash({ paths, roots, maxBytes, ms: seconds * 1000 }, signal);
  const written = writtenSoFar(outcomes);
  return {
    ...describeArtifacts(paths, answers),
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
