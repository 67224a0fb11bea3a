import { describe, expect, it } from 'vitest';
import { validate } from './index.ts';
import { grantedLimitsSchema, limitNames, limitsSchema, narrowLimits } from './limits.ts';

const every = {
  memory_bytes: 16_777_216,
  processes: 8,
  cpu_millis: 10,
  open_files: 16,
  file_bytes: 0,
  tmp_bytes: 4096,
  write_bytes: 0,
  write_files: 0,
  artifact_bytes: 0,
  artifact_sec: 0,
  stdout_bytes: 0,
  stderr_bytes: 0,
};

describe('limits', () => {
  it('are these twelve', () => {
    expect(limitNames).toEqual(Object.keys(every));
    expect(validate(limitsSchema, every)).toEqual({ ok: true, value: every });
    expect(validate(grantedLimitsSchema, every)).toEqual({ ok: true, value: every });
  });

  it('may all be absent in a policy; a ticket always limits the output', () => {
    expect(validate(limitsSchema, {})).toEqual({ ok: true, value: {} });
    expect(validate(grantedLimitsSchema, {})).toMatchObject({
      ok: false,
      faults: [{ path: 'stdout_bytes' }, { path: 'stderr_bytes' }],
    });
  });

  it.each(Object.entries(every))('%s has a least', (name, least) => {
    expect(validate(limitsSchema, { [name]: least - 1 })).toMatchObject({
      ok: false,
      faults: [{ path: name }],
    });
  });
});

describe('narrowLimits', () => {
  const output = { stdout_bytes: 100, stderr_bytes: 10 };

  it('takes the lower of both, and what only one of them says', () => {
    const narrower = { stdout_bytes: 5, stderr_bytes: 50, memory_bytes: 16_777_216 };
    expect(narrowLimits(output, narrower)).toEqual({
      stdout_bytes: 5,
      stderr_bytes: 10,
      memory_bytes: 16_777_216,
    });
    expect(narrowLimits({ ...output, processes: 9 }, { processes: 99 })).toEqual({ ...output, processes: 9 });
  });

  it('leaves out what neither says, and does not change what it is given', () => {
    const limits = Object.freeze({ ...output });
    expect(narrowLimits(limits, {})).toEqual(output);
  });

  it('takes a limit of 0 for a limit', () => {
    expect(narrowLimits({ ...output, write_bytes: 7 }, { write_bytes: 0 }).write_bytes).toBe(0);
  });
});
