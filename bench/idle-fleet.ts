import { setTimeout as wait } from 'node:timers/promises';
import { startFleet } from '@csc-fleet/test-kit/fleet';
import { readProcess } from './processes.ts';
import { type Row, toFigure } from './report.ts';
import { scaled, watched } from './rounds.ts';
import { startSimulated } from './simulated-fleet.ts';

const mebibyte = 1024 * 1024;

/** What a gate costs that has many executors and nothing to do. */
export async function measure(): Promise<Row[]> {
  const count = scaled(1000);
  const seconds = scaled(24);
  const connections = { handshakes_per_sec: 10_000, per_address: 2 * count };
  await using fleet = await startFleet({ executors: [], gate: { limits: { connections } } });
  const { policySha256 } = await fleet.connect().check(fleet.contract({ argv: ['true'] }));
  const gate = fleet.gate.child.pid;
  const simulated = await startSimulated(count, fleet, policySha256);
  try {
    // What their coming took is behind it.
    await wait(seconds * 250);
    // Two or three heartbeats of each.
    const before = readProcess(gate).cpuSeconds;
    const begun = performance.now();
    await watched(() => wait(seconds * 1000));
    const after = readProcess(gate);
    const cpu = (after.cpuSeconds - before) / ((performance.now() - begun) / 1000);
    const what = `${count} executors that are idle`;
    return [
      toFigure('idle-fleet', `${what}: memory of the gate`, after.residentBytes / mebibyte, 'MiB', {
        max: 200,
      }),
      toFigure('idle-fleet', `${what}: the same at its peak`, after.peakBytes / mebibyte, 'MiB'),
      toFigure('idle-fleet', `${what}: the gate's share of a core`, 100 * cpu, '%', { max: 5 }),
    ];
  } finally {
    simulated.kill('SIGKILL');
  }
}
