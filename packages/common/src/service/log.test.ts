import { describe, expect, it } from 'vitest';
import { CscError } from '../errors/index.ts';
import { toWritten } from './json-log.ts';
import { silentLog, sparingLog } from './log.ts';

it('writes a hundred lines of a text a minute, then how many were left out', () => {
  const lines: [object, string][] = [];
  let ms = 0;
  const log = sparingLog({ ...silentLog, warn: (fields, text) => lines.push([fields, text]) }, () => ms);
  for (let count = 0; count < 5000; count++) log.warn({ bytes: count }, 'an offer was refused');
  log.warn({}, 'output could not be sent; trying again');
  expect(lines).toHaveLength(101);
  expect(lines.at(-1)).toEqual([{}, 'output could not be sent; trying again']);
  ms = 60_000;
  log.warn({ bytes: 5000 }, 'an offer was refused');
  expect(lines.slice(101)).toEqual([
    [{ leftOut: 4900, text: 'an offer was refused' }, 'lines were left out of the log'],
    [{ bytes: 5000 }, 'an offer was refused'],
  ]);
});

describe('what is written of an error', () => {
  const written = (error: unknown) => toWritten({ error })['error'];

  it('is reason and message of what was refused on purpose, down to what the system said, and a stack of faults alone', () => {
    const missing = Object.assign(new Error("ENOENT: no such file or directory, open 'gate.key'"), {
      code: 'ENOENT',
      syscall: 'open',
    });
    const refused = new CscError('FILE_UNREADABLE', 'the key gate.key cannot be read', { cause: missing });
    expect(written(refused)).toEqual({
      reason: 'FILE_UNREADABLE',
      message: 'the key gate.key cannot be read',
      cause: { reason: 'ENOENT', message: missing.message },
    });
    const fault = new TypeError('x is undefined');
    expect(written(fault)).toMatchObject({
      type: 'TypeError',
      stack: expect.stringContaining('log.test.ts'),
    });
    expect(written(new CscError('INTERNAL', 'no', { cause: fault }))).toMatchObject({
      stack: expect.any(String),
      cause: { stack: expect.any(String) },
    });
  });

  it('has the names that are documented, whatever they are called in the code', () => {
    expect(toWritten({ executionId: 'e', executor: 'spiffe://csc.local/executor/host', waitMs: 1 })).toEqual({
      execution_id: 'e',
      executor_id: 'host',
      wait_ms: 1,
    });
  });
});
