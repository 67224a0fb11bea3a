import { expect, it } from 'vitest';
import { describeFaults } from './describe-faults.ts';

it('says once, with a count, what is so of many receipts, and each other thing by itself', () => {
  const of = (name: string, why: string, kind = 'signature') => ({
    kind,
    message: `${name}: ${why}`,
    receipt: { name, why },
  });
  const gap = { kind: 'gap', message: '3 is missing' };
  expect(
    describeFaults([
      of('a', 'no such key'),
      of('b', 'it does not fit'),
      of('c', 'no such key'),
      ...[gap, gap],
      of('d', 'no such key'),
      of('e', 'no such key', 'certificate'),
    ]),
  ).toEqual([
    'signature: 3 receipts, from a to d, each: no such key',
    'signature: b: it does not fit',
    ...['gap: 3 is missing', 'gap: 3 is missing'],
    'certificate: e: no such key',
  ]);
  expect(describeFaults([])).toEqual([]);
});
