import { CscError } from '@csc-fleet/common/errors';
import { expect, it } from 'vitest';
import { Uncounted } from './uncounted.ts';

it('bears with all that a host can owe to a gate that has lost its store, and with no flood', () => {
  const told: number[] = [];
  const uncounted = new Uncounted();
  const add = () =>
    uncounted.add(new CscError('RECEIPT_INVALID', 'of another'), (_, count) => told.push(count));
  for (let count = 1; count < 8192; count++) add();
  expect(told).toEqual([1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096]);
  expect(add).toThrow(expect.objectContaining({ code: 'REQUEST_INVALID' }));
});
