import { describe, expect, it } from 'vitest';
import { Slabs } from './slabs.ts';

const read = (slabs: Slabs, length: number): Buffer => {
  expect(slabs.room().length).toBeGreaterThanOrEqual(length);
  return slabs.take(length);
};

describe('Slabs', () => {
  it('gives small reads memory next to each other', () => {
    const slabs = new Slabs();
    const [first, second] = [read(slabs, 10), read(slabs, 20)];
    expect(second.buffer).toBe(first.buffer);
    expect([first.length, second.byteOffset]).toEqual([10, 10]);
  });

  it('never gives out memory that is lent', () => {
    const slabs = new Slabs();
    const lent: Buffer[] = [];
    for (let round = 0; round < 2000; round += 1) {
      const chunk = read(slabs, 1 + ((round * 7919) % 8192)).fill(round % 251);
      lent.push(chunk);
      if (lent.length < 12) continue;
      const [oldest] = lent.splice((round * 31) % 12, 1);
      expect(oldest?.every((byte) => byte === oldest[0])).toBe(true);
      if (oldest !== undefined && round % 5 !== 0) slabs.giveBack(oldest);
    }
  });

  it('uses again what was given back', () => {
    const slabs = new Slabs();
    const memory = new Set<ArrayBufferLike>();
    for (let round = 0; round < 500; round += 1) {
      const chunk = read(slabs, 8192);
      memory.add(chunk.buffer);
      slabs.giveBack(chunk);
    }
    // The first piece, and one of full size.
    expect(memory.size).toBe(2);
  });

  it('does not take what is not its own', () => {
    const slabs = new Slabs();
    slabs.giveBack(Buffer.alloc(10));
    expect(read(slabs, 1).length).toBe(1);
  });
});
