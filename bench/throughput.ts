import { connect } from '@csc-fleet/client';
import { startFleet } from '@csc-fleet/test-kit/fleet';
import { callsPerSecond } from './bare.ts';
import { openBareSandbox } from './bare-sandbox.ts';
import { type Row, toRow } from './report.ts';
import { interleave, scaled } from './rounds.ts';

const clientsAtOnce = 16;
// Beyond that bubblewrap gains nothing on two cores.
const sandboxesAtOnce = 8;
const rounds = 5;
const seconds = 3;

/** `Run`s of /usr/bin/true a second by 16 clients, each with its own connection, against bubblewrap alone, 8 at once. */
export async function measure(): Promise<Row[]> {
  await using fleet = await startFleet({
    executors: [{ name: 'bench', config: { slots: sandboxesAtOnce } }],
  });
  const tls = fleet.tls('alice');
  const clients = Array.from({ length: clientsAtOnce }, () => connect({ address: fleet.address, tls }));
  let calls = 0;
  const run = async (): Promise<void> => {
    const client = clients[calls++ % clientsAtOnce];
    const result = await client?.run(fleet.contract({ argv: ['true'] }));
    if (result?.receipt?.status !== 'success') throw new Error(`a run ended ${result?.receipt?.status}`);
  };
  using alone = await openBareSandbox(fleet.workspace, ['true']);
  try {
    const { ours, bare } = await interleave(scaled(rounds), {
      ours: () => callsPerSecond(run, clientsAtOnce, scaled(seconds)),
      bare: () => callsPerSecond(() => alone.run(), sandboxesAtOnce, scaled(seconds)),
    });
    return [
      toRow('throughput', `Runs, ${clientsAtOnce} clients at once`, ours, bare, 'runs/s', { min: 0.65 }),
    ];
  } finally {
    for (const client of clients) client.close();
  }
}
