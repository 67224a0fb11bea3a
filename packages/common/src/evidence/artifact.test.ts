import { describe, expect, it } from 'vitest';
import { createKeyRing, type KeyEntry } from '../crypto/key-ring.ts';
import { nobleEd25519 } from '../crypto/noble-ed25519.ts';
import { createSigner } from '../crypto/signer.ts';
import { canonicalJson, type EncodableObject, type JsonObject, type JsonValue } from '../encoding/index.ts';
import type { Signature } from '../schema/index.ts';
import { signObject, verifyArtifact } from './artifact.ts';

const signer = createSigner(new Uint8Array(32).fill(3), 'gate-1');
const now = new Date('2026-03-23T12:00:00.500Z');
const artifact = { version: 'csc.test', list: [1, { b: 'ü', a: true }], empty: {} };

function ring(changes: Partial<KeyEntry> = {}): ReturnType<typeof createKeyRing> {
  return createKeyRing([{ keyId: 'gate-1', publicKey: signer.publicKey, ...changes }]);
}

function signed(value: object = artifact): JsonObject & { signature: Signature & JsonObject } {
  return JSON.parse(signObject(value as EncodableObject, signer, now).toString()) as JsonObject & {
    signature: Signature & JsonObject;
  };
}

function codeOf(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    return error instanceof Error && 'code' in error ? String(error.code) : 'another error';
  }
  return 'no error';
}

describe('signObject', () => {
  it.each([
    {},
    { a: 1 },
    { zeta: 1 },
    {
      signatura: 1,
      signature: { key_id: 'not this one' },
      signature2: { signature: {} },
      'signature ': null,
    },
    { '\u{1f600}': 1, '\uffff': 2, sign: undefined, é: [null, { signature: 'x' }] },
  ])('gives canonical JSON, whatever stands around the signature: %o', (object) => {
    const text = signObject(object as EncodableObject, signer, now).toString();
    const { signature, ...rest } = JSON.parse(text);
    expect(text).toBe(canonicalJson({ ...object, signature } as EncodableObject));
    expect(rest).toEqual(JSON.parse(canonicalJson({ ...object, signature: undefined } as EncodableObject)));
    expect(() => verifyArtifact(JSON.parse(text), ring())).not.toThrow();
  });

  it('adds a signature that verifies, and leaves its input as it is', () => {
    const before = structuredClone(artifact);
    const result = signed();
    expect(artifact).toEqual(before);
    expect(result).toMatchObject(artifact);
    expect(result.signature).toMatchObject({
      algorithm: 'ed25519',
      key_id: 'gate-1',
      signed_at: '2026-03-23T12:00:00.500Z',
    });
    expect(verifyArtifact(result, ring())).toEqual(result.signature);
    expect(verifyArtifact(result, ring(), nobleEd25519)).toEqual(result.signature);
  });

  it('is deterministic, whatever the order of members', () => {
    expect(signed({ b: 1, a: 2 }).signature).toEqual(signed({ a: 2, b: 1 }).signature);
  });

  it('leaves out null and undefined members, at every depth', () => {
    const result = signed({ a: null, b: undefined, c: { d: null, e: 1 }, f: [null] });
    expect(result).toEqual({ c: { e: 1 }, f: [null], signature: result.signature });
    expect(codeOf(() => verifyArtifact(result, ring()))).toBe('no error');
  });

  it('replaces a signature', () => {
    const other = createSigner(new Uint8Array(32).fill(4), 'other');
    const first = JSON.parse(signObject(artifact, other, now).toString()) as JsonObject;
    expect(signed(first)).toEqual(signed());
  });

  it.each([{ a: 1.5 }, { a: '\ud800' }, { a: new Date() }, { a: 1n }])(
    'refuses what is not JSON of ours: %o',
    (value) => {
      expect(codeOf(() => signed(value))).toBe('ENCODING_INVALID');
    },
  );
});

describe('verifyArtifact', () => {
  it('takes a receipt that the Python reference signed: nulls, non-ASCII text, microseconds', () => {
    const text =
      '{"receipt_version": "csc.receipt.v0.1", "contract_id": "größe-контракт-😀", "execution_id": "exec_1", ' +
      `"contract_sha256": "${'a'.repeat(64)}", "status": "success", ` +
      '"started_at": "2026-03-23T12:34:56.123456+00:00", "ended_at": "2026-03-23T12:34:57+00:00", ' +
      `"policy_profile": "p", "exit_code": 0, "stdout_hash": "sha256:${'b'.repeat(64)}", ` +
      `"stderr_hash": "sha256:${'c'.repeat(64)}", "artifacts": [], "failed_command_id": null, "error": null, ` +
      '"effect_summary": {"files_written": 0, "network_used": false, "secrets_used": false}, ' +
      '"completed_command_ids": ["c1"], "signature": {"algorithm": "ed25519", "key_id": "test-key-001", ' +
      '"signed_at": "2026-03-23T12:34:57.000001+00:00", "signature": ' +
      '"12J69MM+guN8l46u9KmNqENXwnahFixb8EsCwMRL7IwwwpmGA1KgJg12TN5wolNONZT9ZFqOmNAHzfNc/qduAw=="}}';
    const publicKey = Buffer.from('03a107bff3ce10be1d70dd18e74bc09967e4d6309ba50d5f1ddc8664125531b8', 'hex');
    const keys = createKeyRing([{ keyId: 'test-key-001', publicKey }]);
    const receipt = JSON.parse(text) as JsonObject;
    expect(verifyArtifact(receipt, keys).key_id).toBe('test-key-001');
    const { failed_command_id: _, ...withoutNull } = receipt;
    expect(codeOf(() => verifyArtifact(withoutNull, keys))).toBe('SIGNATURE_INVALID');
  });

  it("refuses any change of the content or of the signature's own members", () => {
    const good = signed();
    const changes: JsonObject[] = [
      { ...good, version: 'csc.other' },
      { ...good, more: 1 },
      { ...good, nothing: null },
      { ...good, list: [{ b: 'ü', a: true }, 1] },
      { ...good, signature: { ...good.signature, signed_at: '2026-03-23T12:00:00.501Z' } },
      { ...good, signature: { ...good.signature, key_id: 'gate-2' } },
    ];
    const keys = createKeyRing([
      { keyId: 'gate-1', publicKey: signer.publicKey },
      { keyId: 'gate-2', publicKey: signer.publicKey },
    ]);
    for (const changed of changes)
      expect(codeOf(() => verifyArtifact(changed, keys))).toBe('SIGNATURE_INVALID');
  });

  it.each<[string, (good: Signature & JsonObject) => JsonValue | undefined]>([
    ['no signature', () => undefined],
    ['null', () => null],
    ['an array', () => []],
    ['a text', () => 'x'],
    ['another algorithm', (it) => ({ ...it, algorithm: 'Ed25519' })],
    ['no algorithm', ({ algorithm: _, ...it }) => it],
    ['no key id', ({ key_id: _, ...it }) => it],
    ['an empty key id', (it) => ({ ...it, key_id: '' })],
    ['no time', ({ signed_at: _, ...it }) => it],
    ['a time that is none', (it) => ({ ...it, signed_at: 'yesterday' })],
    ['a member that is not known', (it) => ({ ...it, extra: 1 })],
    ['a null member that is not known', (it) => ({ ...it, extra: null })],
    ['no signature text', ({ signature: _, ...it }) => it],
    ['an empty signature', (it) => ({ ...it, signature: '' })],
    ['a signature that is too short', (it) => ({ ...it, signature: it.signature.slice(4) })],
    ['base64 without padding', (it) => ({ ...it, signature: it.signature.replaceAll('=', '') })],
    ['base64 with a newline', (it) => ({ ...it, signature: `${it.signature}\n` })],
    ['base64url', (it) => ({ ...it, signature: Buffer.alloc(64, 0xfb).toString('base64url') })],
    ['base64 with bits behind the end', (it) => ({ ...it, signature: it.signature.replace(/.==$/, 'h==') })],
  ])('refuses %s', (_, change) => {
    const good = signed();
    const { signature: __, ...rest } = good;
    const signature = change(good.signature);
    const changed = signature === undefined ? rest : { ...rest, signature };
    expect(codeOf(() => verifyArtifact(changed as JsonObject, ring()))).toBe('SIGNATURE_INVALID');
  });

  it('refuses a payload without a canonical form', () => {
    expect(codeOf(() => verifyArtifact({ ...signed(), n: 1.5 }, ring()))).toBe('SIGNATURE_INVALID');
  });

  it('refuses an unknown key, a revoked one, and one outside of its time', () => {
    const good = signed();
    const before = new Date(now.getTime() - 1);
    const after = new Date(now.getTime() + 1);
    expect(codeOf(() => verifyArtifact(good, createKeyRing([])))).toBe('KEY_UNKNOWN');
    expect(codeOf(() => verifyArtifact(good, ring({ revokedAt: after })))).toBe('KEY_REVOKED');
    expect(codeOf(() => verifyArtifact(good, ring({ revokedAt: new Date(0) })))).toBe('KEY_REVOKED');
    expect(codeOf(() => verifyArtifact(good, ring({ notBefore: after })))).toBe('KEY_EXPIRED');
    expect(codeOf(() => verifyArtifact(good, ring({ notAfter: before })))).toBe('KEY_EXPIRED');
    expect(codeOf(() => verifyArtifact(good, ring({ notBefore: now, notAfter: now })))).toBe('no error');
  });

  it('refuses the signature of another key', () => {
    const other = createSigner(new Uint8Array(32).fill(4), 'gate-1');
    expect(codeOf(() => verifyArtifact(signed(), ring({ publicKey: other.publicKey })))).toBe(
      'SIGNATURE_INVALID',
    );
  });
});
