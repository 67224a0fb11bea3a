import { reasons } from '@csc-fleet/common/errors';
import { endings } from '@csc-fleet/common/receipt';
import { type InstrumentTable, secondBuckets, serviceInstruments } from '@csc-fleet/common/telemetry';

const executorOutcomes = ['success', 'failed', 'blocked', 'expired', 'refused'] as const;

/** What takes its time on the way of an offer through a host. */
const executorStages = ['admission', 'sandbox', 'redeem', 'run', 'receipt', 'deliver'] as const;
export type ExecutorStage = (typeof executorStages)[number];

/** All that an executor tells of itself. docs/observability.md and deploy/ are held against it. */
export const executorInstruments = {
  csc_executor_runs_total: {
    kind: 'counter',
    means: 'Offers that have had their end here: a signed receipt, or a refusal without one',
    labels: {
      outcome: {
        means:
          'what the receipt says: `success`, `failed`, `blocked`, `expired`; `refused` where none was signed, so that another host may have it',
        values: executorOutcomes,
      },
      reason: {
        means:
          'of a refusal, the reason of [errors](errors.md); else how the run ended: `none` (it succeeded), `exit`, `signal`, `timeout`, `cancelled`, `output_limit`, `out_of_memory`, `executor_restart`, `refused`, `unsaid`',
        values: ['none', ...endings, 'unsaid', ...Object.keys(reasons)],
      },
    },
  },
  csc_executor_stage_seconds: {
    kind: 'histogram',
    unit: 's',
    means: 'How long each part of an execution took here',
    labels: {
      stage: {
        means:
          '`admission`: the checks; `sandbox`: it is planned and built, held; `redeem`: the ticket is spent, on disk; `run`: the commands; `receipt`: measured, signed, journalled; `deliver`: until the gate has acknowledged it',
        values: executorStages,
      },
    },
    buckets: secondBuckets,
  },
  csc_executor_slots: { kind: 'gauge', means: 'Executions that it takes at once' },
  csc_executor_running: { kind: 'gauge', means: 'Executions that are under way' },
  csc_executor_link_up: { kind: 'gauge', means: '1 while the gate hears it; 0 while there is no link' },
  csc_executor_link_opened_total: {
    kind: 'total',
    means: 'Times that the link to the gate was there, or there again',
  },
  csc_executor_link_waiting_bytes: {
    kind: 'gauge',
    unit: 'By',
    means: 'Messages that wait for the gate to read, or to come back',
  },
  csc_executor_clock_skew_seconds: {
    kind: 'gauge',
    unit: 's',
    means:
      'How far this host’s clock is ahead of the gate’s, by its last Welcome; negative where it is behind',
  },
  csc_executor_spool_bytes: {
    kind: 'gauge',
    unit: 'By',
    means: 'Output that is kept or promised room for, until the gate has it',
  },
  csc_executor_spool_limit_bytes: {
    kind: 'gauge',
    unit: 'By',
    means: 'The most of that: `limits.spool_bytes`',
  },
  csc_executor_receipts_owed: { kind: 'gauge', means: 'Receipts that the gate has not acknowledged' },
  csc_executor_receipts_owed_bytes: { kind: 'gauge', unit: 'By', means: 'The size of those' },
  csc_executor_receipt_oldest_seconds: {
    kind: 'gauge',
    unit: 's',
    means: 'How long the oldest of those has been owed, or since the start of the service; 0 where none is',
  },
  csc_executor_receipts_untaken: {
    kind: 'gauge',
    means:
      'Those of them that the gate was brought and has not acknowledged for ten minutes in which it was there, with output an hour',
  },
  csc_executor_receipts_unproven: {
    kind: 'gauge',
    means: 'Receipts that the gate has acknowledged and not yet proven to be in the log that the owners name',
  },
  csc_executor_receipts_missing: {
    kind: 'gauge',
    means: 'Those of them that it does not prove for ten minutes in which it was there',
  },
  csc_executor_log_false: {
    kind: 'gauge',
    means:
      '1 where that log contradicts what this host has met of it, or the owners’ word: see `receipt-log.json` in `state_dir`',
  },
  csc_executor_reserve_bytes: {
    kind: 'gauge',
    unit: 'By',
    means: 'Room on the disk that is set aside for receipts',
  },
  csc_executor_disk_short: {
    kind: 'gauge',
    means: '1 while nothing new is taken for want of room on the disk of `state_dir`',
  },
  csc_executor_revoked: {
    kind: 'gauge',
    means: '1 while the owners’ `revoked.yaml` names this host, as it has it itself: it starts nothing',
  },
  csc_executor_would_refuse_total: {
    kind: 'total',
    means: 'Runs that it will refuse once `enforce` is no longer `warn`',
  },
  ...serviceInstruments,
} as const satisfies InstrumentTable;
