import { argvSha256, type Command, contractFromJson, contractSha256 } from '@csc-fleet/common/contract';
import { canonicalJson, type JsonObject, type JsonValue, sha256Hex } from '@csc-fleet/common/encoding';
import { orThrow } from '@csc-fleet/common/errors';
import { policyFromJson } from '@csc-fleet/common/policy';
import { projectReceipt, type ReceiptV02, receiptFromJson, receiptSha256 } from '@csc-fleet/common/receipt';
import { type Case, changed, readFixture } from '@csc-fleet/test-kit/conformance/fixture';
import { describe, expect, it } from 'vitest';

interface HashFile {
  readonly canonical: readonly { says: string; value: JsonValue; canonical: string; sha256: string }[];
  readonly contract: {
    readonly base: JsonObject;
    readonly cases: readonly (Case & { contract_sha256: string })[];
  };
  readonly policy: {
    readonly base: JsonObject;
    readonly cases: readonly (Case & { policy_sha256: string })[];
  };
}

interface SignedFile {
  readonly receipt_sha256: readonly { says: string; receipt: JsonObject; sha256: string }[];
  readonly argv_sha256: readonly { says: string; command: JsonObject; sha256: string }[];
}

// The literals in these files were written by Python's json and hashlib.
const { canonical, contract, policy } = readFixture<HashFile>('hashes.json');
const signed = readFixture<SignedFile>('signed.json');
const projections = readFixture<{ cases: { says: string; receipt: ReceiptV02; projected: JsonObject }[] }>(
  'projections.json',
);

describe('canonical JSON (protocol §4)', () => {
  it.each(canonical)('$says', ({ value, canonical: text, sha256 }) => {
    expect(canonicalJson(value)).toBe(text);
    expect(sha256Hex(canonicalJson(value))).toBe(sha256);
  });

  it('leaves null members out', () => {
    expect(canonicalJson({ a: null, b: [null] })).toBe('{"b":[null]}');
  });

  it.each([[0.5], [2 ** 53], ['\ud800']])('refuses %j', (value) => {
    expect(() => canonicalJson([value])).toThrow(expect.objectContaining({ code: 'ENCODING_INVALID' }));
  });
});

describe('hashes (protocol §4)', () => {
  it.each(contract.cases)('contract_sha256: $says', (fixture) => {
    const value = orThrow(
      contractFromJson(changed(contract.base, fixture)),
      'CONTRACT_INVALID',
      'the fixture',
    );
    expect(contractSha256(value)).toBe(fixture.contract_sha256);
  });

  it.each(policy.cases)('policy_sha256: $says', (fixture) => {
    const document = orThrow(policyFromJson(changed(policy.base, fixture)), 'POLICY_INVALID', 'the fixture');
    expect(document.sha256).toBe(fixture.policy_sha256);
  });

  it.each(signed.receipt_sha256)('previous_receipt_sha256: $says', ({ receipt, sha256 }) => {
    expect(receiptSha256(receipt)).toBe(sha256);
  });

  it.each(signed.argv_sha256)('argv_sha256: $says', ({ command, sha256 }) => {
    expect(argvSha256(command as unknown as Command)).toBe(sha256);
  });
});

describe('the v0.1 receipt of a v0.2 receipt (protocol §9)', () => {
  it.each(projections.cases)('$says', ({ receipt, projected }) => {
    expect(projectReceipt(receipt)).toEqual(projected);
    expect(receiptFromJson(projected)).toEqual({ ok: true, value: projected });
  });
});
