import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, constants, openSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { makeCommand, makeScopes, makeTree, type TestTree } from '@csc-fleet/test-kit/sandbox/plan';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { probeHost } from '../doctor/probe-host.ts';
import { bwrapArguments } from '../plan/bwrap-arguments.ts';
import { toRunFacts } from '../plan/facts.ts';
import { planSandbox } from '../plan/plan.ts';

let tree: TestTree;
beforeEach(() => {
  tree = makeTree();
});
afterEach(() => tree.remove());

const numbers = { args: 3, status: 4, block: 5, seccomp: [], mounts: new Map() };

/** The options of a sandbox that needs no descriptors beside those that bwrap and its launcher talk by. */
async function makeOptions(): Promise<string[]> {
  const plan = planSandbox(toRunFacts(await probeHost()), makeScopes({ cwd: '/usr' }), makeCommand());
  const mounts = plan.mounts.filter(({ kind }) => ['host', 'symlink', 'directory', 'tmpfs'].includes(kind));
  return bwrapArguments({ ...plan, mounts, disableUserns: false }, numbers);
}

/** What bwrap's command has said once bwrap is over, or waits for its byte and has had a moment to do without. */
async function say(options: readonly string[], isReleased: boolean): Promise<string> {
  const file = tree.file('options', options.map((option) => `${option}\0`).join(''));
  const fifo = join(tree.path, 'fifo');
  execFileSync('mkfifo', [fifo]);
  const given = [openSync(file, 'r'), openSync(fifo, constants.O_RDWR)] as const;
  if (isReleased) writeSync(given[1], Buffer.alloc(1));
  const child = spawn('bwrap', ['--args', '3', '--', '/usr/bin/echo', 'ran'], {
    stdio: ['ignore', 'pipe', 'inherit', given[0], 'pipe', given[1]],
    detached: true,
  });
  const ended = once(child, 'close');
  let said = '';
  child.stdout?.setEncoding('utf8').on('data', (text: string) => {
    said += text;
  });
  const status = child.stdio[4] as Readable;
  const waits = once(status, 'data').then(async () => {
    await (isReleased ? ended : sleep(200));
  });
  await Promise.race([ended, waits]);
  if (child.exitCode === null) process.kill(-(child.pid ?? 0), 'SIGKILL');
  await ended;
  for (const fd of given) closeSync(fd);
  execFileSync('rm', [fifo]);
  return said;
}

describe('options that are cut short, as by the end of who writes them', () => {
  it('run nothing: all of them do, once there is a byte for them', async () => {
    const options = await makeOptions();
    expect(await say(options, true)).toBe('ran\n');
    const begins = options.flatMap((option, index) => (option.startsWith('--') ? [index] : []));
    for (const end of begins.slice(-5)) expect(await say(options.slice(0, end), false)).toBe('');
  });
});
