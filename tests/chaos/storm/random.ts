import { createHash } from 'node:crypto';

/** Draws that follow from a seed alone: the same seed and the same order of calls, the same storm. */
export interface Random {
  /** From 0 up to, and without, 1. */
  next(): number;
  /** A whole number, both ends included. */
  between(least: number, most: number): number;
  /** One of them, each as likely as its weight. */
  pick<T extends { readonly weight: number }>(among: readonly T[]): T;
  chance(of: number): boolean;
}

/** mulberry32, begun with a hash of the seed: seeds that are alike give draws that are not. */
export function createRandom(seed: string): Random {
  let state = createHash('sha256').update(seed).digest().readUInt32LE();
  const next = (): number => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  return {
    next,
    between: (least, most) => least + Math.floor(next() * (most - least + 1)),
    pick: (among) => {
      let left = next() * among.reduce((sum, { weight }) => sum + weight, 0);
      const found = among.find(({ weight }) => {
        left -= weight;
        return left < 0;
      });
      const chosen = found ?? among.at(-1);
      if (chosen === undefined) throw new Error('there is nothing to pick from');
      return chosen;
    },
    chance: (of) => next() < of,
  };
}

/** So many bytes that follow from a text; Python's hashlib gives the same. */
export function bytesOf(text: string, length: number): Buffer {
  return length === 0
    ? Buffer.alloc(0)
    : createHash('shake128', { outputLength: length }).update(text).digest();
}
