import { connect, createSeenLogs, type GateClient, type LogOptions, type SeenLogs } from '@csc-fleet/client';
import { createSigner, generateKeyPair } from '@csc-fleet/common/crypto';
import { formatVkey, parseCheckpoint } from '@csc-fleet/common/tlog';
import { makeContract } from '@csc-fleet/test-kit/gate/contracts';
import type { ScriptedExecutor } from '@csc-fleet/test-kit/gate/scripted-executor';
import { ServedGate, TestPki } from '@csc-fleet/test-kit/gate/served-gate';
import { logOrigin, TestGate } from '@csc-fleet/test-kit/gate/test-gate';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';

// A gate with its real keys, which shows its clients a log that it should not.

let pki: TestPki;

beforeAll(async () => {
  pki = await TestPki.make();
});

afterAll(() => pki.remove());

const logSigner = createSigner(generateKeyPair().seed, logOrigin);
const vkey = formatVkey({ name: logOrigin, type: 'ed25519', publicKey: logSigner.publicKey });

interface Stage {
  readonly test: TestGate;
  readonly executor: ScriptedExecutor;
  /** A client of this gate that demands its log. */
  client(log?: Partial<LogOptions>): GateClient;
  /** Something that has run, with its receipt at the gate. */
  ran(): Promise<string>;
}

async function stage(): Promise<Stage> {
  const test = await TestGate.open({ log: logSigner });
  onTestFinished(() => test.close());
  // What ended long ago would be an earlier run's.
  test.clock.advance(Date.now() - test.clock.now().getTime());
  const served = await ServedGate.start(test.gate, pki);
  onTestFinished(() => served.stop());
  const executor = await test.connected('e1', {
    slots: 9,
    onMessage: (message) => {
      if (message.$case !== 'offer') return;
      const { executionId } = message.value;
      void executor.accept(executionId).then(() => executor.finish(message.value));
    },
  });
  return {
    test,
    executor,
    ran: async () => {
      const { executionId } = await test.submit(makeContract());
      await executor.next('receiptAck', executionId);
      return executionId;
    },
    client: (log = {}) => {
      const client = connect({
        address: served.address,
        tls: pki.files('client-agent'),
        log: { vkey, ...log },
      });
      onTestFinished(() => client.close());
      return client;
    },
  };
}

const sizeOf = async (seen: SeenLogs): Promise<number> => {
  const { checkpoint = '' } = await seen.seenOf(logOrigin);
  const parsed = parseCheckpoint(Buffer.from(checkpoint));
  return parsed.ok ? parsed.value.checkpoint.size : -1;
};

describe('a log of receipts', () => {
  it('has the receipt of every run, which the client sees proven, and remembers', async () => {
    const { client, ran } = await stage();
    const seen = createSeenLogs();
    const one = client({ seen });
    for (const size of [1, 2, 3]) {
      const { receipt } = await one.getReceipt(await ran());
      expect(receipt.status).toBe('success');
      expect(await sizeOf(seen)).toBe(size);
    }
    expect((await seen.seenOf(logOrigin)).owed).toEqual([]);
  });
});
