import type { ReceiptV02 } from '@csc-fleet/common/receipt';
import { expect, it } from 'vitest';
import { describeLeftOut } from './describe-cuts.ts';

it('names the expected outputs that a receipt has no hash of, the first few of many', () => {
  const receipt = { receipt_version: 'csc.receipt.v0.2' } as ReceiptV02;
  const first = Array.from({ length: 6 }, (_, i) => ({ path: `/w/o${i}\u202e`, reason: 'missing' as const }));
  expect(describeLeftOut(undefined)).toEqual([]);
  expect(describeLeftOut(receipt)).toEqual([]);
  const [line = '', ...rest] = describeLeftOut({ ...receipt, artifacts_left_out: { count: 9, first } });
  expect(rest).toEqual([]);
  expect(line).toMatch(/^csc: WARNING 9 expected outputs are not in the receipt: \/w\/o0/);
  expect(line).toMatch(/\/w\/o4[^,]* \(missing\), and 4 more$/);
});
