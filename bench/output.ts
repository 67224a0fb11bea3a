import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { type Fleet, startFleet } from '@csc-fleet/test-kit/fleet';
import { build } from 'esbuild';
import { startBareServer } from './bare.ts';
import { readProcess, type Usage } from './processes.ts';
import { quantile, type Row, toFigure, toRow } from './report.ts';
import { scaled, watched } from './rounds.ts';

const mib = 2 ** 20;
const allBytes = scaled(1024) * mib;
// Half of it is enough for the rate of a bare stream.
const bareBytes = allBytes / 2;
const rounds = 2;
const mostMib = 150;

/** One reading of 1 GiB, as its client has it. */
interface Reading extends Usage {
  readonly status: string | undefined;
  readonly bytes: number;
  readonly seconds: number;
}

/**
 * 1 GiB of stdout, hashed, spooled and relayed, to a client that reads and verifies all of it, against bare streams of 64 KiB
 * messages: plaintext, and with the mutual TLS that each hop of ours has.
 */
export async function measure(): Promise<Row[]> {
  await using fleet = await startFleet({
    executors: [{ name: 'bench', config: { limits: { stdout_bytes: 2 * allBytes + 64 * mib } } }],
  });
  await using plain = await startBareServer();
  await using mutual = await startBareServer(tlsOf(fleet));
  const rates = { plain: [] as number[], mutual: [] as number[], ours: [] as number[] };
  const services = { gate: fleet.gate.child.pid, executor: fleet.executor('bench').child.pid };
  const cpu = { gate: [] as number[], executor: [] as number[], client: [] as number[] };
  let clientPeak = 0;
  await read(fleet, 64 * mib);
  for (let round = 0; round < scaled(rounds); round++) {
    rates.plain.push(await bareRate(() => plain.stream(bareBytes)));
    rates.mutual.push(await bareRate(() => mutual.stream(bareBytes)));
    const before = { gate: readProcess(services.gate), executor: readProcess(services.executor) };
    const reading = await watched(() => read(fleet, allBytes));
    rates.ours.push(reading.bytes / 1e6 / reading.seconds);
    for (const name of ['gate', 'executor'] as const)
      cpu[name].push(readProcess(services[name]).cpuSeconds - before[name].cpuSeconds);
    cpu.client.push(reading.cpuSeconds);
    clientPeak = Math.max(clientPeak, reading.peakBytes);
  }
  const median = (samples: readonly number[]): number => quantile(samples, 0.5);
  const peaks = {
    gate: readProcess(services.gate).peakBytes,
    executor: readProcess(services.executor).peakBytes,
    client: clientPeak,
  };
  const what = '1 GiB of stdout, hashed, spooled, relayed';
  const perGib = (seconds: number): string => ((seconds * 1024 * mib) / allBytes).toFixed(2);
  const spent = Object.entries(cpu).map(([name, samples]) => `${name} ${perGib(median(samples))}`);
  process.stderr.write(`bench: output: CPU-seconds a GiB: ${spent.join(', ')}\n`);
  return [
    toRow('output', `${what}, to a plaintext stream`, rates.ours, rates.plain, 'MB/s', { min: 0.4 }),
    toRow('output', `${what}, to an mTLS stream`, rates.ours, rates.mutual, 'MB/s', { min: 0.7 }),
    ...Object.entries(peaks).map(([name, bytes]) =>
      toFigure('output', `peak memory of the ${name}`, bytes / mib, 'MiB', { max: mostMib }),
    ),
  ];
}

function tlsOf({ pki }: Fleet): Parameters<typeof startBareServer>[0] {
  const pair = (name: string) => ({ cert: join(pki, `${name}.pem`), key: join(pki, `${name}.key`) });
  return { ca: join(pki, 'ca.pem'), server: pair('gate'), client: pair('client-alice') };
}

async function bareRate(read: () => Promise<number>): Promise<number> {
  const begin = performance.now();
  const seen = await read();
  if (seen !== bareBytes) throw new Error(`read ${seen} bytes instead of ${bareBytes}`);
  return seen / 1e6 / ((performance.now() - begin) / 1000);
}

// As what users run is: sources take memory of their own to be read.
async function bundleClient(): Promise<string> {
  const outfile = new URL('../out/bench/output-client.cjs', import.meta.url).pathname;
  const source = new URL('output-client.ts', import.meta.url).pathname;
  await build({
    entryPoints: [source],
    outfile,
    bundle: true,
    platform: 'node',
    format: 'cjs',
    define: { 'import.meta.url': '$url' },
    banner: { js: "const $url=require('node:url').pathToFileURL(__filename).href;" },
    // For profiles.
    sourcemap: true,
    logLevel: 'warning',
  });
  return outfile;
}

async function read(fleet: Fleet, bytes: number): Promise<Reading> {
  const contract = fleet.contract({ argv: ['head', '-c', String(bytes), '/dev/zero'], timeout_sec: 300 });
  const task = { address: fleet.address, tls: fleet.tls('alice'), contract };
  const program = await bundleClient();
  const child = spawn(process.execPath, [program, JSON.stringify(task)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const [printed] = await Promise.all([text(child.stdout), once(child, 'exit')]);
  const reading: Reading = JSON.parse(printed);
  if (reading.status !== 'success' || reading.bytes !== bytes)
    throw new Error(`the run ended ${reading.status} after ${reading.bytes} bytes instead of ${bytes}`);
  return reading;
}
