import { expect, it } from 'vitest';
import { tellLeftOut } from './bundle.ts';

it('names the first of many receipts that a bundle has not, and says how many more there are', () => {
  const leftOut = Array.from({ length: 253 }, (_, i) => ({
    execution_id: `exec-${i}`,
    code: 'KEY_UNKNOWN',
    message: 'no key with the id "a" is trusted',
  }));
  expect(tellLeftOut(leftOut.slice(0, 2))).toEqual([
    'the receipt of exec-0 is not in it: no key with the id "a" is trusted',
    'the receipt of exec-1 is not in it: no key with the id "a" is trusted',
  ]);
  const told = tellLeftOut(leftOut);
  expect(told).toHaveLength(21);
  expect(told.at(-1)).toBe('233 more are not in it: MANIFEST.json has them all (left_out)');
});
