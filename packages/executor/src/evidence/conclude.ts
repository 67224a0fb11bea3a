import { setTimeout as sleep } from 'node:timers/promises';
import type { Signer } from '@csc-fleet/common/crypto';
import type { Clock } from '@csc-fleet/common/encoding';
import { isCscError } from '@csc-fleet/common/errors';
import { sealChained } from '@csc-fleet/common/evidence';
import type { Log } from '@csc-fleet/common/service';
import type { FinishedExecution, Journal, Seal } from '../journal/index.ts';
import type { OutputSpool, SpoolDirectory } from '../output/index.ts';
import { buildReceipt } from './build-receipt.ts';
import { type MeasuredRun, measureEffects } from './effects.ts';

/** An execution whose commands are done. */
export interface Concluded extends MeasuredRun {
  readonly spool: OutputSpool;
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
  return journalReceipt(subject.ticket.execution_id, ports, (link) => ({
    ...sealChained(receipt, { version, signer, now: clock.now() }, link),
    outputLogLength: spool.length,
  }));
}

const pauseMs = 1000;

// A full disk empties again; until then the slot stays taken and the gate waits.
async function journalReceipt(
  executionId: string,
  { journal, log }: ConcludePorts,
  seal: Seal,
): Promise<FinishedExecution> {
  for (;;) {
    try {
      return await journal.finish(executionId, seal);
    } catch (error) {
      if (!isCscError(error, 'STORE_UNAVAILABLE')) throw error;
      log.error({ executionId, error }, 'the receipt could not be journalled; trying again');
      await sleep(pauseMs);
    }
  }
}
