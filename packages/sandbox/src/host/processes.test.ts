import { spawn } from 'node:child_process';
import { identify, isAlive } from '@csc-fleet/common/processes';
import { describe, expect, it } from 'vitest';
import { innerPid, isNested, sendSignal, signalProcess, waitUntilGone } from './processes.ts';

describe('processes', () => {
  it('are who they are only until they end', async () => {
    const child = spawn('sleep', ['100'], { stdio: 'ignore' });
    const id = identify(child.pid ?? -1);
    if (id === undefined) throw new Error('sleep did not start');
    expect(isAlive(id)).toBe(true);
    // The same pid, but another process.
    const other = { ...id, startTime: '1' };
    expect(isAlive(other)).toBe(false);
    signalProcess(other, 'SIGKILL');
    expect(isAlive(id)).toBe(true);
    signalProcess(id, 'SIGKILL');
    await waitUntilGone(id);
    expect(isAlive(id)).toBe(false);
  });

  it('that are not there are no error', () => {
    expect(identify(999_999_999)).toBeUndefined();
    expect(innerPid(999_999_999)).toBeUndefined();
    expect(sendSignal(999_999_999, 'SIGTERM')).toBe(false);
  });

  it('of this namespace are not nested', () => {
    expect(isNested(process.pid)).toBe(false);
    expect(innerPid(process.pid)).toBe(process.pid);
  });
});
