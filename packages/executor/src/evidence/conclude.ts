import { setTimeout as sleep } from 'node:timers/promises';
import type { Signer } from '@csc-fleet/common/crypto';
import type { Clock } from '@csc-fleet/common/encoding';
import { isCscError } from '@csc-fleet/common/errors';
import { sealChained } from '@csc-fleet/common/evidence';
import type { StreamDigest } from '@csc-fleet/common/output-log';
import type { Log } from '@csc-fleet/common/service';
import type { FinishedExecution, Journal, Seal } from '../journal/index.ts';
import { type LogContent, type OutputSpool, type SpoolDirectory, terminalStreams } from '../output/index.ts';
import { buildReceipt, type RunResult } from './build-receipt.ts';
import { type MeasuredRun, measureEffects } from './effects.ts';

/** An execution whose commands are done. */
export interface Concluded extends MeasuredRun {
  readonly spool: OutputSpool;
}

/** What evidence is made and kept with. */
export interface ConcludePorts {
  readonly journal: Pick<Journal, 'finish'>;
  readonly spools: Pick<SpoolDirectory, 'settle' | 'isDiskFull'>;
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
  const [effects, left] = await Promise.all([measured, spool.end()]);
  spools.settle(spool);
  const totals = { stdout: spool.total('stdout'), stderr: spool.total('stderr') };
  const { outcomes, profileIds, sandbox } = record;
  const captured = { outcomes, profileIds, sandbox, totals, endedAt, effects };
  // It vouches for nothing that the next power cut may take.
  const result = left === undefined ? captured : withOutputOf(captured, left);
  const version = subject.ticket.grant.receipt_version;
  const executionId = subject.ticket.execution_id;
  const seal =
    (kept: RunResult): Seal =>
    (link) => ({
      ...sealChained(
        buildReceipt(subject, kept),
        { version, signer, now: clock.now(), attest: subject.attest },
        link,
      ),
      outputLogLength: spool.length,
    });
  return journalReceipt({ executionId, result, spool, seal }, ports);
}

interface Journalled {
  readonly executionId: string;
  readonly result: RunResult;
  readonly spool: OutputSpool;
  seal(kept: RunResult): Seal;
}

const pauseMs = 1000;

// The room that was set aside for it may be gone, by another's hand. Its own output is what it can give then; and a full
// disk empties again, until when the slot stays taken and the gate waits.
async function journalReceipt(
  { executionId, result, spool, seal }: Journalled,
  { journal, spools, log }: ConcludePorts,
): Promise<FinishedExecution> {
  for (let kept = result; ; ) {
    try {
      return await journal.finish(executionId, seal(kept));
    } catch (error) {
      if (!isCscError(error, 'STORE_UNAVAILABLE')) throw error;
      if (spool.length > 0 && spools.isDiskFull) {
        log.error({ executionId, error }, 'the disk is full: output is cut off for its receipt to have room');
        kept = withOutputOf(kept, await spool.shorten());
        spools.settle(spool);
      } else {
        log.error({ executionId, error }, 'the receipt could not be journalled; trying again');
        await sleep(pauseMs);
      }
    }
  }
}

function withOutputOf(result: RunResult, log: LogContent): RunResult {
  const shortened = (before: StreamDigest, now: StreamDigest): StreamDigest => ({
    ...now,
    truncated: before.truncated || now.length < before.length,
  });
  const both = (before: RunResult['totals'], commandId?: string): RunResult['totals'] => ({
    stdout: shortened(before.stdout, log.digest('stdout', commandId)),
    stderr: shortened(before.stderr, log.digest('stderr', commandId)),
    ...Object.fromEntries(
      terminalStreams.flatMap((stream) => {
        const own = before[stream];
        return own === undefined ? [] : [[stream, shortened(own, log.digest(stream, commandId))]];
      }),
    ),
  });
  return {
    ...result,
    totals: both(result.totals),
    outcomes: result.outcomes.map((it) => ({ ...it, output: both(it.output, it.commandId) })),
  };
}
