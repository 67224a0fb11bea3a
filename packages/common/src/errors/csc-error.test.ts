import { describe, expect, it } from 'vitest';
import {
  type CscErrorCode,
  isRpcReason,
  localCodes,
  meaningOf,
  readRefusal,
  retryOf,
  rpcStatusOf,
} from './codes.ts';
import { CscError, isCscError, orThrow } from './csc-error.ts';
import { faulty, parsed } from './fault.ts';
import { reasons, rpcStatusNames } from './reasons.ts';

describe('CscError', () => {
  it('holds code, message, cause, faults and retry time', () => {
    const cause = new Error('underneath');
    const faults = [{ path: 'a', message: 'is bad' }];
    const error = new CscError('RATE_LIMITED', 'too many', { cause, faults, retryAfterMs: 250 });
    expect(error).toMatchObject({
      code: 'RATE_LIMITED',
      message: 'too many',
      cause,
      faults,
      retryAfterMs: 250,
    });
  });

  it('has no faults, no cause and no retry time unless told', () => {
    const error = new CscError('CANCELLED', 'gone');
    expect(error.faults).toEqual([]);
    expect(error.retryAfterMs).toBeUndefined();
    expect('cause' in error).toBe(false);
  });

  it('has its message in JSON, and not its cause', () => {
    const cause = new Error('underneath');
    const error = new CscError('QUEUE_FULL', 'too many wait', {
      cause,
      retryAfterMs: 5,
      executionId: 'exec-1',
    });
    expect(JSON.parse(JSON.stringify({ error }))).toEqual({
      error: {
        code: 'QUEUE_FULL',
        message: 'too many wait',
        faults: [],
        retryAfterMs: 5,
        isLasting: false,
        executionId: 'exec-1',
      },
    });
  });

  it('is told from other errors, and by its code', () => {
    expect(isCscError(new CscError('CANCELLED', ''), 'CANCELLED')).toBe(true);
    expect(isCscError(new CscError('CANCELLED', ''), 'INTERNAL')).toBe(false);
    expect(isCscError(new Error('x'))).toBe(false);
  });
});

describe('orThrow', () => {
  it('gives the value of a parse that succeeded', () => {
    expect(orThrow(parsed(7), 'CONFIG_INVALID', 'it')).toBe(7);
  });

  it('throws the faults of one that failed', () => {
    const failed = faulty('must be absolute', 'commands[0].cwd');
    expect(() => orThrow(failed, 'CONTRACT_INVALID', 'the contract')).toThrowError(
      expect.objectContaining({
        code: 'CONTRACT_INVALID',
        faults: failed.faults,
        message: expect.stringMatching(/the contract.*\n {2}commands\[0\]\.cwd: must be absolute/),
      }),
    );
  });
});

describe('the registry of reasons', () => {
  it('has a reason for every status, and knows each by its name', () => {
    const statuses = Object.keys(reasons).map((reason) =>
      isRpcReason(reason) ? rpcStatusOf(reason) : reason,
    );
    expect([...new Set(statuses)].sort()).toEqual([...rpcStatusNames].sort());
  });

  // Whoever changes this changes what clients repeat, gates place anew, and hosts sign no end for.
  it('says which may succeed once more', () => {
    const withRetry = (retry: string) => Object.keys(reasons).filter((reason) => retryOf(reason) === retry);
    expect(withRetry('later').sort()).toEqual([
      'DRAINING',
      'POLICY_STALE',
      'QUEUE_FULL',
      'RATE_LIMITED',
      'SPOOL_FULL',
      'STORE_UNAVAILABLE',
      'TERMINAL_UNAVAILABLE',
    ]);
    expect(withRetry('ticket').sort()).toEqual(['TICKET_EXPIRED', 'TICKET_REVOKED']);
    expect(['KEY_INVALID', 'toString', 'nonsense'].map(retryOf)).toEqual(['no', 'no', 'no']);
  });

  it('keeps local codes from the wire', () => {
    expect(isRpcReason('KEY_INVALID')).toBe(false);
    expect(rpcStatusOf('KEY_INVALID')).toBe('INTERNAL');
    expect(isRpcReason('toString')).toBe(false);
  });
});

it('reads why nothing ran where that is a reason, and takes no other words for one', () => {
  const text = 'SCOPE_NOT_FOUND: read path /a: b\nis not there';
  expect(readRefusal(text)).toEqual({ reason: 'SCOPE_NOT_FOUND', message: 'read path /a: b\nis not there' });
  for (const other of ['', 'NOPE: it is not', 'command main: it was killed', 'a SCOPE_NOT_FOUND: b'])
    expect(readRefusal(other)).toBeUndefined();
});

it('knows of every code what it means and what to do', () => {
  for (const code of [...Object.keys(reasons), ...Object.keys(localCodes)] as CscErrorCode[]) {
    const { means, remedy } = meaningOf(code);
    expect([code, means.length > 0, remedy.length > 0]).toEqual([code, true, true]);
  }
  expect(meaningOf('QUEUE_FULL').remedy).toBe(reasons.QUEUE_FULL.remedy);
  expect(Object.keys(localCodes).filter(isRpcReason)).toEqual([]);
});
