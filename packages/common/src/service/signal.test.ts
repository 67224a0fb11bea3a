import { describe, expect, it } from 'vitest';
import { firstToRing, Signal } from './signal.ts';

describe('Signal', () => {
  it('wakes all who wait, once', async () => {
    const signal = new Signal();
    const woken = Promise.all([signal.wait(), signal.wait()]);
    signal.ring();
    await woken;
    expect(signal.waiting).toBe(0);
  });

  it('lets those who come in answer to a ring wait for the next', async () => {
    const signal = new Signal();
    const again = signal.wait().then(() => signal.wait());
    signal.ring();
    // The first promise is settled by then.
    await new Promise((resolve) => setImmediate(resolve));
    expect(signal.waiting).toBe(1);
    signal.ring();
    await again;
  });

  it('forgets who has gone', async () => {
    const signal = new Signal();
    const gone = new AbortController();
    const waits = Array.from({ length: 100 }, () => signal.wait(gone.signal));
    const stays = signal.wait();
    expect(signal.waiting).toBe(101);
    gone.abort();
    await Promise.all(waits);
    expect(signal.waiting).toBe(1);
    signal.ring();
    await stays;
  });

  it('does not keep waiting who had gone before', async () => {
    const signal = new Signal();
    await signal.wait(AbortSignal.abort());
    expect(signal.waiting).toBe(0);
  });
});

it('firstToRing lets go of those that do not come first, whether the first rings or fails', async () => {
  const seldom = new Signal();
  const at = (abort: AbortSignal): Promise<void> => seldom.wait(abort);
  for (let i = 0; i < 100; i++) await firstToRing(at, async () => undefined);
  await expect(firstToRing(at, () => Promise.reject(new Error('no')))).rejects.toThrow('no');
  expect(seldom.waiting).toBe(0);
});
