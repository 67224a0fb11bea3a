import { readFileSync } from 'node:fs';
import { connect } from 'node:http2';
import { PushOutputRequest } from '@csc-fleet/common/rpc';
import { makeContract } from '@csc-fleet/test-kit/gate/contracts';
import { toTransport } from '@csc-fleet/test-kit/gate/grpc-calls';
import { ScriptedExecutor } from '@csc-fleet/test-kit/gate/scripted-executor';
import { ServedGate, TestPki } from '@csc-fleet/test-kit/gate/served-gate';
import { TestGate } from '@csc-fleet/test-kit/gate/test-gate';
import { expect, it, vi } from 'vitest';

const pushes = 300;

function toMessage(executionId: string): Buffer {
  const message = { executionId, logOffset: 0, frames: Buffer.alloc(0) };
  const bytes = PushOutputRequest.encode(message).finish();
  const head = Buffer.alloc(5);
  head.writeUInt32BE(bytes.length, 1);
  return Buffer.concat([head, bytes]);
}

it('an executor that takes no answers to its output is read from again once it does', async () => {
  const pki = await TestPki.make();
  const test = await TestGate.open();
  const served = await ServedGate.start(test.gate, pki);
  const append = vi.spyOn(test.gate.output, 'append');
  const transport = toTransport(served.link('executor-host'));
  const policySha256s = test.policies.all().map((it) => it.sha256);
  const host = new ScriptedExecutor(() => transport, { name: 'host', clock: test.clock, policySha256s });
  await host.connect();
  const { executionId } = await test.submit(makeContract());
  await host.next('offer', executionId);
  await host.accept(executionId);

  const { ca, cert, key } = pki.files('executor-host');
  const [caPem, certPem, keyPem] = [ca, cert, key].map((it) => readFileSync(it));
  const session = connect(`https://${served.address}`, {
    ca: caPem,
    cert: certPem,
    key: keyPem,
    // No room for a single answer.
    settings: { initialWindowSize: 0 },
  });
  const call = session.request({
    ':method': 'POST',
    ':path': '/csc.link.v1.ExecutorLink/PushOutput',
    'content-type': 'application/grpc',
    te: 'trailers',
  });
  call.resume();
  call.write(toMessage(executionId));
  for (let i = 0; i < pushes; i += 1) call.write(toMessage(''));
  while (append.mock.calls.length < 10) await host.settled();
  // Far longer than it takes to read them all.
  for (let i = 0; i < 200; i += 1) await host.settled();
  const takenUnread = append.mock.calls.length;
  session.settings({ initialWindowSize: 65_535 });
  while (append.mock.calls.length < pushes) await host.settled();
  session.destroy();
  await served.stop();
  await test.close();
  pki.remove();
  expect(takenUnread).toBeLessThan(50);
  expect(test.errors).toEqual([]);
});
