import { describe, expect, it } from 'vitest';
import { guarded } from './guarded.ts';

describe('guarded', () => {
  it('hands on what is given, and nothing that comes back', () => {
    const given: unknown[] = [];
    const handler = guarded(
      (...all: number[]) => given.push(...all),
      () => given.push('failed'),
    );
    expect(handler(1, 2)).toBeUndefined();
    expect(given).toEqual([1, 2]);
  });

  it('lets out neither what is thrown, nor a rejection, nor what its own end throws', async () => {
    const seen: unknown[] = [];
    const failed = (error: unknown): never => {
      seen.push(error);
      throw new Error('the second');
    };
    guarded(() => {
      throw new Error('the first');
    }, failed)();
    guarded(() => Promise.reject(new Error('later')), failed)();
    await Promise.resolve();
    expect(seen).toEqual([new Error('the first'), new Error('later')]);
  });
});
