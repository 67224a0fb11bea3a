import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { connect } from 'node:http2';
import { setTimeout as delay } from 'node:timers/promises';
import { ServedGate, TestPki } from '@csc-fleet/test-kit/gate/served-gate';
import { TestGate } from '@csc-fleet/test-kit/gate/test-gate';
import { expect, it, onTestFinished } from 'vitest';

it('ends an executor’s connection with its certificate, and lets nobody call on one that has outlived it', async () => {
  const pki = await TestPki.make();
  const test = await TestGate.open();
  const served = await ServedGate.start(test.gate, pki);
  onTestFinished(async () => {
    await served.stop();
    await test.close();
    pki.remove();
  });
  await pki.issueBrief(3_000);
  const opened = (name: string) => {
    const { ca, cert, key } = pki.files(name);
    const pem = { ca: readFileSync(ca), cert: readFileSync(cert), key: readFileSync(key) };
    const session = connect(`https://localhost:${served.server.port}`, pem);
    onTestFinished(() => session.destroy());
    session.on('error', () => undefined);
    return session;
  };
  const [brief, lasting] = [opened('client-brief'), opened('client-agent')];
  const executor = served.link('executor-brief').connect();
  const inTime = (it: Promise<unknown>) =>
    Promise.race([it.then(() => 'ended'), delay(10_000, 'stayed', { ref: false })]);
  const ends = [inTime(once(brief, 'goaway')), inTime(once(executor, 'error'))];
  expect(await Promise.all(ends)).toEqual(['ended', 'ended']);
  expect(brief.closed).toBe(true);
  expect(lasting.closed).toBe(false);
  expect(lasting.destroyed).toBe(false);
});
