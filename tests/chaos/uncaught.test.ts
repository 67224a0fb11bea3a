import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { unsoundExitCode } from '@csc-fleet/common/service';
import { type Fleet, startFleet } from '@csc-fleet/test-kit/fleet';
import { programFile } from '@csc-fleet/test-kit/programs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const executor = {
  name: 'host',
  program: { path: programFile('failing-executor'), args: [] },
};
const nodeOptions = process.env['NODE_OPTIONS'];

// One for all: each test leaves it as it has to be for the next.
let fleet: Fleet;

beforeAll(async () => {
  const fault = new URL('../kit/throw-on-signal.ts', import.meta.url).href;
  process.env['NODE_OPTIONS'] = `${nodeOptions ?? ''} --import=${fault}`;
  fleet = await startFleet({ executors: [executor] });
});
afterAll(async () => {
  await fleet[Symbol.asyncDispose]();
  if (nodeOptions === undefined) delete process.env['NODE_OPTIONS'];
  else process.env['NODE_OPTIONS'] = nodeOptions;
});

const uncaught =
  /"error_id":"[0-9a-f]{12}","origin":"[a-zA-Z]+","owner":"([^"]*)".*an exception that nobody caught/;

async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise((resolve) => setTimeout(resolve, 20));
}

describe('an exception that nobody caught', () => {
  it('ends the run that it belongs to, with a receipt, and no other', async () => {
    const out = fleet.writable('out');
    const client = fleet.connect();
    const wait = `echo > ${out}/begun; while [ ! -e ${out}/go ]; do sleep 0.05; done; echo whole`;
    const good = client.run(
      fleet.contract({ argv: ['sh', '-c', wait], write_paths: [out], timeout_sec: 60 }),
    );
    await until(() => existsSync(join(out, 'begun')));
    const bad = await client.run(
      fleet.contract({ argv: ['sh', '-c', ': fail-here; sleep 50'], timeout_sec: 60 }),
    );
    const error = expect.stringContaining('the executor itself failed at it');
    expect(bad.receipt).toMatchObject({ status: 'failed', ended: 'cancelled', error });
    writeFileSync(join(out, 'go'), '');
    expect((await good).receipt).toMatchObject({ status: 'success', exit_code: 0 });
    const [, owner] = await fleet.executor('host').waitFor(uncaught);
    expect(owner).toBe(`execution ${bad.execution.executionId}`);
    expect(fleet.executor('host').running).toBe(true);
  });

  it('ends neither gate nor executor where nobody knows whose it is', async () => {
    for (const service of [fleet.gate, fleet.executor('host')]) {
      const before = service.log.length;
      service.child.kill('SIGUSR2');
      const [, owner] = await service.waitFor(uncaught, before);
      expect(owner).toBe('unknown');
    }
    const { receipt } = await fleet.connect().run(fleet.contract({}));
    expect(receipt).toMatchObject({ status: 'success' });
  });

  it('ends the executor in order with the eleventh within a minute, and what ran has one receipt', async () => {
    const out = fleet.writable('out');
    const client = fleet.connect();
    const argv = ['sh', '-c', `echo once >> ${out}/runs; sleep 50`];
    const run = client.run(fleet.contract({ argv, write_paths: [out], timeout_sec: 60 }));
    await until(() => existsSync(join(out, 'runs')));
    const service = fleet.executor('host');
    service.child.kill('SIGWINCH');
    await until(() => !service.running);
    expect(service.child.exitCode).toBe(unsoundExitCode);
    await fleet.startExecutor(executor);
    const { receipt, receiptJson, execution } = await run;
    expect(receipt).toMatchObject({ ended: 'cancelled', executor_id: 'host' });
    expect((await client.getReceipt(execution.executionId)).receiptJson).toEqual(receiptJson);
  });

  it('ends the gate in order with the eleventh', async () => {
    fleet.gate.child.kill('SIGWINCH');
    await until(() => !fleet.gate.running);
    expect(fleet.gate.child.exitCode).toBe(unsoundExitCode);
    expect(fleet.gate.log).toContain('to be started again');
  });
});
