import { describe, expect, it } from 'vitest';
import { isTooMany, isUnsound, mostUncaught } from './last-handler.ts';

describe('isTooMany', () => {
  it('is true with one more than ten within a minute, and false when they come further apart', () => {
    const recent: number[] = [];
    for (let at = 0; at < mostUncaught; at += 1) expect(isTooMany(recent, at)).toBe(false);
    expect(isTooMany([...recent], 60_000)).toBe(true);
    expect(isTooMany([...recent], 60_001)).toBe(false);
    expect(isTooMany(recent, 200_000)).toBe(false);
    expect(recent).toEqual([200_000]);
  });
});

describe('isUnsound', () => {
  it.each([
    [Object.assign(new Error('spawn ENOMEM'), { code: 'ENOMEM' }), true],
    [Object.assign(new Error('assertion'), { code: 'ERR_INTERNAL_ASSERTION' }), true],
    [new RangeError('Array buffer allocation failed'), true],
    [new RangeError('Maximum call stack size exceeded'), false],
    [Object.assign(new Error('spawn EMFILE'), { code: 'EMFILE' }), false],
    [new TypeError('Invalid character in statusMessage'), false],
    ['a text', false],
    [undefined, false],
  ])('of %o is %s', (error, unsound) => {
    expect(isUnsound(error)).toBe(unsound);
  });
});
