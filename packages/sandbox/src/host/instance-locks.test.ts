import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { lockJobUsers } from './instance-locks.ts';
import { JobUserPool } from './job-user-pool.ts';
import type { JobUsers } from './run-as.ts';

const silent = { warn: () => undefined, error: () => undefined };
const uid = 61_910;
const users: JobUsers = { all: [{ uid, gid: uid }], pooled: true };
let root: string;
beforeEach(() => {
  root = mkdtempSync('/var/tmp/csc-sandbox-test-');
});
afterEach(() => rmSync(root, { recursive: true, force: true }));
const lock = () => lockJobUsers(users, join(root, 'locks'));

// Undumpable, so that the kernel says that its files below /proc are root's: a job would try that first.
const hide =
  'import ctypes, time; ctypes.CDLL(None).prctl(4, 0); print("hidden", flush=True); time.sleep(100)';

async function startAs(id: number, text: string) {
  const child = spawn('python3', ['-c', text], {
    uid: id,
    gid: id,
    cwd: '/',
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  onTestFinished(() => void child.kill('SIGKILL'));
  await once(child.stdout, 'data');
  return { child, gone: once(child, 'exit') };
}

describe.runIf(process.getuid?.() === 0)('the users of a pool', () => {
  it('are rid of what a killed executor has left of them, when the next one starts', async () => {
    const { gone } = await startAs(uid, hide);
    const held = await lock();
    expect(await gone).toEqual([null, 'SIGKILL']);
    held.release();
  });

  it('are given back only when nothing of them is left, and given out again only then', async () => {
    const pool = new JobUserPool(users, silent);
    const lease = await pool.lease();
    const { gone } = await startAs(uid, hide);
    const next = pool.lease();
    await lease.giveBack();
    expect((await next).user).toEqual(users.all[0]);
    expect(await gone).toEqual([null, 'SIGKILL']);
  });

  it('have no company when they are given out', async () => {
    const pool = new JobUserPool(users, silent);
    const { gone } = await startAs(uid, 'import time; print("there", flush=True); time.sleep(100)');
    await pool.lease();
    expect(await gone).toEqual([null, 'SIGKILL']);
  });

  it('are one executor’s, for as long as that lives', async () => {
    const program = [
      `import { lockJobUsers } from ${JSON.stringify(join(import.meta.dirname, 'instance-locks.ts'))};`,
      `await lockJobUsers(${JSON.stringify(users)}, ${JSON.stringify(join(root, 'locks'))});`,
      'console.log("locked"); setInterval(() => {}, 1000);',
    ].join('\n');
    const other = spawn(process.execPath, ['--input-type=module', '-e', program], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    onTestFinished(() => void other.kill('SIGKILL'));
    await once(other.stdout, 'data');
    await expect(lock()).rejects.toMatchObject({ code: 'CONFIG_INVALID' });
    const gone = once(other, 'exit');
    other.kill('SIGKILL');
    await gone;
    (await lock()).release();
  });
});
