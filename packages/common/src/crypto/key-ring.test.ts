import { describe, expect, it } from 'vitest';
import { toBase64 } from './base64.ts';
import { generateKeyPair } from './key-format.ts';
import { createKeyRing, type KeyEntry } from './key-ring.ts';
import { parseKeyRing, toKeyRingJson } from './key-ring-file.ts';

const { publicKey, publicPem } = generateKeyPair();
const base64 = toBase64(publicKey);

function parse(document: unknown): ReturnType<typeof parseKeyRing> {
  return parseKeyRing(Buffer.from(JSON.stringify(document)));
}

function paths(document: unknown): string[] {
  const result = parse(document);
  return result.ok ? [] : result.faults.map(({ path }) => path);
}

describe('createKeyRing', () => {
  it('finds keys by id', () => {
    const entry = { keyId: 'a', publicKey };
    const ring = createKeyRing([entry]);
    expect(ring.find('a')).toEqual(entry);
    expect(ring.find('b')).toBeUndefined();
    expect(ring.find('toString')).toBeUndefined();
    expect(ring.entries()).toEqual([entry]);
  });

  it('refuses two keys of one id, even if they are the same', () => {
    const entry = { keyId: 'a', publicKey };
    expect(() => createKeyRing([entry, entry])).toThrowError(
      expect.objectContaining({ code: 'KEY_INVALID' }),
    );
  });
});

describe('the key ring file', () => {
  it('reads back what it writes', () => {
    const entries: KeyEntry[] = [
      { keyId: 'plain', publicKey },
      {
        keyId: 'full',
        publicKey,
        owner: 'spiffe://csc.local/gate/g',
        notBefore: new Date(1000),
        notAfter: new Date(2000),
        revokedAt: new Date(1500),
      },
    ];
    expect(parseKeyRing(Buffer.from(toKeyRingJson(entries)))).toEqual({ ok: true, value: entries });
    expect(parseKeyRing(Buffer.from(toKeyRingJson([])))).toEqual({ ok: true, value: [] });
  });

  it('takes PEM for a public key', () => {
    const result = parse({ keys: [{ key_id: 'a', public_key: publicPem }] });
    expect(result).toEqual({ ok: true, value: [{ keyId: 'a', publicKey }] });
  });

  it('names every fault', () => {
    const keys = [
      { key_id: '', public_key: 'x', extra: 1 },
      { public_key: toBase64(new Uint8Array(32)), owner: 1, not_before: 'now', not_after: null },
      'text',
      { key_id: 'a', public_key: base64, revoked_at: 0 },
      { key_id: 'a', public_key: base64 },
    ];
    expect(paths({ keys })).toEqual([
      'keys[0].key_id',
      'keys[0].public_key',
      'keys[0].extra',
      'keys[1].key_id',
      'keys[1].public_key',
      'keys[1].owner',
      'keys[1].not_before',
      'keys[1].not_after',
      'keys[2]',
      'keys[3].revoked_at',
      'keys[4].key_id',
    ]);
  });

  it.each<[unknown, string]>([
    [[], ''],
    [null, ''],
    [{}, 'keys'],
    [{ keys: {} }, 'keys'],
    [{ keys: [], more: 1 }, 'more'],
  ])('refuses %j', (document, path) => {
    expect(paths(document)).toEqual([path]);
  });

  it('refuses what strict JSON refuses', () => {
    const text = `{"keys":[{"key_id":"a","key_id":"b","public_key":"${base64}"}]}`;
    expect(parseKeyRing(Buffer.from(text))).toMatchObject({
      ok: false,
      faults: [{ path: 'keys[0].key_id' }],
    });
  });
});
