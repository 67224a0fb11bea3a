import { toTimestamp } from '@csc-fleet/common/encoding';
import type { Launcher } from '@csc-fleet/sandbox/launch';
import { makeContract } from '@csc-fleet/test-kit/contract';
import { openWorkbench, type Workbench } from '@csc-fleet/test-kit/executor/workbench';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { defaultCeiling } from '../admission/host-ceiling.ts';

let bench: Workbench;
let reading: PromiseWithResolvers<void>;
let secret: PromiseWithResolvers<Buffer>;
/** Resolves once something was launched, whose sandbox is there once `built` is resolved. */
let launched: PromiseWithResolvers<void>;
let built: PromiseWithResolvers<void>;
let launches: number;

// The pauses between an offer and its redeem: a store of secrets, and a sandbox, that take their time.
beforeEach(async () => {
  [reading, launched, built] = [Promise.withResolvers(), Promise.withResolvers(), Promise.withResolvers()];
  secret = Promise.withResolvers();
  launches = 0;
  const read = (): Promise<Buffer> => {
    reading.resolve();
    return secret.promise;
  };
  bench = await openWorkbench({
    policyLines: ['allow_secret_refs: true'],
    executor: { ceiling: { ...defaultCeiling, inlineCode: true, secrets: ['token'] } },
    deps: { secrets: { read }, wrapLauncher: slowly },
  });
});

function slowly(launcher: Launcher): Launcher {
  return {
    launch(spec) {
      launches += 1;
      const process = launcher.launch(spec);
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
