import { expect, it } from 'vitest';
import { toBuffer } from './bytes.ts';

it('shows the part of its memory that the bytes are, and copies none of it', () => {
  const memory = Uint8Array.from([1, 2, 3, 4]);
  const buffer = toBuffer(memory.subarray(1, 3));
  memory[1] = 7;
  expect([...buffer]).toEqual([7, 3]);
});
