// make flood: each flood for a few seconds beside an honest client, as a table for docs/threat-model.md.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { connect } from '@csc-fleet/client';
import { makeContract } from '@csc-fleet/test-kit/contract';
import { freePort } from '@csc-fleet/test-kit/free-port';
import { testPolicy } from '@csc-fleet/test-kit/policy';
import { csc, Service } from '@csc-fleet/test-kit/process';
import { floods } from './floods.ts';

interface Measured {
  readonly p50: number;
  readonly p95: number;
  readonly max: number;
  readonly failed: number;
  /** MiB. */
  readonly memory: number;
}

const seconds = Number(process.env['FLOOD_SECONDS'] ?? 4);
const only = process.env['ONLY'];
const pauseMs = 10;

const directory = mkdtempSync(join(tmpdir(), 'csc-flood-'));
const pki = join(directory, 'pki');
const files = (it: string) => ({
  ca: join(pki, 'ca.pem'),
  cert: join(pki, `${it}.pem`),
  key: join(pki, `${it}.key`),
});

async function prepare(): Promise<void> {
  const made = await csc([
    'pki',
    'init',
    pki,
    '--client',
    'alice',
    '--client',
    'mallory',
    '--executor',
    'rogue',
  ]);
  if (made.code !== 0) throw new Error(made.stderr);
  mkdirSync(join(directory, 'policies'));
  writeFileSync(join(directory, 'policies/tests.yaml'), testPolicy('/workspace'));
  const bindings = [{ identity: 'spiffe://csc.local/client/*', policies: ['tests'] }];
  writeFileSync(
    join(directory, 'bindings.yaml'),
    JSON.stringify({ bindings_version: 'csc.bindings.v0.1', bindings }),
  );
}

/** A gate with the limits that it has by itself, on an empty store. */
async function startGate(address: string): Promise<Service> {
  const data = join(directory, 'gate');
  rmSync(data, { recursive: true, force: true });
  const config = {
    listen: address,
    data_dir: data,
    tls: files('gate'),
    policies: 'policies',
    bindings: 'bindings.yaml',
  };
  const file = join(directory, 'gate.yaml');
  writeFileSync(file, JSON.stringify(config), { mode: 0o600 });
  const gate = new Service('the gate', ['gate', '--config', file]);
  await gate.waitFor(/listening/i);
  return gate;
}

/** Checks, one after the other, until `over`; beside the gate's peak of resident memory. */
async function measure(gate: Service, address: string, over: AbortSignal): Promise<Measured> {
  const client = connect({ address, tls: files('client-alice') });
  const honest = makeContract('/workspace', [{ argv: ['echo', 'hello'] }]);
  const times: number[] = [];
  let failed = 0;
  while (!over.aborted) {
    const begun = performance.now();
    await client.check(honest).catch(() => {
      failed += 1;
    });
    times.push(performance.now() - begun);
    await delay(pauseMs);
  }
  client.close();
  times.sort((a, b) => a - b);
  const at = (share: number): number =>
    times[Math.min(times.length - 1, Math.floor(times.length * share))] ?? Number.NaN;
  return { p50: at(0.5), p95: at(0.95), max: at(1), failed, memory: peakMemory(gate) };
}

// proc_pid_status(5): the peak resident set size, in KiB.
function peakMemory({ child }: Service): number {
  const status = readFileSync(`/proc/${child.pid}/status`, 'utf8');
  return Number(/VmHWM:\s+(\d+)/.exec(status)?.[1] ?? Number.NaN) / 1024;
}

async function row(name: string | undefined): Promise<Measured> {
  const address = `127.0.0.1:${await freePort()}`;
  const gate = await startGate(address);
  try {
    // Warm, and connected before the flood begins.
    await measure(gate, address, AbortSignal.timeout(1_500));
    const over = AbortSignal.timeout(seconds * 1000);
    if (name === undefined) return await measure(gate, address, over);
    const program = fileURLToPath(new URL('attack.ts', import.meta.url));
    // Two cores are often all there is: what the attacker burns on this machine is not the gate's doing.
    const args = ['-n', '10', process.execPath, program, name, address, pki, String(seconds)];
    const attacker = spawn('nice', args, { stdio: ['ignore', 'ignore', 'inherit'] });
    const ended = once(attacker, 'exit');
    const measured = await measure(gate, address, over);
    await ended;
    if (!gate.running) throw new Error(`the gate ended:\n${gate.log}`);
    return { ...measured, memory: peakMemory(gate) };
  } finally {
    await gate.stop('SIGKILL');
  }
}

const line = (cells: readonly (string | number)[]): void =>
  console.log(
    `| ${cells.map((it) => (typeof it === 'number' ? it.toFixed(it < 10 ? 1 : 0) : it)).join(' | ')} |`,
  );

try {
  await prepare();
  const quiet = await row(undefined);
  line(['flood', 'p50 ms', 'p95 ms', 'max ms', 'p95 to quiet', 'failed', 'gate MiB']);
  line(['---', '---', '---', '---', '---', '---', '---']);
  const show = (name: string, it: Measured): void =>
    line([name, it.p50, it.p95, it.max, `${(it.p95 / quiet.p95).toFixed(1)}×`, String(it.failed), it.memory]);
  show('none', quiet);
  for (const name of Object.keys(floods)) {
    if (only === undefined || name.includes(only)) show(name, await row(name));
  }
} finally {
  rmSync(directory, { recursive: true, force: true });
}
