import { randomUUID } from 'node:crypto';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { toFrame } from '@csc-fleet/test-kit/gate/scripted-executor';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { checkpointsOf } from './output-log.ts';
import { logPath, OutputStore } from './output-store.ts';

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

  it('has no directory with more than a share of many logs in it', async () => {
    for (let i = 0; i < 40; i++) await append(randomUUID(), 'one');
    expect(readdirSync(directory).every((name) => /^[0-9a-f]$/.test(name))).toBe(true);
    expect(await store.bytes()).toBe(40 * toFrame(0, 'one').length);
  });

  it('finds what an earlier release has left in one directory, and moves it as it is looked at', async () => {
    await store.close();
    const [log, frame] = [(it: string) => join(directory, `${it}.log`), toFrame(0, 'one')];
    const ids = [id, randomUUID(), randomUUID(), randomUUID()] as const;
    for (const it of ids) writeFileSync(log(it), frame);
    writeFileSync(checkpointsOf(log(id)), 'places');
    store = new OutputStore(directory);
    expect(await Promise.all([store.length(id), store.length(id), store.size(ids[1])])).toEqual(
      Array(3).fill(frame.length),
    );
    expect(existsSync(log(id))).toBe(false);
    await store.remove(ids[2]);
    expect(existsSync(log(ids[2]))).toBe(false);
    expect(await store.bytes()).toBe(3 * frame.length);
    expect(readdirSync(directory).filter((name) => name.includes('.'))).toEqual([]);
    expect(readFileSync(logPath(directory, ids[3]))).toEqual(Buffer.from(frame));
    // An older release that ran in between has begun another one: what is where it belongs stays.
    writeFileSync(log(id), 'another');
    await store.close();
    store = new OutputStore(directory);
    expect(await store.length(id)).toBe(frame.length);
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
    mkdirSync(logPath(directory, id), { recursive: true });
    const failing = store.length(id);
    store.wake(id);
    await expect(failing).rejects.toThrow();
    await expect(store.length(id)).rejects.toThrow();
    chmodSync(directory, 0o700);
  });
});
