import { toTimestamp } from '@csc-fleet/common/encoding';
import { makeContract } from '@csc-fleet/test-kit/contract';
import { openWorkbench, type Workbench } from '@csc-fleet/test-kit/executor/workbench';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { defaultCeiling } from '../admission/host-ceiling.ts';

let bench: Workbench;
let reading: PromiseWithResolvers<void>;
let secret: PromiseWithResolvers<Buffer>;

// The only pause between an offer and its redeem: a store of secrets that takes its time.
beforeEach(async () => {
  reading = Promise.withResolvers();
  secret = Promise.withResolvers();
  const read = (): Promise<Buffer> => {
    reading.resolve();
    return secret.promise;
  };
  bench = await openWorkbench({
    policyLines: ['allow_secret_refs: true'],
    executor: { ceiling: { ...defaultCeiling, inlineCode: true, secrets: ['token'] } },
    deps: { secrets: { read } },
  });
});

afterEach(() => bench.close());

const offer = (argv: readonly string[]): string =>
  bench.gate.offer(
    makeContract(bench.workspace, [{ argv: [...argv], secret_refs: ['token'] }]),
    bench.policy,
  );

it('an offer that was withdrawn before it was redeemed is refused, unsigned: another host may have it', async () => {
  const executionId = offer(['true']);
  await reading.promise;
  bench.gate.send({ $case: 'withdraw', value: { executionId } });
  secret.resolve(Buffer.from('a-secret'));
  const refused = await bench.gate.next('refused', executionId);
  expect([refused.reason, refused.receiptJson.length]).toEqual(['TICKET_REVOKED', 0]);
  expect(bench.gate.all('accepted')).toEqual([]);
});

it('one that was withdrawn after that runs all the same', async () => {
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
