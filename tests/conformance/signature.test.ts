import { createKeyRing, createSigner, parseKeyRing } from '@csc-fleet/common/crypto';
import { canonicalBytes, type JsonObject, type JsonValue } from '@csc-fleet/common/encoding';
import { orThrow } from '@csc-fleet/common/errors';
import { signObject, verifyArtifact } from '@csc-fleet/common/evidence';
import { receiptFromJson } from '@csc-fleet/common/receipt';
import { ticketFromJson } from '@csc-fleet/common/ticket';
import { readFixture } from '@csc-fleet/test-kit/conformance/fixture';
import { describe, expect, it } from 'vitest';

interface SignedFile {
  readonly keys: JsonValue;
  readonly verify: readonly { says: string; artifact: JsonObject; code?: string }[];
  readonly seed_hex: string;
  readonly key_id: string;
  readonly signed_at: string;
  readonly sign: readonly { says: string; artifact: JsonObject; signed: JsonObject }[];
}

// Signed by another implementation (Python's cryptography).
const file = readFixture<SignedFile>('signed.json');
const entries = orThrow(
  parseKeyRing(Buffer.from(JSON.stringify({ keys: file.keys }))),
  'KEY_INVALID',
  'the fixture',
);
const keys = createKeyRing(entries);

describe('verifying (protocol §5)', () => {
  it.each(file.verify.filter(({ code }) => code === undefined))('accepts $says', ({ artifact }) => {
    expect(verifyArtifact(artifact, keys)).toEqual(artifact['signature']);
  });

  it.each(file.verify.filter(({ code }) => code !== undefined))('refuses $says', ({ artifact, code }) => {
    expect(() => verifyArtifact(artifact, keys)).toThrow(expect.objectContaining({ code }));
  });
});

describe('signing (protocol §5)', () => {
  const signer = createSigner(Buffer.from(file.seed_hex, 'hex'), file.key_id);

  it.each(file.sign)('$says', ({ artifact, signed }) => {
    expect(signObject(artifact, signer, new Date(file.signed_at))).toEqual(canonicalBytes(signed));
  });

  it('separates the domains: what verifies as a receipt is no ticket, and the other way round', () => {
    for (const { signed } of file.sign) {
      const kinds = [receiptFromJson(signed), ticketFromJson(signed)].filter(({ ok }) => ok);
      expect(kinds).toHaveLength(1);
    }
  });
});
