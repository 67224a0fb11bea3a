import { execFileSync, spawnSync } from 'node:child_process';
import { closeSync, constants, fstatSync, openSync, readdirSync, readSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { childrenOf, readArguments } from '@csc-fleet/test-kit/sandbox/find-processes';
import { makeTree, type TestTree } from '@csc-fleet/test-kit/sandbox/plan';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { fifoMaker, findPipeMaker, type Pipe, type PipeMaker, perlMaker } from './pipe-batch.ts';
import { createPipePool, type PipeOwner } from './pipe-pool.ts';

let tree: TestTree;
let taken: Pipe[];
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

function take(count: number, maker: PipeMaker, owner?: PipeOwner, batch = 4): Pipe[] {
  const pool = createPipePool({ directory: tree.path, batch, maker });
  const pipes = Array.from({ length: count }, () => pool.take(owner));
  taken.push(...pipes);
  pool.close();
  return pipes;
}

// As setup does; here too, so that these tests never pass without it.
const root = join(import.meta.dirname, '../../../..');
execFileSync(join(root, 'scripts/build-launcher.sh'));

const ownMaker = findPipeMaker();

describe.each([ownMaker, perlMaker, fifoMaker])('createPipePool with $name', (maker) => {
  it('gives pipes, as many as are taken, each one of its own', () => {
    const pipes = take(11, maker);
    expect(new Set(pipes.flatMap(({ read, write }) => [read, write])).size).toBe(22);
    for (const [index, { read, write }] of pipes.entries()) {
      writeSync(write, `n${index}`);
      const bytes = Buffer.alloc(8);
      expect(bytes.toString('utf8', 0, readSync(read, bytes))).toBe(`n${index}`);
      expect(fstatSync(read).isFIFO()).toBe(true);
    }
  });

  it('leaves no names and no processes behind', async () => {
    take(3, maker, undefined, 137);
    await expect.poll(() => readdirSync(tree.path)).toEqual([]);
    // Of this process: the number is anybody's.
    const helpers = () => childrenOf(process.pid).filter((pid) => readArguments(pid).at(-2) === '137');
    await expect.poll(helpers).toEqual([]);
  });

  it('lets their owner, and nobody else, open them again', () => {
    const owner = process.getuid?.() === 0 ? { uid: 54321, gid: 54321 } : undefined;
    const [pipe] = take(1, maker, owner);
    const stats = fstatSync(pipe?.write ?? -1);
    expect([stats.uid, stats.mode & 0o777]).toEqual([owner?.uid ?? process.getuid?.(), 0o600]);
    const again = openSync(`/proc/self/fd/${pipe?.write}`, constants.O_WRONLY);
    closeSync(again);
  });

  it('says so where no pipe can be made', () => {
    expect(() => createPipePool({ directory: `${tree.path}/none`, maker }).take()).toThrow();
  });
});

describe.each([ownMaker, perlMaker])('a pipe of $name', (maker) => {
  it('is not of whoever stands in for csc-launcher', () => expect(ownMaker.name).toBe('csc-launcher'));

  it('is opened again at once, although the other side is gone', () => {
    const [first, second] = take(2, maker);
    writeSync(first?.write ?? -1, 'left behind');
    closeSync(first?.write ?? -1);
    closeSync(second?.read ?? -1);
    taken = [];
    // As one that waits would hold up this process for good, another one tries it.
    const [reading, writing] = [
      spawnSync('cat', ['/proc/self/fd/3'], {
        stdio: ['ignore', 'pipe', 'pipe', first?.read ?? -1],
        ...soon,
      }),
      spawnSync('sh', ['-c', 'echo x > /proc/self/fd/3'], {
        stdio: ['ignore', 'pipe', 'pipe', second?.write ?? -1],
        ...soon,
      }),
    ];
    closeSync(first?.read ?? -1);
    closeSync(second?.write ?? -1);
    expect([reading.status, reading.stdout.toString()]).toEqual([0, 'left behind']);
    expect([writing.error, writing.signal ?? writing.status]).toEqual([undefined, expect.anything()]);
  });

  it('can be had at once, and goes with its pool', () => {
    const pool = createPipePool({ directory: tree.path, maker });
    pool.close();
    expect(readdirSync(tree.path)).toEqual([]);
  });
});

const soon = { timeout: 10_000, killSignal: 'SIGKILL' } as const;
