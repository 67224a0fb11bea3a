import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import * as z from 'zod';
import { declaredPath, policyPrefix, reportedPath } from './absolute-path.ts';

/** What the published schema of a path says of a text. */
function schemaAllows(schema: z.ZodType, text: string): boolean {
  const [definition = {}] = Object.values(z.toJSONSchema(schema).$defs ?? {});
  const { pattern = '', not } = definition;
  const refused = typeof not === 'object' ? (not.anyOf ?? [not]) : [];
  return (
    new RegExp(pattern).test(text) &&
    !refused.some((it) => typeof it === 'object' && matches(it.pattern, text))
  );
}

function matches(pattern: string | undefined, text: string): boolean {
  return pattern !== undefined && new RegExp(pattern).test(text);
}

const pieces = fc.constantFrom('/', '\\', '..', '.', 'a', 'C:', ' ', '\n', '\0', 'é', '*');
const texts = fc.array(pieces, { maxLength: 8 }).map((list) => list.join(''));

describe.each([
  ['declaredPath', declaredPath],
  ['reportedPath', reportedPath],
  ['policyPrefix', policyPrefix],
])('%s', (_, schema) => {
  it('is published as it is enforced', () => {
    fc.assert(
      fc.property(texts, (text) => {
        expect(schemaAllows(schema, text)).toBe(schema.safeParse(text).success);
      }),
      { numRuns: 1500 },
    );
  });
});

describe('a prefix that names a share by halves', () => {
  it.each([
    ['//workspace//app/', 'two slashes'],
    ['//workspace', 'two slashes'],
    ['\\\\host\\', 'two backslashes'],
  ])('is told what is wrong with it: %s', (text, what) => {
    const [issue, ...more] = policyPrefix.safeParse(text).error?.issues ?? [];
    expect(more).toEqual([]);
    expect(issue?.message).toContain(`begins with ${what}`);
    expect(issue?.message).toContain('a POSIX path begins with one slash');
  });

  it('is another matter than one that is not absolute, or that names one', () => {
    expect(policyPrefix.safeParse('workspace/app').error?.issues[0]?.message).toMatch(/must be an absolute/);
    expect(policyPrefix.safeParse('/workspace//app/').success).toBe(true);
    expect(policyPrefix.safeParse('//host/share/app').success).toBe(true);
  });
});

describe('a relative path with a parent segment', () => {
  it('has two faults, which are both told', () => {
    expect(declaredPath.safeParse('../a').error?.issues).toHaveLength(2);
  });
});
