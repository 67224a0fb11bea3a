import { describe, expect, it } from 'vitest';
import { parseReceipt, receiptFromJson } from './receipt.ts';

describe('receiptFromJson', () => {
  it('says of an unknown version only that: there are no rules to hold it against', () => {
    const faults = [
      {
        path: 'receipt_version',
        message:
          'unsupported receipt version "csc.receipt.v9"; this build reads csc.receipt.v0.1 and csc.receipt.v0.2',
      },
    ];
    expect(receiptFromJson({ receipt_version: 'csc.receipt.v9', extra: 1 })).toEqual({ ok: false, faults });
  });

  it.each([null, [], 'x', 7])('refuses %j', (value) => {
    expect(receiptFromJson(value).ok).toBe(false);
  });
});

describe('parseReceipt', () => {
  it('reads strictly', () => {
    const parsed = parseReceipt(Buffer.from('{"receipt_version":"csc.receipt.v0.1","receipt_version":"x"}'));
    expect(parsed).toMatchObject({ ok: false, faults: [{ path: 'receipt_version' }] });
  });
});
