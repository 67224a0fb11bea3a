import { startFleet } from '@csc-fleet/test-kit/fleet';
import { openBareSandbox } from './bare-sandbox.ts';
import { quantile, type Row, toRow } from './report.ts';
import { interleave, scaled, timings } from './rounds.ts';

const runs = 200;
// One after the other of a kind, so that what a run leaves to be done afterwards is not the other side's.
const atATime = 20;

/** `Run` of /usr/bin/true through client, gate, link, executor and sandbox, against bubblewrap alone with the same arguments. */
export async function measure(): Promise<Row[]> {
  await using fleet = await startFleet({ executors: [{ name: 'bench' }] });
  const client = fleet.connect();
  const run = async (): Promise<void> => {
    const result = await client.run(fleet.contract({ argv: ['true'] }));
    if (result.receipt?.status !== 'success') throw new Error(`the run ended ${result.receipt?.status}`);
  };
  using bare = await openBareSandbox(fleet.workspace, ['true']);
  const { ours, bare: baseline } = await interleave(scaled(runs / atATime), {
    ours: () => timings(scaled(atATime), run),
    bare: () => timings(scaled(atATime), () => bare.run()),
  });
  const p99 = (samples: readonly number[]): number => quantile(samples, 0.99);
  return [
    toRow('latency', 'p50 of a whole Run', ours, baseline, 'ms', { max: 1.7 }),
    toRow('latency', 'p99 of a whole Run', p99(ours), p99(baseline), 'ms', { max: 2.5 }),
  ];
}
