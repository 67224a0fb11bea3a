import { readdirSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { connect, type GateClient } from '@csc-fleet/client';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  descriptorLimit,
  hosts,
  hostWithClock,
  limitDescriptors,
  principals,
  type Scene,
  setScene,
  startAll,
} from '../chaos/storm/scene.ts';

// Of each of the two hosts.
const slots = 4;

let scene: Scene;
let clients: GateClient[];

beforeAll(async () => {
  scene = await setScene({ diskBytes: 128 * 1024 * 1024, slots, fakeClock: true, hasLauncher: true });
  await startAll(scene);
  clients = principals.map((it) => connect({ address: scene.fleet.address, tls: scene.fleet.tls(it) }));
});
afterAll(async () => {
  for (const client of clients ?? []) client.close();
  await scene?.[Symbol.asyncDispose]();
});

const runs = (count: number): Promise<(string | undefined)[]> =>
  Promise.all(
    Array.from({ length: count }, async (_, index) => {
      const client = clients[index % clients.length];
      return (await client?.run(scene.fleet.contract({ argv: ['echo', String(index)] })))?.receipt?.status;
    }),
  );

const all = (count: number): string[] => Array<string>(count).fill('success');

describe('a fleet of two of which one is bad', () => {
  // 48 of 48: 16 with each.
  it('loses nothing where it is out of descriptors', async () => {
    const { pid } = scene.executors.two;
    if (pid === undefined) throw new Error('it is not running');
    const before = descriptorLimit(pid);
    limitDescriptors(pid, readdirSync(`/proc/${pid}/fd`).length + 3);
    expect(await runs(16)).toEqual(all(16));
    limitDescriptors(pid, before);
  });

  it('loses nothing where its disk is full', async () => {
    scene.disks.two.fill();
    expect(await runs(16)).toEqual(all(16));
    scene.disks.two.makeRoom();
  });

  // The last one of these: that it comes to its senses is not waited for, as it is restarted next.
  it('loses nothing where its clock is five minutes off', async () => {
    const warden = scene.fleet.connect('warden');
    const resting = async () =>
      (await warden.executors()).find(({ identity }) => identity.endsWith(`/${hostWithClock}`))?.resting;
    scene.setClock(300);
    await expect.poll(resting).toMatch(/clock/);
    expect(await runs(16)).toEqual(all(16));
    scene.setClock(0);
  });
});

describe('a rolling restart of everything', () => {
  it('fails no call of 16 clients', async () => {
    let isOver = false;
    const statuses: (string | undefined)[] = [];
    const lanes = Array.from({ length: 16 }, async () => {
      while (!isOver) {
        statuses.push(...(await runs(1)));
        // What is restarted has to have some of the processors, too.
        await sleep(300);
      }
    });
    const { gate, executors } = scene;
    for (const party of [gate, ...hosts.map((it) => executors[it])]) {
      const from = party.log.length;
      await party.end('SIGTERM');
      party.start();
      await party.logged(party === gate ? /listening/i : /"msg":"connected/, from);
      // The next is restarted once this one is in use again.
      const ended = statuses.length;
      await expect.poll(() => statuses.length).toBeGreaterThan(ended);
    }
    isOver = true;
    await Promise.all(lanes);
    expect(statuses.filter((it) => it !== 'success')).toEqual([]);
  });
});

// The last one: what it leaves in the queue goes with the fleet.
describe('thousands of one principal', () => {
  // 5,000 in `make chaos`.
  const many = Number(process.env['CSC_CHAOS_MANY'] ?? 200);

  it('delay the single one of another by one slot’s time', { timeout: 60_000 + many * 100 }, async () => {
    const { fleet } = scene;
    const [alice, bob] = clients;
    let left = many;
    const lanes = Array.from({ length: 32 }, async () => {
      while (left-- > 0) await alice?.submit(fleet.contract({ argv: ['true'] }));
    });
    await Promise.all(lanes);
    const single = await bob?.submit(fleet.contract({ argv: ['true'] }));
    const id = single?.executionId ?? '';
    expect((await bob?.follow(id))?.receipt?.status).toBe('success');
    // By the order of the gate's own records, whatever the time: what had a slot by then may still have begun; and while the
    // single one, which takes the first that is free, is on its way to begin there, as much may come after them in the others.
    const between = { decided: 0, begun: 0 };
    for await (const { executionId, kind } of fleet.connect('warden').audit()) {
      if (kind === 'submission.decided') between.decided++;
      if (executionId === id && kind === 'submission.decided') between.begun = 0;
      if (kind !== 'execution.started') continue;
      if (executionId === id) break;
      between.begun++;
    }
    expect(between.decided).toBeGreaterThan(many);
    expect(between.begun).toBeLessThanOrEqual(4 * slots);
  });
});
