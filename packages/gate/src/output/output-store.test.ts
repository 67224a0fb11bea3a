import { randomUUID } from 'node:crypto';
import { chmodSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { toFrame } from '@csc-fleet/test-kit/gate/scripted-executor';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { OutputStore } from './output-store.ts';

let directory: string;
let store: OutputStore;
const id = randomUUID();
const known = {
  commandIds: new Set(['main']),
  limits: { stdout_bytes: 1000, stderr_bytes: 1000 },
};

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'csc-output-'));
  store = new OutputStore(directory);
});
afterEach(async () => {
  await store.close();
  rmSync(directory, { recursive: true });
});

const append = (executionId: string, text: string) =>
  store.with(executionId, (log) => log.append(0, toFrame(0, text), known));

describe('OutputStore', () => {
  it('keeps logs apart, also when they are opened again', async () => {
    const other = randomUUID();
    await append(id, 'one');
    await append(other, 'other');
    expect(await store.length(id)).toBe(toFrame(0, 'one').length);
    expect(await store.length(other)).toBe(toFrame(0, 'other').length);
    expect(await store.length(randomUUID())).toBe(0);
  });

  it('gives all who use a log at a time the same one', async () => {
    await store.with(id, async (log) => {
      const grown = log.grown();
      await append(id, 'one');
      await grown;
      expect(log.length).toBe(toFrame(0, 'one').length);
    });
  });

  it('wakes who reads, and minds not where nobody does', async () => {
    store.wake(id);
    await store.with(id, async (log) => {
      const grown = log.grown();
      store.wake(id);
      await grown;
    });
  });

  it.each(['../gate', '', 'x'.repeat(36), `${id}/..`])('has no log for the id %j', async (executionId) => {
    await expect(store.length(executionId)).rejects.toMatchObject({ code: 'EXECUTION_UNKNOWN' });
  });

  it('tells who opens a log that it cannot be opened, and nobody else', async () => {
    mkdirSync(join(directory, `${id}.log`));
    const failing = store.length(id);
    store.wake(id);
    await expect(failing).rejects.toThrow();
    await expect(store.length(id)).rejects.toThrow();
    chmodSync(directory, 0o700);
  });
});
