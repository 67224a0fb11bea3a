import { existsSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { connect, type GateClient } from '@csc-fleet/client';
import { ExecutionState } from '@csc-fleet/common/rpc';
import { type Fleet, startFleet } from '@csc-fleet/test-kit/fleet';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

let fleet: Fleet;
/** A client that takes the first answer. */
let hasty: GateClient;

beforeAll(async () => {
  fleet = await startFleet({
    executors: [{ name: 'host' }],
    admins: true,
    gate: { heartbeat_interval_sec: 1 },
  });
  hasty = connect({ address: fleet.address, tls: fleet.tls('alice'), connectTimeout: 0 });
});
afterAll(async () => {
  hasty?.close();
  await fleet?.[Symbol.asyncDispose]();
});

const resting = async () => (await fleet.connect().executors())[0]?.resting;

/** Somebody moves it away, from under who uses it, and puts it back. */
async function whileAway(path: string, work: () => Promise<void>): Promise<void> {
  renameSync(path, `${path}.away`);
  try {
    await work();
  } finally {
    renameSync(`${path}.away`, path);
  }
}

describe('a gate whose data_dir, or whose database, is moved away while it runs', () => {
  it.each(['gate', 'gate/gate.db', 'gate/gate.db-wal'])(
    'acknowledges nothing, says why, and goes on once it is back: %s',
    async (name) => {
      const acknowledged: string[] = [];
      const submit = async () => {
        const { executionId } = await hasty.submit(fleet.contract({ argv: ['echo'] }));
        acknowledged.push(executionId);
      };
      await submit();
      await whileAway(join(fleet.directory, name), async () => {
        const refusal = () =>
          submit().catch(({ code, message }: { code: string; message: string }) => `${code} ${message}`);
        await expect.poll(refusal).toMatch(/^STORE_UNAVAILABLE .*data_dir.*moved or deleted.*put it back/);
        const { warnings } = await fleet.connect().status();
        expect(warnings).toContainEqual(expect.stringMatching(/moved or deleted/));
      });
      await expect.poll(() => submit().catch(({ code }) => code)).toBeUndefined();
      await expect.poll(async () => (await fleet.connect().status()).warnings).toEqual([]);
      await fleet.gate.stop('SIGKILL');
      await fleet.startGate();
      for (const id of acknowledged)
        expect((await fleet.connect().follow(id)).execution.state).toBe(ExecutionState.SUCCEEDED);
    },
  );
});

it('a gate whose output is deleted while it runs keeps that of the next', async () => {
  rmSync(join(fleet.directory, 'gate/output'), { recursive: true });
  const { receipt } = await fleet.connect().run(fleet.contract({ argv: ['echo'] }));
  expect(receipt).toMatchObject({ status: 'success' });
});

it('an executor that has no place for output begins nothing, and says so, until it is back', async () => {
  const run = () => fleet.connect().run(fleet.contract({ argv: ['echo'] }));
  let waiting: ReturnType<typeof run> | undefined;
  await whileAway(join(fleet.directory, 'executor-host/spool'), async () => {
    waiting = run();
    await fleet
      .executor('host')
      .waitFor(/"code":"SPOOL_FULL","why":"no output can be kept in .*spool of this host/);
  });
  expect((await waiting)?.receipt).toMatchObject({ status: 'success' });
});

describe('an executor whose state_dir, or whose journal, is moved away while it runs', () => {
  it.each(['executor-host', 'executor-host/journal.sqlite'])(
    'begins nothing, says why, ends what runs, and goes on once it is back: %s',
    async (name) => {
      const out = fleet.writable(name.replace('/', '-'));
      const client = fleet.connect();
      const script = `touch ${out}/begun; while [ ! -e ${out}/go ]; do sleep 0.05; done`;
      const running = client.run(
        fleet.contract({ argv: ['sh', '-c', script], write_paths: [out], timeout_sec: 60 }),
      );
      await expect.poll(() => existsSync(join(out, 'begun'))).toBe(true);
      let waiting: ReturnType<GateClient['run']> | undefined;
      await whileAway(join(fleet.directory, name), async () => {
        await expect.poll(resting, { timeout: 5_000 }).toMatch(/no such file|moved or deleted/);
        waiting = client.run(fleet.contract({ argv: ['echo'] }));
        writeFileSync(join(out, 'go'), '');
        expect((await running).receipt).toMatchObject({ status: 'success', ended: 'exit' });
        expect(await resting()).not.toBe('');
      });
      expect((await waiting)?.receipt).toMatchObject({ status: 'success' });
      expect(fleet.executor('host').log).not.toMatch(/an exception that nobody caught|"replaced"/);
    },
  );
});
