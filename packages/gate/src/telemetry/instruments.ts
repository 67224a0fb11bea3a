import { reasons } from '@csc-fleet/common/errors';
import { endings } from '@csc-fleet/common/receipt';
import {
  type InstrumentTable,
  type LabelFacts,
  secondBuckets,
  serviceInstruments,
} from '@csc-fleet/common/telemetry';

const executor: LabelFacts = { means: 'the NAME of its certificate', most: 256 };
const principal: LabelFacts = { means: 'the SPIFFE id of a client', most: 64 };

/** Why a run ended as it did: a reason of docs/errors.md, or one of these. */
const endReasons = ['none', 'denied', ...endings, 'queue_timeout', 'approval_timeout', 'unsaid'];

/** Those of docs/errors.md, as a host says them of itself or of a contract. */
const reasonNames = Object.keys(reasons);

/** Where an execution is, while it is open. */
export const openStates = ['awaiting_approval', 'queued', 'offered', 'running', 'lost'] as const;

const reviewVerdicts = ['approve', 'reject', 'break_glass'] as const;

export const outcomes = ['succeeded', 'failed', 'blocked', 'expired', 'cancelled'] as const;

/** What takes its time on the way of a contract through the gate. */
const gateStages = ['decide', 'record', 'mint', 'place', 'run', 'receipt'] as const;
export type GateStage = (typeof gateStages)[number];

/** All that a gate tells of itself. docs/observability.md and deploy/ are held against it. */
export const gateInstruments = {
  csc_runs_total: {
    kind: 'counter',
    means: 'Executions that have ended, each with its receipt on disk',
    labels: {
      outcome: { means: '`succeeded`, `failed`, `blocked`, `expired`, `cancelled`', values: outcomes },
      reason: {
        means:
          'the reason of [errors](errors.md) that it was refused with, or `denied` (by policy), `queue_timeout`, `approval_timeout`; how the command ended that failed: `exit`, `signal`, `timeout`, `cancelled`, `output_limit`, `out_of_memory`, `executor_restart`, `refused`; `none` where it succeeded, `unsaid` where nobody said',
        values: [...endReasons, ...reasonNames],
      },
    },
  },
  csc_runs_lost_total: {
    kind: 'counter',
    means: 'Executions whose executor was away for too long with them (LOST)',
  },
  csc_runs_returned_total: {
    kind: 'counter',
    means: 'Of those, the ones that their executor has come back with',
  },
  csc_executions: {
    kind: 'gauge',
    means: 'Executions that are open now',
    labels: { state: { means: openStates.map((it) => `\`${it}\``).join(', '), values: openStates } },
  },
  csc_approvals_total: {
    kind: 'counter',
    means: 'Verdicts of people that count, which they have signed; a `break_glass` is one to look at',
    labels: {
      verdict: { means: reviewVerdicts.map((it) => `\`${it}\``).join(', '), values: reviewVerdicts },
    },
  },
  csc_webhooks_total: {
    kind: 'counter',
    means: 'Messages about approvals to a receiver that gate.yaml names, each once it is taken or given up',
    labels: {
      outcome: { means: '`delivered`, `dropped`', values: ['delivered', 'dropped'] },
    },
  },
  csc_queue_depth: {
    kind: 'gauge',
    means: 'Executions that wait for an executor',
    labels: { principal },
  },
  csc_queue_oldest_seconds: {
    kind: 'gauge',
    unit: 's',
    means: 'How long the one that has waited longest has waited; 0 where none waits',
  },
  csc_queue_wait_seconds: {
    kind: 'histogram',
    unit: 's',
    means: 'How long executions waited for an executor; about 0 where one was free',
    buckets: secondBuckets,
  },
  csc_stage_seconds: {
    kind: 'histogram',
    unit: 's',
    means: 'How long the gate’s part of an execution took',
    labels: {
      stage: {
        means:
          '`decide`: by policy; `record`: until it is on disk; `mint`: the ticket; `place`: from the offer until its executor has redeemed it; `run`: from then until its receipt is on disk; `receipt`: that receipt is written',
        values: gateStages,
      },
    },
    buckets: secondBuckets,
  },
  csc_host_up: {
    kind: 'gauge',
    means: '1 while this executor is connected; 0 where it is known and away',
    labels: { executor },
  },
  csc_host_takes_work: {
    kind: 'gauge',
    means: '1 while it takes offers; 0 while it rests, drains or has a clock that is too far off',
    labels: { executor },
  },
  csc_host_slots: { kind: 'gauge', means: 'Executions that it takes at once', labels: { executor } },
  csc_host_running: {
    kind: 'gauge',
    means: 'Executions that were offered to it or run on it',
    labels: { executor },
  },
  csc_host_clock_skew_seconds: {
    kind: 'gauge',
    unit: 's',
    means: 'How far its clock is ahead of the gate’s; negative where it is behind. Beyond 60 it gets nothing',
    labels: { executor },
  },
  csc_host_breaker_open: {
    kind: 'gauge',
    means:
      'Principals for whose executions it is passed over after a fault of its own; absent where it is well',
    labels: {
      executor,
      reason: { means: 'the reason of [errors](errors.md)', values: ['unsaid', ...reasonNames] },
    },
  },
  csc_host_connects_total: {
    kind: 'counter',
    means: 'Connections of an executor that began; more than a few an hour is a link that does not hold',
    labels: { executor },
  },
  csc_log_writable: {
    kind: 'gauge',
    means: '1; 0 while the log of receipts takes nothing in: `csc status` says why',
  },
  csc_log_entries: { kind: 'gauge', means: 'Receipts in the newest checkpoint of the log' },
  csc_log_cosigned_entries: {
    kind: 'gauge',
    means: 'Receipts in the newest checkpoint that a witness has cosigned, where any is asked',
  },
  csc_log_witnesses_failing: { kind: 'gauge', means: 'Witnesses that do not cosign the log now' },
  csc_store_writable: {
    kind: 'gauge',
    means: '1; 0 while the store takes no writes, as on a full disk: nothing is submitted then',
  },
  csc_fleet_frozen: { kind: 'gauge', means: '1 while the owners have frozen the fleet' },
  ...serviceInstruments,
} as const satisfies InstrumentTable;
