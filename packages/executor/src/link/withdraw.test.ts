import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { toTimestamp } from '@csc-fleet/common/encoding';
import type { Offer } from '@csc-fleet/common/messages';
import type { Launcher } from '@csc-fleet/sandbox/launch';
import { makeContract } from '@csc-fleet/test-kit/contract';
import { openWorkbench, type Workbench } from '@csc-fleet/test-kit/executor/workbench';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { defaultCeiling } from '../admission/host-ceiling.ts';

let bench: Workbench;
let reading: PromiseWithResolvers<void>;
let secret: PromiseWithResolvers<Buffer>;
/** Resolves once something was launched, whose sandbox is there once `built` is resolved. */
let launched: PromiseWithResolvers<void>;
let built: PromiseWithResolvers<void>;
let launches: number;
/** What the host's clock goes on by whenever something is launched. */
let launchMs: number;
let aheadMs: number;
/** Of what was launched last. */
let ended: Promise<unknown>;

// The pauses between an offer and its redeem: a store of secrets, and a sandbox, that take their time.
beforeEach(async () => {
  [reading, launched, built] = [Promise.withResolvers(), Promise.withResolvers(), Promise.withResolvers()];
  secret = Promise.withResolvers();
  [launches, launchMs, aheadMs] = [0, 0, 0];
  const read = (): Promise<Buffer> => {
    reading.resolve();
    return secret.promise;
  };
  bench = await openWorkbench({
    policyLines: ['allow_secret_refs: true'],
    executor: { ceiling: { ...defaultCeiling, inlineCode: true, secrets: ['token'] } },
    deps: {
      secrets: { read },
      wrapLauncher: slowly,
      clock: { now: () => new Date(Date.now() + aheadMs) },
    },
  });
});

function slowly(launcher: Launcher): Launcher {
  return {
    launch(spec) {
      launches += 1;
      const process = launcher.launch(spec);
      ended = process.exited;
      aheadMs += launchMs;
      launched.resolve();
      return { ...process, ready: built.promise.then(() => process.ready) };
    },
    close: () => launcher.close(),
  };
}

afterEach(() => bench.close());

const offer = (argv: readonly string[]): string =>
  bench.gate.offer(
    makeContract(bench.workspace, [{ argv: [...argv], secret_refs: ['token'] }]),
    bench.policy,
  );

it('an offer that was withdrawn before it was redeemed is refused, unsigned: another host may have it', async () => {
  const executionId = offer(['true']);
  built.resolve();
  await reading.promise;
  bench.gate.send({ $case: 'withdraw', value: { executionId } });
  secret.resolve(Buffer.from('a-secret'));
  const refused = await bench.gate.next('refused', executionId);
  expect([refused.reason, refused.receiptJson.length]).toEqual(['TICKET_REVOKED', 0]);
  expect(bench.gate.all('accepted')).toEqual([]);
  // Nothing is made for what is not to be.
  expect(launches).toBe(0);
});

it('so is one that was withdrawn while its sandbox was made', async () => {
  const executionId = bench.gate.offer(makeContract(bench.workspace, [{ argv: ['true'] }]), bench.policy);
  await launched.promise;
  bench.gate.send({ $case: 'withdraw', value: { executionId } });
  built.resolve();
  const refused = await bench.gate.next('refused', executionId);
  expect([refused.reason, refused.receiptJson.length]).toEqual(['TICKET_REVOKED', 0]);
});

it('of those that cost it something and come to nothing, it takes so many', async () => {
  built.resolve();
  secret.resolve(Buffer.from('a-secret'));
  const inVain = async (): Promise<string> => {
    const executionId = offer(['true']);
    bench.gate.send({ $case: 'withdraw', value: { executionId } });
    return (await bench.gate.next('refused', executionId)).reason;
  };
  const most = 200;
  let count = 0;
  while (count < most && (await inVain()) === 'TICKET_REVOKED') count += 1;
  expect(count).toBeGreaterThanOrEqual(64);
  expect(count).toBeLessThan(most);
  expect(await inVain()).toBe('QUEUE_FULL');
  // What it runs costs nothing of that, and a while later it takes more.
  const later = performance.now() + 3000;
  const now = vi.spyOn(performance, 'now').mockImplementation(() => later);
  const contract = makeContract(bench.workspace, [{ argv: ['true'] }]);
  for (let run = 0; run < 4; run += 1) {
    const { status } = await bench.gate.receipt(bench.gate.offer(contract, bench.policy));
    expect(status).toBe('success');
  }
  now.mockRestore();
});

it('one that was withdrawn after that runs all the same', async () => {
  built.resolve();
  const contract = makeContract(bench.workspace, [{ argv: ['sleep', '0.2'] }]);
  const executionId = bench.gate.offer(contract, bench.policy);
  await bench.gate.next('accepted', executionId);
  bench.gate.send({ $case: 'withdraw', value: { executionId } });
  expect((await bench.gate.receipt(executionId)).status).toBe('success');
});

it('a ticket that is over is refused unsigned, too', async () => {
  const ago = (seconds: number): string => toTimestamp(new Date(Date.now() - 1000 * seconds));
  const ticket = { not_before: ago(50), expires_at: ago(1) };
  const contract = makeContract(bench.workspace, [{ argv: ['true'] }]);
  const refused = await bench.gate.next('refused', bench.gate.offer(contract, bench.policy, { ticket }));
  expect([refused.reason, refused.receiptJson.length]).toEqual(['TICKET_EXPIRED', 0]);
});

describe('an offer that the gate is yet to write down', () => {
  const ahead = (offer: Offer, number: number): void =>
    bench.gate.send({ $case: 'offer', value: { ...offer, number } });
  const confirm = (number: number, isVoid = false): void =>
    bench.gate.send({ $case: 'confirm', value: { number, void: isVoid } });
  const mint = (program: string): Offer =>
    bench.gate.mint(makeContract(bench.workspace, [{ argv: [program] }]), bench.policy);
  const said = (executionId: string) =>
    (['accepted', 'refused', 'receipt'] as const).flatMap((kind) => bench.gate.all(kind, executionId));
  const isJournalled = (executionId: string): boolean => {
    const database = new DatabaseSync(join(bench.stateDir, 'journal.sqlite'), { readOnly: true });
    try {
      return (
        database.prepare('SELECT 1 FROM executions WHERE execution_id = ?').get(executionId) !== undefined
      );
    } finally {
      database.close();
    }
  };
  /** Another one runs from its offer to its receipt: whatever was to become of those before it has. */
  const another = async (): Promise<void> => {
    const contract = makeContract(bench.workspace, [{ argv: ['true'] }]);
    const receipt = await bench.gate.receipt(bench.gate.offer(contract, bench.policy));
    expect(isJournalled(receipt.execution_id)).toBe(true);
  };
  const untouched = (executionId: string): void => {
    expect(said(executionId)).toEqual([]);
    expect(isJournalled(executionId)).toBe(false);
  };

  beforeEach(() => built.resolve());

  it('is built, and redeemed once it is written down', async () => {
    const offer = mint('true');
    ahead(offer, 1);
    await launched.promise;
    await another();
    untouched(offer.executionId);
    confirm(1);
    expect((await bench.gate.receipt(offer.executionId)).status).toBe('success');
  });

  it('runs nothing where it was cancelled before that, and has its receipt once it is written down', async () => {
    const offer = mint('true');
    ahead(offer, 1);
    await launched.promise;
    const gracePeriod = { seconds: 60, nanos: 0 };
    bench.gate.send({ $case: 'cancel', value: { executionId: offer.executionId, gracePeriod } });
    await another();
    untouched(offer.executionId);
    confirm(1);
    const receipt = await bench.gate.receipt(offer.executionId);
    expect(receipt).toMatchObject({
      status: 'blocked',
      ended: 'cancelled',
      commands: [{ ended: 'cancelled' }],
    });
    expect(bench.gate.all('commandStarted', offer.executionId)).toEqual([]);
  });

  it('is not refused before that, nor is anything signed of it', async () => {
    const [offer, twice] = [mint('not-of-the-policy'), mint('true')];
    ahead(offer, 1);
    ahead(twice, 2);
    ahead(twice, 3);
    await another();
    untouched(offer.executionId);
    untouched(twice.executionId);
    confirm(1);
    expect((await bench.gate.receipt(offer.executionId)).status).toBe('blocked');
    confirm(3);
    expect((await bench.gate.next('refused', twice.executionId)).reason).toBe('TICKET_REPLAYED');
    confirm(2);
    await bench.gate.next('receipt', twice.executionId);
  });

  it('keeps nothing of this host once its ticket has ended, nor for what is to be refused', async () => {
    const contract = makeContract(bench.workspace, [{ argv: ['sleep', '60'] }]);
    const late = bench.gate.mint(contract, bench.policy);
    // As long as any ticket is good for.
    launchMs = 60_000;
    ahead(late, 1);
    ahead(mint('not-of-the-policy'), 2);
    await launched.promise;
    await ended;
    expect(bench.executor).toMatchObject({ running: 0 });
    untouched(late.executionId);
    confirm(1);
    const refused = await bench.gate.next('refused', late.executionId);
    expect([refused.reason, refused.receiptJson.length]).toEqual(['TICKET_EXPIRED', 0]);
  });

  it('ends a connection over which it never is, so that nobody waits for it for ever', async () => {
    const hangUp = vi.fn();
    const connection = bench.executor.connect((message) => bench.gate.receive(message), hangUp);
    bench.gate.welcome((message) => connection.receive(message));
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    const offers = [mint('true'), mint('not-of-the-policy')];
    for (const [index, offer] of offers.entries()) ahead(offer, index);
    vi.advanceTimersByTime(120_000);
    vi.useRealTimers();
    expect(hangUp).toHaveBeenCalledOnce();
    await bench.executor.drain();
    for (const { executionId } of offers) untouched(executionId);
  });

  it.each([
    ['the gate says that it was not', () => confirm(1, true)],
    ['there is another connection', () => bench.gate.connect(bench.executor)],
    ['another has its number', () => ahead(mint('true'), 1)],
  ])('never was where %s, and its ticket is as good as new', async (_, end) => {
    for (const program of ['true', 'not-of-the-policy']) {
      const offer = mint(program);
      ahead(offer, 1);
      await another();
      end();
      expect(bench.gate.all('hello').at(-1)?.executionIds).not.toContain(offer.executionId);
      // Too late: it is of no offer that there is.
      confirm(1);
      await another();
      untouched(offer.executionId);
      bench.gate.send({ $case: 'offer', value: offer });
      expect((await bench.gate.receipt(offer.executionId)).status).toBe(
        program === 'true' ? 'success' : 'blocked',
      );
    }
  });
});
