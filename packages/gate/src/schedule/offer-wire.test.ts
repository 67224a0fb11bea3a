import { ExecutionState } from '@csc-fleet/common/messages';
import { makeContract } from '@csc-fleet/test-kit/gate/contracts';
import { openGateForEach } from '@csc-fleet/test-kit/gate/each-test';
import { toTransport } from '@csc-fleet/test-kit/gate/grpc-calls';
import { ScriptedExecutor } from '@csc-fleet/test-kit/gate/scripted-executor';
import { ServedGate, TestPki } from '@csc-fleet/test-kit/gate/served-gate';
import type { TestGate } from '@csc-fleet/test-kit/gate/test-gate';
import { afterEach, beforeEach, expect, it } from 'vitest';

let pki: TestPki;
let test: TestGate;
let served: ServedGate;

openGateForEach((it) => {
  test = it;
});

beforeEach(async () => {
  pki = await TestPki.make();
  served = await ServedGate.start(test.gate, pki);
});

afterEach(async () => {
  await served.stop();
  pki.remove();
});

async function connected(name: string): Promise<ScriptedExecutor> {
  const transport = toTransport(served.link(`executor-${name}`));
  const policySha256s = test.policies.all().map((it) => it.sha256);
  const executor = new ScriptedExecutor(() => transport, { name, clock: test.clock, policySha256s });
  await executor.connect();
  return executor;
}

it('a host that says nothing at all, over a connection that works, loses its offer to another', async () => {
  const silent = await connected('host');
  const { executionId } = await test.submit(makeContract());
  await silent.next('offer', executionId);
  const good = await connected('second');
  test.clock.advance(5_000);
  await test.sweep();
  await silent.next('withdraw', executionId);
  expect(good.offered).toEqual([]);
  test.clock.advance(12_000);
  // A real PING goes to the host and comes back meanwhile.
  while (good.offered.length === 0) await test.sweep();
  await good.accept(executionId);
  await good.finish(await good.next('offer', executionId));
  expect(await test.state(executionId)).toBe(ExecutionState.SUCCEEDED);
  expect(silent.offered).toEqual([executionId]);
});
