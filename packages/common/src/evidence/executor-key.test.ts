import { describe, expect, it } from 'vitest';
import { createSigner, generateKeyPair, toBase64 } from '../crypto/index.ts';
import type { EncodableObject } from '../encoding/index.ts';
import { signExecutorKey, signObject, verifyExecutorKey } from './index.ts';

const now = new Date('2026-01-01T00:00:00Z');
const executor = 'spiffe://csc.local/executor/host';
const signer = createSigner(generateKeyPair().seed, 'host-key');
const stranger = createSigner(generateKeyPair().seed, 'host-key');
const claim = { executor, keyId: signer.keyId, publicKey: signer.publicKey };

const refused = expect.objectContaining({ code: 'CREDENTIALS_INVALID' });

/** Any members, really signed. */
function signed(members: EncodableObject, by = signer): Buffer {
  const statement = {
    executor_key_version: 'csc.executor-key.v0.1',
    executor,
    key_id: signer.keyId,
    public_key: toBase64(signer.publicKey),
    ...members,
  };
  return signObject(statement, by, now);
}

describe('the statement of an executor key', () => {
  it('is proof for this executor and this key', () => {
    expect(() => verifyExecutorKey(signExecutorKey(executor, signer, now), claim)).not.toThrow();
    expect(() => verifyExecutorKey(signed({}), claim)).not.toThrow();
  });

  it.each<[string, Buffer]>([
    ['is not there', Buffer.alloc(0)],
    ['is no JSON', Buffer.from('x')],
    ['is of another executor', signed({ executor: 'spiffe://csc.local/executor/other' })],
    [
      'is of its namesake in another trust domain',
      signed({ executor: 'spiffe://other.example/executor/host' }),
    ],
    ['is of a gate', signed({ executor: 'spiffe://csc.local/gate/host' })],
    ['is of another key id', signed({ key_id: 'other-key' })],
    ['is of another key', signed({ public_key: toBase64(stranger.publicKey) })],
    ['has another form of the key', signed({ public_key: toBase64(signer.publicKey).replace('=', '') })],
    ['is signed by another key of the same id', signed({}, stranger)],
    ['is another artifact', signed({ executor_key_version: 'csc.ticket.v0.1' })],
    ['says more', signed({ more: true })],
  ])('proves nothing where it %s', (_, bytes) => {
    expect(() => verifyExecutorKey(bytes, claim)).toThrow(refused);
  });

  it('proves nothing once it was changed', () => {
    const text = signExecutorKey(executor, signer, now).toString();
    const changed = Buffer.from(text.replace('2026-01-01', '2026-01-02'));
    expect(() => verifyExecutorKey(changed, claim)).toThrow(refused);
  });
});
