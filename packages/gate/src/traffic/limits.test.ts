import { beforeEach, describe, expect, it } from 'vitest';
import { CallLimits } from './limits.ts';

let now: number;
beforeEach(() => {
  now = 1_000;
});

const make = (limits: { requestsPerSec?: number; burst?: number; concurrentCalls?: number }): CallLimits =>
  new CallLimits({ requestsPerSec: 10, burst: 3, concurrentCalls: 100, ...limits }, () => now);

const limited = (retryAfterMs: number) => expect.objectContaining({ code: 'RATE_LIMITED', retryAfterMs });

describe('calls a second', () => {
  it('may come in a burst, and then as fast as is allowed', () => {
    const limits = make({});
    for (let i = 0; i < 3; i++) limits.enter('a')();
    expect(() => limits.enter('a')).toThrow(limited(100));
    now += 40;
    expect(() => limits.enter('a')).toThrow(limited(60));
    now += 60;
    limits.enter('a')();
    expect(() => limits.enter('a')).toThrow(limited(100));
  });

  it('does not save up more than a burst', () => {
    const limits = make({});
    limits.enter('a')();
    now += 3_600_000;
    for (let i = 0; i < 3; i++) limits.enter('a')();
    expect(() => limits.enter('a')).toThrow(limited(100));
  });

  it('is not used up by calls that are refused', () => {
    const limits = make({ burst: 1 });
    limits.enter('a')();
    for (let i = 0; i < 50; i++) expect(() => limits.enter('a')).toThrow(limited(100));
    now += 100;
    limits.enter('a')();
  });

  it('is each one’s own', () => {
    const limits = make({ burst: 1 });
    limits.enter('a')();
    limits.enter('b')();
    expect(() => limits.enter('a')).toThrow(limited(100));
  });
});

describe('calls at once', () => {
  it('is as many as are allowed, until one ends', () => {
    const limits = make({ burst: 100, concurrentCalls: 2 });
    const leave = limits.enter('a');
    limits.enter('a');
    expect(() => limits.enter('a')).toThrow(limited(1000));
    limits.enter('b');
    leave();
    limits.enter('a');
    expect(() => limits.enter('a')).toThrow(limited(1000));
  });

  it('is not lowered twice by a call that ends twice', () => {
    const limits = make({ burst: 100, concurrentCalls: 2 });
    const leave = limits.enter('a');
    limits.enter('a');
    leave();
    leave();
    limits.enter('a');
    expect(() => limits.enter('a')).toThrow(limited(1000));
  });
});

describe('thousands of identities', () => {
  it('do not make the gate forget who is at its limit', () => {
    const limits = make({ burst: 2, concurrentCalls: 1 });
    limits.enter('open');
    limits.enter('spent')();
    limits.enter('spent')();
    for (let i = 0; i < 10_500; i++) limits.enter(`passer-by ${i}`)();
    expect(() => limits.enter('open')).toThrow(limited(1000));
    expect(() => limits.enter('spent')).toThrow(limited(100));
  });
});
