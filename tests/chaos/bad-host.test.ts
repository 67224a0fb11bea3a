import { readdirSync } from 'node:fs';
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
} from './storm/scene.ts';

let scene: Scene;
let clients: GateClient[];

beforeAll(async () => {
  scene = await setScene({ diskBytes: 128 * 1024 * 1024, slots: 4, fakeClock: true });
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
  it('loses nothing where its clock is five minutes off', async () => {
    const warden = scene.fleet.connect('warden');
    const resting = async () =>
      (await warden.executors()).find(({ identity }) => identity.endsWith(`/${hostWithClock}`))?.resting;
    scene.setClock(300);
    await expect.poll(resting, { timeout: 20_000 }).toMatch(/clock/);
    expect(await runs(16)).toEqual(all(16));
    scene.setClock(0);
    await expect.poll(resting, { timeout: 20_000 }).toBe('');
  });

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
});

describe('a rolling restart of everything', () => {
  it('fails no call of 16 clients', async () => {
    let isOver = false;
    const lanes = Array.from({ length: 16 }, async () => {
      const statuses: (string | undefined)[] = [];
      while (!isOver) statuses.push(...(await runs(1)));
      return statuses;
    });
    const { gate, executors } = scene;
    for (const party of [gate, ...hosts.map((it) => executors[it])]) {
      const from = party.log.length;
      await party.end('SIGTERM');
      party.start();
      await party.logged(party === gate ? /listening/i : /"msg":"connected/, from);
    }
    isOver = true;
    const statuses = (await Promise.all(lanes)).flat();
    expect(statuses.filter((it) => it !== 'success')).toEqual([]);
    expect(statuses.length).toBeGreaterThan(16);
  });
});
