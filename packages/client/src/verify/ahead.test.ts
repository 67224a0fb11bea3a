import { createKeyRing, createSigner, generateKeyPair } from '@csc-fleet/common/crypto';
import type { ExpectedReceipt } from '@csc-fleet/common/evidence';
import { scriptedReceipt } from '@csc-fleet/test-kit/client/scripted-execution';
import { beforeEach, describe, expect, it } from 'vitest';
import { ReceiptAhead } from './ahead.ts';

const signer = createSigner(generateKeyPair().seed, 'key-1');
const owner = 'spiffe://csc.local/executor/host-1';
const ring = createKeyRing([{ keyId: signer.keyId, publicKey: signer.publicKey, owner }]);
const contractSha256 = 'a'.repeat(64);
const expected: ExpectedReceipt = { contractSha256, executionId: 'exec-1', host: undefined };
const texts = { receiptJson: scriptedReceipt({ contractSha256 }, signer), originalJson: Buffer.alloc(0) };

let asked: number;
let ahead: ReceiptAhead;

beforeEach(() => {
  asked = 0;
  ahead = new ReceiptAhead({
    ringFor: async () => {
      asked += 1;
      return ring;
    },
  });
});

describe('a receipt that is looked at before it counts', () => {
  it('is what it was, where the same one counts and the same is expected of it', async () => {
    ahead.begin(texts, expected);
    const same = { receiptJson: Buffer.from(texts.receiptJson) };
    expect((await ahead.of(same, { ...expected }))?.genuine).toMatchObject({
      receipt: { status: 'success' },
      keyId: 'key-1',
      owner,
    });
    expect(asked).toBe(1);
  });

  it('is looked at anew where another one counts, or other things are expected', async () => {
    ahead.begin(texts, expected);
    const other = scriptedReceipt({ contractSha256, receipt: { exit_code: 1 } }, signer);
    expect(await ahead.of({ receiptJson: other }, expected)).toBeUndefined();
    expect(await ahead.of({ ...texts, originalJson: other }, expected)).toBeUndefined();
    for (const changed of [{ host: 'host-2' }, { executionId: 'exec-2' }, { endedAfter: new Date(0) }])
      expect(await ahead.of(texts, { ...expected, ...changed })).toBeUndefined();
  });

  it('is looked at anew where it was wrong, and where there was none', async () => {
    expect(await ahead.of(texts, expected)).toBeUndefined();
    const forged = scriptedReceipt({ contractSha256 }, createSigner(generateKeyPair().seed, 'key-1'));
    ahead.begin({ receiptJson: forged }, expected);
    expect(await ahead.of({ receiptJson: forged }, expected)).toBeUndefined();
  });

  it('is the first that was shown, and no other is looked at', async () => {
    ahead.begin(texts, expected);
    const other = scriptedReceipt({ contractSha256, receipt: { exit_code: 1 } }, signer);
    ahead.begin({ receiptJson: other }, expected);
    expect(await ahead.of({ receiptJson: other }, expected)).toBeUndefined();
    expect([await ahead.of(texts, expected), asked]).toEqual([expect.anything(), 1]);
  });
});
