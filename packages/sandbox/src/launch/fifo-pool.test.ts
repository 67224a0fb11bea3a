import { closeSync, constants, fstatSync, openSync, readdirSync, readSync, writeSync } from 'node:fs';
import { makeTree, type TestTree } from '@csc-fleet/test-kit/sandbox/plan';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createFifoPool, type Fifo, type FifoOwner } from './fifo-pool.ts';

let tree: TestTree;
let taken: Fifo[];
beforeEach(() => {
  tree = makeTree();
  taken = [];
});
afterEach(() => {
  for (const { read, write } of taken) {
    closeSync(read);
    closeSync(write);
  }
  tree.remove();
});

function take(count: number, owner?: FifoOwner): Fifo[] {
  const pool = createFifoPool({ directory: tree.path, batch: 4 });
  const fifos = Array.from({ length: count }, () => pool.take(owner));
  taken.push(...fifos);
  pool.close();
  return fifos;
}

describe('createFifoPool', () => {
  it('gives pipes, as many as are taken, each one of its own', () => {
    const fifos = take(11);
    expect(new Set(fifos.flatMap(({ read, write }) => [read, write])).size).toBe(22);
    for (const [index, { read, write }] of fifos.entries()) {
      writeSync(write, `n${index}`);
      const bytes = Buffer.alloc(8);
      expect(bytes.toString('utf8', 0, readSync(read, bytes))).toBe(`n${index}`);
      expect(fstatSync(read).isFIFO()).toBe(true);
    }
  });

  it('leaves no names behind', async () => {
    take(3);
    await expect.poll(() => readdirSync(tree.path)).toEqual([]);
  });

  it('lets their owner, and nobody else, open them again', () => {
    const owner = process.getuid?.() === 0 ? { uid: 54321, gid: 54321 } : undefined;
    const [fifo] = take(1, owner);
    const stats = fstatSync(fifo?.write ?? -1);
    expect([stats.uid, stats.mode & 0o777]).toEqual([owner?.uid ?? process.getuid?.(), 0o600]);
    const again = openSync(`/proc/self/fd/${fifo?.write}`, constants.O_WRONLY);
    closeSync(again);
  });

  it('says so where no FIFO can be made', () => {
    expect(() => createFifoPool({ directory: `${tree.path}/none` }).take()).toThrow();
  });
});
