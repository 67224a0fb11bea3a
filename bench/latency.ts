import { startFleet } from '@csc-fleet/test-kit/fleet';
import { openBareSandbox } from './bare-sandbox.ts';
import { quantile, type Row, toRow } from './report.ts';

const runs = 200;

/** `Run` of /usr/bin/true through client, gate, link, executor and sandbox, against bubblewrap alone with the same arguments. */
export async function measure(): Promise<Row[]> {
  await using fleet = await startFleet({ executors: [{ name: 'bench' }] });
  const client = fleet.connect();
  const run = async (): Promise<void> => {
    const result = await client.run(fleet.contract({ argv: ['true'] }));
    if (result.receipt?.status !== 'success') throw new Error(`the run ended ${result.receipt?.status}`);
  };
  using bare = await openBareSandbox(fleet.workspace, ['true']);
  const baseline = await timings(() => bare.run(), 20, runs);
  const ours = await timings(run, 20, runs);
  return [
    toRow('latency', 'p50 of a whole Run', quantile(ours, 0.5), quantile(baseline, 0.5), 'ms', { max: 2 }),
    toRow('latency', 'p99 of a whole Run', quantile(ours, 0.99), quantile(baseline, 0.99), 'ms', { max: 3 }),
  ];
}

async function timings(call: () => Promise<void>, warmUps: number, count: number): Promise<number[]> {
  for (let i = 0; i < warmUps; i++) await call();
  const samples: number[] = [];
  for (let i = 0; i < count; i++) {
    const begin = performance.now();
    await call();
    samples.push(performance.now() - begin);
  }
  return samples;
}
