import { startFleet } from '@csc-fleet/test-kit/fleet';
import { openBareSandbox } from './bare-sandbox.ts';
import { quantile, type Row, toRow } from './report.ts';
import { interleave, scaled, timings } from './rounds.ts';

const runs = 200;
// One after the other of a kind, so that what a run leaves to be done afterwards is not the other side's.
const atATime = 20;
// V8 compiles what runs once a Run for good after some four hundred of them.
const runsOfAWarmFleet = 800;

/**
 * `Run` of /usr/bin/true through client, gate, link, executor and sandbox, against bubblewrap alone with the same arguments: by a
 * fleet that has just started, which is what the bars are for, and by one that has run as many as a busy one does in a minute.
 */
export async function measure(): Promise<Row[]> {
  await using fleet = await startFleet({ executors: [{ name: 'bench' }] });
  const client = fleet.connect();
  const run = async (): Promise<void> => {
    const result = await client.run(fleet.contract({ argv: ['true'] }));
    if (result.receipt?.status !== 'success') throw new Error(`the run ended ${result.receipt?.status}`);
  };
  using bare = await openBareSandbox(fleet.workspace, ['true']);
  const measureRuns = (): Promise<Record<'ours' | 'bare', number[]>> =>
    interleave(scaled(runs / atATime), {
      ours: () => timings(scaled(atATime), run),
      bare: () => timings(scaled(atATime), () => bare.run()),
    });
  const fresh = await measureRuns();
  for (let count = 0; count < scaled(runsOfAWarmFleet); count++) await run();
  const warm = await measureRuns();
  const p99 = (samples: readonly number[]): number => quantile(samples, 0.99);
  return [
    toRow('latency', 'p50 of a whole Run', fresh.ours, fresh.bare, 'ms', { max: 1.7 }),
    toRow('latency', 'p99 of a whole Run', p99(fresh.ours), p99(fresh.bare), 'ms', { max: 2.5 }),
    toRow('latency', 'p50 after 1,000 runs', warm.ours, warm.bare, 'ms'),
    toRow('latency', 'p99 after 1,000 runs', p99(warm.ours), p99(warm.bare), 'ms'),
  ];
}
