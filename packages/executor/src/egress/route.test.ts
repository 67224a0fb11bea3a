import { describe, expect, it } from 'vitest';
import { limitResolve, resolveOnHost } from './route.ts';

describe('limitResolve', () => {
  it('asks for no more names at once than it may, and answers all', async () => {
    let running = 0;
    let most = 0;
    const resolve = limitResolve(
      async (name) => {
        running += 1;
        most = Math.max(most, running);
        await new Promise(setImmediate);
        running -= 1;
        return [name];
      },
      { atOnce: 2, timeoutMs: 10_000 },
    );
    const names = Array.from({ length: 20 }, (_, index) => `n${index}`);
    expect((await Promise.all(names.map(resolve))).flat()).toEqual(names);
    expect(most).toBe(2);
  });

  it('has no addresses for what fails or takes too long', async () => {
    const failing = limitResolve(() => Promise.reject(new Error('ENOTFOUND')), {
      atOnce: 1,
      timeoutMs: 1000,
    });
    expect([await failing('a'), await failing('b')]).toEqual([[], []]);
    const silent = limitResolve(() => new Promise(() => {}), { atOnce: 1, timeoutMs: 10 });
    expect(await silent('a')).toEqual([]);
  });
});

describe('resolveOnHost', () => {
  it('finds what /etc/hosts has', async () => {
    const addresses = await resolveOnHost('localhost');
    expect(addresses.some((address) => ['127.0.0.1', '::1'].includes(address))).toBe(true);
  });
});
