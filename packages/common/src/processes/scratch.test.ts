import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readdirSync, readlinkSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { clearAbandoned, makeScratch } from './index.ts';

let root: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'csc-scratch-'));
});
afterEach(() => rmSync(root, { recursive: true }));

/** What a process that is killed had made, and what it had put there. */
async function makeAndDie(): Promise<string> {
  const { href } = new URL('./index.ts', import.meta.url);
  const program = `
    import { writeFileSync } from 'node:fs';
    const { makeScratch } = await import(${JSON.stringify(href)});
    const path = makeScratch(process.argv[1]);
    writeFileSync(path + '/file', '');
    console.log(path);
    setInterval(() => {}, 60_000);`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', program, root], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const exit = once(child, 'exit');
  const [line] = await once(child.stdout, 'data');
  child.kill('SIGKILL');
  await exit;
  return basename(String(line).trim());
}

describe('a directory for a moment', () => {
  it('is of this user alone', () => {
    expect(statSync(makeScratch(root)).mode & 0o777).toBe(0o700);
  });

  it('is taken away by the next process where the one that made it was killed, and not while it lives', async () => {
    const dead = await makeAndDie();
    expect(readdirSync(root)).toEqual([dead]);
    const own = basename(makeScratch(root));
    expect(readdirSync(root)).toEqual([own]);
    const second = basename(makeScratch(root));
    expect(readdirSync(root).sort()).toEqual([own, second].sort());
  });

  it('stays where nobody can tell of whom it is', () => {
    const namespace = /\d+/.exec(readlinkSync('/proc/self/ns/pid'))?.[0];
    // Of a container, whose pids are others, and of a system that is no Linux.
    const foreign = ['csc-run-999999999-1-1-cc', 'csc-run-999999999-0-0-cc', 'other'];
    for (const name of [...foreign, `csc-run-999999999-1-${namespace}-aa`]) mkdirSync(join(root, name));
    writeFileSync(join(root, `csc-names-999999999-1-${namespace}-bb`), '');
    expect(clearAbandoned(root)).toBe(2);
    expect(readdirSync(root).sort()).toEqual([...foreign].sort());
  });
});
