import { readFileSync } from 'node:fs';
import { startFleet } from '@csc-fleet/test-kit/fleet';
import { startBareServer } from './bare.ts';
import { type Row, toRow } from './report.ts';

const bytes = 2 ** 30;
const mib = 2 ** 20;

/** 1 GiB of stdout to a client that reads and hashes all of it, against a bare stream of 64 KiB messages. */
export async function measure(): Promise<Row[]> {
  await using bare = await startBareServer();
  const baseline = await megabytesPerSecond(() => bare.stream(bytes));
  await using fleet = await startFleet({
    executors: [{ name: 'bench', config: { limits: { stdout_bytes: 2 * bytes } } }],
  });
  const processes = {
    gate: fleet.gate.child.pid,
    executor: fleet.executor('bench').child.pid,
    client: process.pid,
  };
  const client = fleet.connect();
  await client.run(fleet.contract({ argv: ['head', '-c', String(64 * mib), '/dev/zero'] }));
  const before = Object.entries(processes).map(([name, pid]) => [name, peakBytes(pid)] as const);
  const ours = await megabytesPerSecond(async () => {
    let seen = 0;
    const handlers = {
      onStdout: (data: Uint8Array) => {
        seen += data.length;
      },
    };
    await client.run(fleet.contract({ argv: ['head', '-c', String(bytes), '/dev/zero'], timeout_sec: 300 }), {
      handlers,
    });
    return seen;
  });
  return [
    toRow('output', '1 GiB of stdout, hashed, spooled, relayed', ours, baseline, 'MB/s', { min: 0.4 }),
    ...before.map(([name, was]) =>
      toRow(
        'output',
        `memory of the ${name} over the run (bar: +64 MiB)`,
        peakBytes(processes[name as keyof typeof processes]) / mib,
        (was + 64 * mib) / mib,
        'MiB',
        { max: 1 },
      ),
    ),
  ];
}

async function megabytesPerSecond(read: () => Promise<number>): Promise<number> {
  const begin = performance.now();
  const seen = await read();
  if (seen !== bytes) throw new Error(`read ${seen} bytes instead of ${bytes}`);
  return seen / 1e6 / ((performance.now() - begin) / 1000);
}

/** The high-water mark of resident memory (VmHWM, proc(5)), in bytes. */
function peakBytes(pid: number | undefined): number {
  const kib = /VmHWM:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
  return Number(kib) * 1024;
}
