import { parseReceipt } from '@csc-fleet/common/receipt';
import { createInstruments, createTimed, type Instruments, type Timed } from '@csc-fleet/common/telemetry';
import type { Meter } from '@opentelemetry/api';
import type { DiskReserve } from '../disk/index.ts';
import type { ExecutionLink } from '../execute.ts';
import type { FinishedExecution } from '../journal/index.ts';
import type { Deliveries } from '../link/deliver.ts';
import type { LinkedExecutor } from '../link/linked-executor.ts';
import type { Outbox } from '../link/outbox.ts';
import type { LogWatch, UntakenWatch } from '../log-watch/index.ts';
import type { SpoolDirectory } from '../output/index.ts';
import { type ExecutorStage, executorInstruments } from './instruments.ts';

type Told = Instruments<typeof executorInstruments>;

/** What an executor tells of its work while it does it. */
export interface ExecutorTelemetry {
  readonly told: Told;
  readonly timed: Timed<ExecutorStage>;
  readonly took: (stage: ExecutorStage, seconds: number) => void;
  /** A link that also counts what comes of executions. */
  counting(link: ExecutionLink): ExecutionLink;
}

export function createExecutorTelemetry(meter: Meter): ExecutorTelemetry {
  const told = createInstruments(meter, executorInstruments);
  const took = (stage: ExecutorStage, seconds: number): void =>
    told.record('csc_executor_stage_seconds', { stage }, seconds);
  return { told, took, timed: createTimed(took), counting: (link) => countingLink(link, told) };
}

function countingLink(link: ExecutionLink, told: Told): ExecutionLink {
  return {
    ...link,
    refused: (refused) => {
      const outcome = refused.receiptJson.length > 0 ? 'blocked' : 'refused';
      told.add('csc_executor_runs_total', { outcome, reason: refused.reason });
      link.refused(refused);
    },
    finished: (finished, spool) => {
      told.add('csc_executor_runs_total', endOf(finished));
      link.finished(finished, spool);
    },
  };
}

// By what was signed: where the receipt is of the older form, its original says more.
function endOf({ receiptJson, originalJson }: FinishedExecution): { outcome: string; reason: string } {
  const parsed = parseReceipt(originalJson ?? receiptJson);
  if (!parsed.ok) return { outcome: 'other', reason: 'unsaid' };
  const { status } = parsed.value;
  if (status === 'success') return { outcome: status, reason: 'none' };
  const reason = parsed.value.receipt_version === 'csc.receipt.v0.2' ? parsed.value.ended : 'unsaid';
  return { outcome: status, reason };
}

/** What an executor's instruments look at when somebody looks at them. */
export interface ExecutorFacts {
  readonly slots: number;
  readonly executor: Pick<LinkedExecutor, 'running' | 'clockAheadMs'>;
  readonly outbox: Pick<Outbox, 'isOpen' | 'timesOpened' | 'waitingBytes'>;
  readonly deliveries: Pick<Deliveries, 'owed'>;
  readonly spools: Pick<SpoolDirectory, 'takenBytes' | 'limitBytes'>;
  readonly reserve: Pick<DiskReserve, 'reservedBytes' | 'shortage'>;
  readonly wouldRefuse: () => number;
  /** Undefined: nobody looks for receipts in a log. */
  readonly logWatch: Pick<LogWatch, 'found'> | undefined;
  /** The same: nobody is asked to take receipts. */
  readonly untaken: Pick<UntakenWatch, 'count'> | undefined;
  /** By the owners' revoked.yaml. */
  readonly isRevoked: () => boolean;
}

/** Has an executor's instruments ask it. */
export function observeExecutor({ told }: Pick<ExecutorTelemetry, 'told'>, facts: ExecutorFacts): void {
  const { slots, executor, outbox, deliveries, spools, reserve, wouldRefuse, logWatch, untaken, isRevoked } =
    facts;
  told.observe('csc_executor_slots', (say) => say(slots, {}));
  told.observe('csc_executor_running', (say) => say(executor.running, {}));
  told.observe('csc_executor_link_up', (say) => say(outbox.isOpen ? 1 : 0, {}));
  told.observe('csc_executor_link_opened_total', (say) => say(outbox.timesOpened, {}));
  told.observe('csc_executor_link_waiting_bytes', (say) => say(outbox.waitingBytes, {}));
  told.observe('csc_executor_clock_skew_seconds', (say) => {
    if (executor.clockAheadMs !== undefined) say(executor.clockAheadMs / 1000, {});
  });
  told.observe('csc_executor_spool_bytes', (say) => say(spools.takenBytes, {}));
  told.observe('csc_executor_spool_limit_bytes', (say) => say(spools.limitBytes, {}));
  told.observe('csc_executor_receipts_owed', (say) => say(deliveries.owed.count, {}));
  told.observe('csc_executor_receipts_owed_bytes', (say) => say(deliveries.owed.bytes, {}));
  told.observe('csc_executor_receipt_oldest_seconds', (say) => say(deliveries.owed.oldestMs / 1000, {}));
  told.observe('csc_executor_receipts_untaken', (say) => say(untaken?.count ?? 0, {}));
  told.observe('csc_executor_reserve_bytes', (say) => say(reserve.reservedBytes, {}));
  told.observe('csc_executor_disk_short', (say) => say(reserve.shortage === undefined ? 0 : 1, {}));
  told.observe('csc_executor_receipts_unproven', (say) => say(logWatch?.found.unproven ?? 0, {}));
  told.observe('csc_executor_receipts_missing', (say) => say(logWatch?.found.missing ?? 0, {}));
  told.observe('csc_executor_log_false', (say) => say(logWatch?.found.isFalse === true ? 1 : 0, {}));
  told.observe('csc_executor_revoked', (say) => say(isRevoked() ? 1 : 0, {}));
  told.observe('csc_executor_would_refuse_total', (say) => say(wouldRefuse(), {}));
}
