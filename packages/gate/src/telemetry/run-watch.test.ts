import { EndedBy, type ExecutionEvent, ExecutionState } from '@csc-fleet/common/messages';
import { createShownMetrics } from '@csc-fleet/common/prometheus';
import { beforeEach, describe, expect, it } from 'vitest';
import { createGateTelemetry, type GateFacts, observeGate } from './observe.ts';
import type { Watched } from './run-watch.ts';

let shown: ReturnType<typeof createShownMetrics>;
let now = 0;
let telemetry: ReturnType<typeof createGateTelemetry>;

beforeEach(() => {
  now = 0;
  shown = createShownMetrics('test', '0');
  telemetry = createGateTelemetry(shown.meter, () => now);
});

/** The lines of these metrics, without their help. */
async function lines(...names: string[]): Promise<string[]> {
  const text = await shown.text();
  return text
    .split('\n')
    .filter((line) => names.some((name) => line.startsWith(name)) && !line.includes('_bucket'));
}

function step(id: string, state: ExecutionState, error = '', ...events: ExecutionEvent['event'][]): Watched {
  return {
    id,
    row: {
      state,
      error,
      executor_id: state === ExecutionState.QUEUED ? null : 'spiffe://csc.local/executor/one',
    },
    events: events.map((event) => ({ executionId: id, sequence: 1, at: new Date(0), event })),
  };
}

function exited(endedBy: EndedBy): ExecutionEvent['event'] {
  const result = {
    commandId: 'INTERNAL: a job may be called so',
    endedBy,
    signal: '',
    startedAt: undefined,
    endedAt: undefined,
    outputs: [],
    error: '',
  };
  return { $case: 'commandExited', value: { result } };
}

describe('what a gate tells of runs', () => {
  it('counts each once, by how it ended and why, and how long each part took', async () => {
    const { runs } = telemetry;
    runs.saw(step('a', ExecutionState.QUEUED));
    now = 2_000;
    expect(await lines('csc_queue_oldest_seconds', 'csc_executions{state="queued"}')).toEqual([
      'csc_executions{state="queued"} 1',
      'csc_queue_oldest_seconds 2',
    ]);
    runs.saw(step('a', ExecutionState.OFFERED));
    now = 2_500;
    runs.saw(step('a', ExecutionState.RUNNING));
    // Progress, which is no other state.
    runs.saw(step('a', ExecutionState.RUNNING));
    now = 5_500;
    runs.saw(step('a', ExecutionState.SUCCEEDED));
    expect(
      await lines(
        'csc_runs_total',
        'csc_queue_wait_seconds',
        'csc_stage_seconds',
        'csc_executions{state="running"}',
      ),
    ).toEqual([
      'csc_runs_total{outcome="succeeded",reason="none"} 1',
      'csc_queue_wait_seconds_count 1',
      'csc_queue_wait_seconds_sum 2',
      'csc_stage_seconds_count{stage="place"} 1',
      'csc_stage_seconds_sum{stage="place"} 0.5',
      'csc_stage_seconds_count{stage="run"} 1',
      'csc_stage_seconds_sum{stage="run"} 3',
      'csc_executions{state="running"} 0',
    ]);
  });

  it('takes reasons from the table alone: nothing that a job or a contract is called becomes a label', async () => {
    const { runs } = telemetry;
    runs.saw(step('a', ExecutionState.FAILED, 'INTERNAL: a job may be called so', exited(EndedBy.TIMEOUT)));
    runs.saw(step('b', ExecutionState.BLOCKED, 'SCOPE_NOT_FOUND: /workspace/secret'));
    runs.saw(step('c', ExecutionState.BLOCKED, 'MADE_UP: as if it were one'));
    runs.saw(step('d', ExecutionState.EXPIRED, 'no executor was free in time'));
    runs.saw({
      ...step('e', ExecutionState.BLOCKED, 'rm is not allowed'),
      row: { state: ExecutionState.BLOCKED, error: 'rm is not allowed', executor_id: null },
    });
    expect(await lines('csc_runs_total')).toEqual([
      'csc_runs_total{outcome="failed",reason="timeout"} 1',
      'csc_runs_total{outcome="blocked",reason="SCOPE_NOT_FOUND"} 1',
      'csc_runs_total{outcome="blocked",reason="unsaid"} 1',
      'csc_runs_total{outcome="expired",reason="queue_timeout"} 1',
      'csc_runs_total{outcome="blocked",reason="denied"} 1',
    ]);
  });

  it('counts what is LOST, and what comes back, and its end once', async () => {
    const { runs } = telemetry;
    for (const state of [ExecutionState.RUNNING, ExecutionState.LOST, ExecutionState.RUNNING])
      runs.saw(step('a', state));
    runs.saw(step('a', ExecutionState.SUCCEEDED));
    expect(await lines('csc_runs_')).toEqual([
      'csc_runs_total{outcome="succeeded",reason="none"} 1',
      'csc_runs_lost_total 1',
      'csc_runs_returned_total 1',
    ]);
  });
});

describe('what a gate tells of principals and hosts', () => {
  const facts = (waiting: [string, number][]): GateFacts => ({
    scheduler: {
      peers: { all: () => [].values() },
      breakers: { faultsOf: () => [] },
      waiting: () => waiting,
    },
    owners: { freeze: () => undefined },
    known: [
      { executor_id: 'spiffe://csc.local/executor/away', seen_at: '2026-01-08T00:00:00Z' },
      { executor_id: 'spiffe://csc.local/executor/gone', seen_at: '2025-12-01T00:00:00Z' },
    ],
    storeWritable: () => false,
    now: () => new Date('2026-01-09T00:00:00Z'),
  });

  it('names so many principals and no more: the rest is one series', async () => {
    observeGate(telemetry, facts(Array.from({ length: 100 }, (_, index) => [`p${index}`, 1])));
    const queued = await lines('csc_queue_depth');
    expect(queued).toHaveLength(65);
    expect(queued.at(-1)).toBe('csc_queue_depth{principal="other"} 36');
  });

  it('misses a host that was here, and forgets it after a week', async () => {
    observeGate(telemetry, facts([]));
    expect(await lines('csc_host_up', 'csc_store_writable')).toEqual([
      'csc_host_up{executor="away"} 0',
      'csc_store_writable 0',
    ]);
  });
});
