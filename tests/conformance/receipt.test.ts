import { receiptFromJson } from '@csc-fleet/common/receipt';
import { changed, type FixtureFile, readFixture, testCases } from '@csc-fleet/test-kit/conformance/fixture';
import { describe, expect, it } from 'vitest';

describe.each(['receipts-v0.1.json', 'receipts-v0.2.json'])(
  'ExecutionReceipt (protocol §7, §9): %s',
  (name) => {
    const file = readFixture<FixtureFile>(name);

    testCases(file.cases, (fixture) => receiptFromJson(changed(file.base, fixture)));

    it('gives back what it was given, so that a signature still fits', () => {
      for (const fixture of file.cases.filter(({ refused }) => refused === undefined)) {
        const value = changed(file.base, fixture);
        expect(receiptFromJson(value)).toEqual({ ok: true, value });
      }
    });
  },
);
