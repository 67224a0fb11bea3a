import { setTimeout as wait } from 'node:timers/promises';
import { ExecutionState } from '@csc-fleet/common/messages';
import { type Fleet, startFleet } from '@csc-fleet/test-kit/fleet';
import { quantile, type Row, toFigure, toRow } from './report.ts';
import { scaled, watched } from './rounds.ts';
import { startSimulated } from './simulated-fleet.ts';

const executors = 100;
const inFlight = 64;
// What the larger of the two runs may take: a slow machine gets fewer, and the row says how many.
const longestSec = 100;
const pollMs = 20;

/** Many executions submitted at once onto many hosts that take no time: what the gate itself takes for each. */
export async function measure(): Promise<Row[]> {
  const quarter = Math.ceil(scaled(10_000) / 4);
  // Whose modules are not compiled yet is slower.
  await run(Math.ceil(quarter / 10));
  const few = await run(quarter);
  const count = Math.round(Math.min(4 * quarter, Math.max(quarter, (longestSec / few.ended) * quarter)));
  const all = await watched(() => run(count));
  const what = (it: string): string => `${count} at once on ${executors} executors: ${it}`;
  return [
    toFigure('queue', what('decided and recorded'), count / all.submitted, '/s'),
    toFigure('queue', what('placed, and their receipts taken'), count / all.ended, '/s'),
    toFigure('queue', what('p99 from submitted to its receipt'), quantile(all.waits, 0.99), 's'),
    toRow(
      'queue',
      what(`time for each, against ${quarter} of them`),
      (1000 * all.ended) / count,
      (1000 * few.ended) / quarter,
      'ms',
      {
        max: 1.25,
      },
    ),
  ];
}

interface Outcome {
  /** Seconds from the beginning until all were submitted, and until all had ended. */
  readonly submitted: number;
  readonly ended: number;
  readonly waits: readonly number[];
}

async function run(count: number): Promise<Outcome> {
  const limits = {
    requests_per_sec: 100_000,
    burst: 100_000,
    concurrent_calls: 1000,
    max_queued: count + 1000,
  };
  const connections = { handshakes_per_sec: 10_000 };
  await using fleet = await startFleet({ executors: [], gate: { limits: { ...limits, connections } } });
  const client = fleet.connect();
  const contract = fleet.contract({ argv: ['true'] });
  const { policySha256 } = await client.check(contract);
  const simulated = await startSimulated(executors, fleet, policySha256);
  try {
    const begun = performance.now();
    let left = count;
    const submit = async (): Promise<void> => {
      while (left-- > 0) await client.submit(contract);
    };
    await Promise.all(Array.from({ length: inFlight }, submit));
    const submitted = (performance.now() - begun) / 1000;
    // They have ended in the order of their submissions, but for those that were under way together.
    while (await hasOpen(client)) await wait(pollMs);
    const ended = (performance.now() - begun) / 1000;
    const waits: number[] = [];
    for await (const it of client.list({ pageSize: 1000 }))
      waits.push((Number(it.endedAt) - Number(it.submittedAt)) / 1000);
    return { submitted, ended, waits };
  } finally {
    simulated.kill('SIGKILL');
  }
}

async function hasOpen(client: ReturnType<Fleet['connect']>): Promise<boolean> {
  const { QUEUED, OFFERED, RUNNING } = ExecutionState;
  for await (const _ of client.list({ states: [QUEUED, OFFERED, RUNNING], pageSize: 1 })) return true;
  return false;
}
