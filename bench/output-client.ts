// A client in a process of its own, so that its peak is its own. Reads what to run as JSON from its first argument, runs it,
// prints a Reading of it as one line, and ends.
import { setFlagsFromString } from 'node:v8';
import { connect } from '@csc-fleet/client';
import { createCollector } from '@csc-fleet/common/collect';
import type { CommandContract } from '@csc-fleet/common/contract';
import { readProcess } from './processes.ts';

interface Task {
  readonly address: string;
  readonly tls: { readonly ca: string; readonly cert: string; readonly key: string };
  readonly contract: CommandContract;
}

async function read({ address, tls, contract }: Task): Promise<void> {
  const client = connect({ address, tls });
  const before = readProcess(process.pid);
  const begin = performance.now();
  let bytes = 0;
  // As csc does it, whatever it shows.
  const passed = createCollector();
  const handlers = {
    onStdout: (data: Uint8Array): void => {
      bytes += data.length;
      passed(data.length);
    },
  };
  const { receipt } = await client.run(contract, { handlers });
  const seconds = (performance.now() - begin) / 1000;
  const { cpuSeconds, peakBytes } = readProcess(process.pid);
  const reading = {
    status: receipt?.status,
    bytes,
    seconds,
    peakBytes,
    cpuSeconds: cpuSeconds - before.cpuSeconds,
  };
  process.stdout.write(`${JSON.stringify(reading)}\n`);
  client.close();
}

// As csc submit and csc get do it, and when they do (packages/cli/bin/start.js).
setImmediate(() => setFlagsFromString('--semi-space-growth-factor=1'));
void read(JSON.parse(process.argv[2] ?? ''));
