import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { shell } from '@csc-fleet/test-kit/contract';
import { type Fleet, startFleet } from '@csc-fleet/test-kit/fleet';
import { readProcess } from './processes.ts';
import { type Row, toRow } from './report.ts';
import { interleave, scaled } from './rounds.ts';
import type { SlowTask } from './slow-client.ts';

const mib = 2 ** 20;
const rounds = 2;

/** What a fast reader of output gets a second beside a slow one and eight that never read, against what it gets alone. */
export async function measure(): Promise<Row[]> {
  const bytes = scaled(1024) * mib;
  await using fleet = await startFleet({
    executors: [{ name: 'bench', config: { limits: { stdout_bytes: 2 * bytes } } }],
  });
  const cpu = { ours: [] as number[], bare: [] as number[] };
  const side = (which: keyof typeof cpu, join: Join) => async (): Promise<number> => {
    const before = readProcess(fleet.gate.child.pid).cpuSeconds;
    const rate = await readFast(fleet, bytes, join);
    cpu[which].push(((readProcess(fleet.gate.child.pid).cpuSeconds - before) / bytes) * 1024 * mib);
    return rate;
  };
  const { ours, bare } = await interleave(scaled(rounds), {
    ours: side('ours', (executionId) => startSlowReaders(fleet, executionId)),
    bare: side('bare', async () => undefined),
  });
  const what = 'beside a slow one and 8 that never read, against it alone';
  return [
    toRow('slow-reader', `a fast reader ${what}`, ours, bare, 'MB/s', { min: 0.9 }),
    toRow('slow-reader', `CPU of the gate a GiB for a fast reader ${what}`, cpu.ours, cpu.bare, 's'),
  ];
}

/** Called once the command runs and waits, with the execution's id. What it resolves to ends with the reading. */
type Join = (executionId: string) => Promise<AsyncDisposable | undefined>;

/** Megabytes a second, from the first chunk to the last. */
async function readFast(fleet: Fleet, bytes: number, join: Join): Promise<number> {
  const go = goFile(fleet);
  const contract = fleet.contract({
    // The first line is what the other readers take; it waits until they have.
    argv: shell(`echo; while [ ! -e ${go} ]; do sleep 0.05; done; head -c ${bytes} /dev/zero`),
    timeout_sec: 300,
  });
  let others: Promise<AsyncDisposable | undefined> | undefined;
  let begin = 0;
  let [seen, end] = [0, 0];
  const letGo = async (executionId: string): Promise<AsyncDisposable | undefined> => {
    const joined = await join(executionId);
    writeFileSync(go, '');
    return joined;
  };
  try {
    const { receipt } = await fleet.connect().run(contract, {
      handlers: {
        onEvent: ({ type, executionId }) => {
          if (type === 'commandStarted') others ??= letGo(executionId);
        },
        onStdout: (data) => {
          end = performance.now();
          // What comes after the first line comes because the command was let go.
          if (seen === 1) begin = end;
          seen += data.length;
        },
      },
    });
    if (receipt?.status !== 'success' || seen !== bytes + 1)
      throw new Error(`the run ended ${receipt?.status} after ${seen} bytes instead of ${bytes + 1}`);
    return seen / 1e6 / ((end - begin) / 1000);
  } finally {
    await (await others)?.[Symbol.asyncDispose]();
    rmSync(go, { force: true });
  }
}

function goFile({ workspace }: Fleet): string {
  return join(workspace, 'go');
}

/** Resolves once each of them has read something. */
async function startSlowReaders(fleet: Fleet, executionId: string): Promise<AsyncDisposable> {
  const task: SlowTask = { address: fleet.address, tls: fleet.tls('alice'), executionId };
  const program = fileURLToPath(new URL('slow-client.ts', import.meta.url));
  const child = spawn(process.execPath, [program, JSON.stringify(task)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const exited = once(child, 'exit');
  const ready = await Promise.race([once(child.stdout, 'data'), exited.then(() => undefined)]);
  if (ready === undefined) throw new Error('the slow readers ended before they read');
  return {
    async [Symbol.asyncDispose]() {
      child.kill('SIGKILL');
      await exited;
    },
  };
}
