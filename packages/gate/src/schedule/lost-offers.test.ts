import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { ExecutionState, type Offer } from '@csc-fleet/common/messages';
import { openGateForEach } from '@csc-fleet/test-kit/gate/each-test';
import type { ScriptedExecutor } from '@csc-fleet/test-kit/gate/scripted-executor';
import { agent, type TestGate } from '@csc-fleet/test-kit/gate/test-gate';
import { beforeEach, describe, expect, it, vi } from 'vitest';
import { maxPlacings } from '../execution/placings.ts';
import { Peer } from './peer.ts';
import { Rests } from './rests.ts';

let test: TestGate;

openGateForEach((it) => {
  test = it;
});

const withdrawn = () => {
  const database = new DatabaseSync(join(test.directory, 'gate.db'), { readOnly: true });
  try {
    return database.prepare('SELECT executor_id, receipt_json FROM withdrawn_offers').all();
  } finally {
    database.close();
  }
};

const receiptsKept = () =>
  withdrawn().flatMap(({ receipt_json: receipt }) => (receipt === null ? [] : [receipt]));

describe('hosts that take an offer and leave', () => {
  const labels = Object.fromEntries(Array.from({ length: 64 }, (_, i) => [`k${i}`, 'v'.repeat(255)]));

  it('have only so much stored of it, however many they are', async () => {
    const hosts = Array.from({ length: 30 }, (_, i) => test.executor(`rogue-${i}`, { labels }));
    await hosts[0]?.connect();
    const executionId = await test.place();
    for (const host of hosts) {
      if (host !== hosts[0]) await host.connect();
      await host.next('offer', executionId);
      await host.connect([], { slots: 0 });
      await test.flushed();
    }
    const events = (await test.events(executionId)).map(({ event }) => event);
    const placings = events.filter((it) => it?.$case === 'queued' || it?.$case === 'placed');
    expect(placings).toHaveLength(maxPlacings);
    expect(placings.at(-1)).toMatchObject({ value: { reason: expect.stringContaining('is not recorded') } });
    const told = events.flatMap((it) =>
      it?.$case === 'placed' ? [Object.keys(it.value.labels).length] : [],
    );
    expect(told).toEqual([64, ...told.slice(1).map(() => 0)]);
    // It goes on all the same.
    const good = await test.connected('good');
    await good.finish(await good.next('offer', executionId));
    expect(await test.state(executionId)).toBe(ExecutionState.SUCCEEDED);
    // Also for who watches it from the store.
    await test.reopen();
    expect((await test.events(executionId)).at(-1)?.event?.$case).toBe('finished');
  });

  it('get them again at once the first time, and then rest, over any connection', async () => {
    const host = await test.connected('host');
    const executionId = await test.place();
    await host.connect();
    await host.next('offer', executionId, 1);
    await host.connect();
    await test.flushed();
    host.disconnect();
    await host.connect();
    await test.flushed();
    expect(host.offered).toHaveLength(2);
    expect(await test.state(executionId)).toBe(ExecutionState.QUEUED);
    const good = await test.connected('good');
    await good.finish(await good.next('offer', executionId));
    expect(await test.state(executionId)).toBe(ExecutionState.SUCCEEDED);
  });

  it('do not lose their rest by refusing something and coming back', async () => {
    const host = await test.connected('host');
    const executionId = await test.place();
    await host.refuse(executionId, 'QUEUE_FULL');
    await host.connect();
    await test.flushed();
    expect(host.offered).toHaveLength(1);
  });

  it('have only so many of their tickets remembered', async () => {
    const host = await test.connected('host', { slots: 2 });
    const executionId = await test.place();
    for (let round = 1; round <= 10; round += 1) {
      await host.connect();
      await host.next('offer', executionId, round);
      const other = await test.place();
      await host.finish(await host.next('offer', other));
    }
    await test.stop();
    expect(withdrawn()).toHaveLength(8);
  });
});

describe('rests', () => {
  it('are kept of so many hosts, and who is forgotten meanwhile comes back from its own', () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    const peerOf = (name: string) =>
      new Peer(test.executor(name).identity, test.executor(name).hello(), {
        send: () => undefined,
        ask: () => undefined,
      });
    const [early, late] = [peerOf('early'), peerOf('late')];
    const peers = new Map([early, late].map((peer) => [peer.id, peer]));
    const rests = new Rests(peers, () => 0, vi.fn());
    for (const peer of [early, early]) rests.add(peer.id);
    for (let i = 0; i < 10_000; i++) rests.add(`spiffe://csc.local/executor/other-${i}`);
    for (const peer of [late, late]) rests.add(peer.id);
    expect([early.paused, late.paused]).toEqual([true, true]);
    // Another connection of each.
    const [again, alike] = [peerOf('early'), peerOf('late')];
    for (const peer of [again, alike]) rests.resume(peer);
    expect([again.paused, alike.paused]).toEqual([false, true]);
    // One loss once more: the first that is known of it.
    rests.add(early.id);
    vi.advanceTimersByTime(60_000);
    expect([early.paused, late.paused, alike.paused]).toEqual([false, false, false]);
  });
});

describe('a host that starts what it came back without', () => {
  let host: ScriptedExecutor;
  let executionId: string;
  let offer: Offer;

  beforeEach(async () => {
    host = await test.connected('host');
    executionId = await test.place();
    offer = await host.next('offer', executionId);
  });

  /** Says that it runs, and brings what it has signed. */
  async function startAllTheSame(): Promise<Buffer> {
    await host.accept(executionId);
    expect(host.all('cancel', executionId).length).toBeGreaterThan(0);
    const receiptJson = host.receipt(offer);
    host.say({
      $case: 'receipt',
      value: { executionId, receiptJson, originalJson: Buffer.alloc(0), outputLogLength: 0 },
    });
    await host.next('receiptAck', executionId);
    expect(test.errors.splice(0)).toMatchObject([{ code: 'TICKET_EXPIRED' }, { code: 'TICKET_EXPIRED' }]);
    return receiptJson;
  }

  it('is told to stop where another has it; its receipt is kept beside the one that counts', async () => {
    await host.connect([], { slots: 0 });
    const good = await test.connected('good');
    const second = await good.next('offer', executionId);
    const receiptJson = await startAllTheSame();
    await good.finish(second);
    expect(await test.receipt(executionId)).toMatchObject({ executor_id: 'good' });
    await test.stop();
    expect(withdrawn()).toEqual([
      { executor_id: host.identity.uri, receipt_json: new Uint8Array(receiptJson) },
    ]);
  });

  it('has its receipt kept for the ticket that it names, not for the last', async () => {
    await host.connect();
    await host.next('offer', executionId, 1);
    await host.connect([], { slots: 0 });
    const good = await test.connected('good');
    await good.finish(await good.next('offer', executionId));
    const receiptJson = await startAllTheSame();
    await test.stop();
    expect(receiptsKept()).toEqual([new Uint8Array(receiptJson)]);
  });

  it('has its receipt kept where the gate had ended it as cancelled', async () => {
    await test.as(agent).cancel({ executionId, gracePeriod: undefined });
    await host.connect();
    await test.flushed();
    expect(await test.state(executionId)).toBe(ExecutionState.CANCELLED);
    const receiptJson = await startAllTheSame();
    expect(await test.receipt(executionId)).toMatchObject({ ended: 'cancelled' });
    await test.stop();
    expect(receiptsKept()).toEqual([new Uint8Array(receiptJson)]);
  });

  it('has its receipt kept where the gate had ended it as expired', async () => {
    host.disconnect();
    await test.waitUntilLost();
    await host.connect();
    await test.flushed();
    expect(await test.state(executionId)).toBe(ExecutionState.EXPIRED);
    const receiptJson = await startAllTheSame();
    await test.stop();
    expect(receiptsKept()).toEqual([new Uint8Array(receiptJson)]);
  });
});
