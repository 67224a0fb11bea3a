import { EndedBy, Execution, type ExecutionEvent, ExecutionState } from '@csc-fleet/common/messages';
import { createShownMetrics } from '@csc-fleet/common/prometheus';
import { deniedContract, makeContract } from '@csc-fleet/test-kit/gate/contracts';
import { TestGate } from '@csc-fleet/test-kit/gate/test-gate';
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

/** The events of each execution so far. */
const told = new Map<string, ExecutionEvent[]>();
beforeEach(() => told.clear());

function leadsTo(state: ExecutionState): ExecutionEvent['event'] {
  const { QUEUED, OFFERED, RUNNING } = ExecutionState;
  if (state === QUEUED) return { $case: 'queued', value: { position: 0, reason: '' } };
  if (state === OFFERED) return { $case: 'placed', value: { executorId: 'one', labels: {} } };
  if (state === RUNNING) return { $case: 'started', value: { executorId: 'one', notes: [] } };
  const execution = Execution.fromPartial({ state });
  return {
    $case: 'finished',
    value: { execution, receiptJson: none, originalJson: none, resolutionsJson: [] },
  };
}
const none = Buffer.alloc(0);

/** Tells the watch of a step: of the first, that it was recorded. */
function saw(execution: Watched): void {
  const { runs } = telemetry;
  if (!seen.has(execution.id)) runs.created(execution);
  else runs.saw(execution);
  seen.add(execution.id);
}
const seen = new Set<string>();
beforeEach(() => seen.clear());

/** An execution that has come to be in this state, by the events before and one more. */
function step(id: string, state: ExecutionState, error = '', ...before: ExecutionEvent['event'][]): Watched {
  const events = told.get(id) ?? [];
  told.set(id, events);
  for (const event of [...before, leadsTo(state)])
    events.push({ executionId: id, sequence: events.length + 1, at: new Date(0), event });
  const executor = state === ExecutionState.QUEUED ? null : 'spiffe://csc.local/executor/one';
  return { id, row: { state, error, executor_id: executor }, events: [...events] };
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
    saw(step('a', ExecutionState.QUEUED));
    now = 2_000;
    expect(await lines('csc_queue_oldest_seconds', 'csc_executions{state="queued"}')).toEqual([
      'csc_executions{state="queued"} 1',
      'csc_queue_oldest_seconds 2',
    ]);
    saw(step('a', ExecutionState.OFFERED));
    now = 2_500;
    saw(step('a', ExecutionState.RUNNING));
    // Progress, which is no other state.
    saw(step('a', ExecutionState.RUNNING));
    now = 5_500;
    saw(step('a', ExecutionState.SUCCEEDED));
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
    saw(step('a', ExecutionState.FAILED, 'INTERNAL: a job may be called so', exited(EndedBy.TIMEOUT)));
    saw(step('b', ExecutionState.BLOCKED, 'SCOPE_NOT_FOUND: /workspace/secret'));
    saw(step('c', ExecutionState.BLOCKED, 'MADE_UP: as if it were one'));
    saw(step('d', ExecutionState.EXPIRED, 'no executor was free in time'));
    saw({
      ...step('e', ExecutionState.BLOCKED),
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
    for (const state of [ExecutionState.RUNNING, ExecutionState.LOST, ExecutionState.RUNNING])
      saw(step('a', state));
    saw(step('a', ExecutionState.SUCCEEDED));
    expect(await lines('csc_runs_')).toEqual([
      'csc_runs_total{outcome="succeeded",reason="none"} 1',
      'csc_runs_lost_total 1',
      'csc_runs_returned_total 1',
    ]);
  });

  it('waits no longer for what the owners have resolved', async () => {
    for (const state of [ExecutionState.RUNNING, ExecutionState.LOST]) saw(step('a', state));
    const lost = ['csc_runs_lost_total', 'csc_executions{state="lost"}'];
    expect(await lines(...lost)).toEqual(['csc_runs_lost_total 1', 'csc_executions{state="lost"} 1']);
    const resolved = step('a', ExecutionState.LOST);
    const last = resolved.events.at(-1)?.event;
    if (last?.$case === 'finished') last.value.resolutionsJson.push(Buffer.from('{}'));
    saw(resolved);
    saw(resolved);
    expect(await lines(...lost)).toEqual(['csc_runs_lost_total 1', 'csc_executions{state="lost"} 0']);
  });
});

describe('steps that are on disk at once', () => {
  it('are each seen, though the row is ahead of them', async () => {
    saw(step('a', ExecutionState.QUEUED));
    now = 1000;
    step('a', ExecutionState.OFFERED);
    step('a', ExecutionState.RUNNING);
    const all = step('a', ExecutionState.SUCCEEDED);
    // The first of several that are told of: by then the row is what it will be, and the rest is yet to come.
    saw({ ...all, events: all.events.slice(0, -1) });
    saw(all);
    saw(all);
    expect(await lines('csc_runs_total', 'csc_queue_wait_seconds', 'csc_stage_seconds_count')).toEqual([
      'csc_runs_total{outcome="succeeded",reason="none"} 1',
      'csc_queue_wait_seconds_count 1',
      'csc_queue_wait_seconds_sum 1',
      'csc_stage_seconds_count{stage="place"} 1',
      'csc_stage_seconds_count{stage="run"} 1',
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

describe('a gate that is asked for its metrics', () => {
  it('tells of what is refused, what runs, and of the host that is passed over until it is well', async () => {
    const test = await TestGate.open({ meter: shown.meter });
    try {
      const faulty = await test.connected('e1', { slots: 8 });
      const well = await test.connected('e2', { slots: 8 });
      await test.submit(deniedContract());
      const { executionId } = await test.submit(makeContract());
      await faulty.refuse(executionId, 'SANDBOX_UNAVAILABLE');
      await well.next('offer', executionId);
      await well.accept(executionId);
      await well.finish(await well.next('offer', executionId));
      expect(await lines('csc_host_up', 'csc_host_breaker_open', 'csc_runs_total')).toEqual([
        'csc_runs_total{outcome="blocked",reason="denied"} 1',
        'csc_runs_total{outcome="succeeded",reason="none"} 1',
        'csc_host_up{executor="e1"} 1',
        'csc_host_up{executor="e2"} 1',
        'csc_host_breaker_open{executor="e1",reason="SANDBOX_UNAVAILABLE"} 1',
      ]);
      well.disconnect();
      faulty.disconnect();
      const again = await test.connected('e1', { slots: 8 });
      const second = await test.submit(makeContract());
      await again.accept((await again.next('offer', second.executionId)).executionId);
      expect(await lines('csc_host_breaker_open', 'csc_host_connects_total{executor="e1"}')).toEqual([
        'csc_host_connects_total{executor="e1"} 2',
      ]);
      // Its own stages, as the watch saw them go by.
      expect(
        (await lines('csc_stage_seconds_count')).map((it) => /stage="([a-z]+)"/.exec(it)?.[1]).sort(),
      ).toEqual(['decide', 'mint', 'place', 'receipt', 'record', 'run']);
      // A refusal that its host has signed is a receipt as well.
      const third = await test.submit(makeContract());
      const offer = await again.next('offer', third.executionId);
      const receiptJson = again.receipt(offer, { receipt: { status: 'blocked', ended: 'refused' } });
      await again.refuse(third.executionId, 'NOT_PERMITTED', { receiptJson });
      expect(await lines('csc_stage_seconds_count{stage="receipt"}')).toEqual([
        'csc_stage_seconds_count{stage="receipt"} 2',
      ]);
    } finally {
      await test.close();
    }
  });
});
