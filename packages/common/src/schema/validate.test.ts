import { describe, expect, it } from 'vitest';
import * as z from 'zod';
import { parseArtifact, validate } from './validate.ts';
import { uniqueList } from './values.ts';

const schema = z.strictObject({
  list: uniqueList(z.string(), 1),
  flag: z.boolean(),
  size: z.int().min(1).max(9),
  kind: z.literal('only'),
});

describe('validate', () => {
  it.each([
    [{ list: {} }, 'list', 'must be an array, not an object'],
    [{ list: [] }, 'list', 'must have at least 1 item, not 0'],
    [{ list: ['a', 'b', 'a'] }, 'list[2]', 'is the same as item 0: say it once'],
    [{ list: [[]] }, 'list[0]', 'must be a string, not an array'],
    [{ list: [{ a: { toString: 1 }, b: 1 }] }, 'list[0]', 'must be a string, not an object'],
    [{ flag: 'true' }, 'flag', 'must be true or false, not a string'],
    [{ size: true }, 'size', 'must be an integer, not true or false'],
    [{ size: 10 }, 'size', 'must be at most 9, not 10'],
    [{ kind: 'other' }, 'kind', 'must be "only", not "other"'],
    [{ kind: null }, 'kind', 'must be "only", not null'],
    [{ 'odd key': 1 }, '["odd key"]', 'is not a known member'],
  ])('says of %j what is wrong and what would be right', (change, path, message) => {
    const value = { list: ['a'], flag: true, size: 1, kind: 'only', ...change };
    expect(validate(schema, value)).toEqual({ ok: false, faults: [{ path, message }] });
  });

  it('gives no member another name than its own for what is absent', () => {
    expect(validate(schema, {})).toEqual({
      ok: false,
      faults: [
        { path: 'list', message: 'is required (an array)' },
        { path: 'flag', message: 'is required (true or false)' },
        { path: 'size', message: 'is required (an integer)' },
        { path: 'kind', message: 'is required ("only")' },
      ],
    });
  });

  it('says what kind of document is due', () => {
    expect(validate(schema, [])).toEqual({
      ok: false,
      faults: [{ path: '', message: 'must be an object, not an array' }],
    });
  });

  it('does not take an error of the code for a fault of the document', () => {
    const broken = z.string().refine(() => {
      throw new TypeError('a bug');
    });
    expect(() => validate(broken, 'x')).toThrow(TypeError);
  });
});

describe('parseArtifact', () => {
  it('refuses what is too long before it looks at it', () => {
    const parsed = parseArtifact(Buffer.from('{"a":1}'), 6, (value) => ({ ok: true, value }));
    expect(parsed.ok).toBe(false);
  });
});
