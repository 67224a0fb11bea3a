import { makeContract } from '@csc-fleet/test-kit/contract';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import * as z from 'zod';
import { contractFromJson } from '../contract/index.ts';
import type { JsonValue } from '../encoding/index.ts';
import { withFewFaults } from './few-faults.ts';
import { validate } from './validate.ts';
import { uniqueList } from './values.ts';

const leaf = fc.constantFrom<z.ZodType>(
  z.string(),
  z.string().min(1),
  z.string().trim().min(1),
  z.int(),
  z.unknown(),
  z.coerce.number(),
);
const schemas = fc.letrec<{ any: z.ZodType }>((tie) => {
  const members = fc.dictionary(fc.constantFrom('a', 'b'), tie('any'), { noNullPrototype: true });
  return {
    any: fc.oneof(
      { maxDepth: 3 },
      leaf,
      members.map((shape) => z.strictObject(shape)),
      tie('any').map((it) => z.array(it)),
      tie('any').map((it) => z.array(it).min(1).max(4)),
      tie('any').map((it) => uniqueList(it as z.ZodType<string>, 0)),
      tie('any').map((it) => z.record(z.string().regex(/^[a-z]/), it)),
      tie('any').map((it) => it.optional()),
      tie('any').map((it) => it.nullable().readonly()),
      tie('any').map((it) => it.default('')),
      tie('any').map((it) => it.transform((value) => [value])),
      fc.tuple(tie('any'), tie('any')).map((options) => z.union(options)),
    ),
  };
}).any;
const values = fc.letrec<{ any: unknown }>((tie) => ({
  any: fc.oneof(
    { maxDepth: 4 },
    fc.constantFrom<unknown>('', 'x', ' ', 0, 1.5, null),
    fc.array(tie('any'), { maxLength: 8 }),
    fc.dictionary(fc.constantFrom('a', 'b', 'c', '', '1'), tie('any'), { noNullPrototype: true }),
  ),
})).any;

describe('a value of which faults are left out', () => {
  it('is taken where it was taken, as it was, and else refused', () => {
    fc.assert(
      fc.property(
        schemas,
        fc.array(values, { minLength: 5, maxLength: 20 }),
        fc.nat(2),
        (schema, some, most) => {
          for (const value of some) {
            const few = withFewFaults(schema, value, most);
            const { success } = schema.safeParse(value);
            expect(schema.safeParse(few).success).toBe(success);
            if (success) expect(few).toBe(value);
          }
        },
      ),
      { numRuns: 1500 },
    );
  });

  // zod passes issues on as call arguments, and tells of none where there are too many of them.
  const contract = makeContract('/w', [{}]);
  const many = <T>(item: T): T[] => Array(300_000).fill(item);
  const [command] = contract.commands;
  it.each<[string, JsonValue]>([
    ['of a list of a command', { ...contract, commands: [{ ...command, read_paths: many(1) }] }],
    ['of paths that lead upwards', { ...contract, commands: [{ ...command, write_paths: many('/..') }] }],
    ['of a list of its own', { ...contract, expected_outputs: many({}) }],
  ])(
    'tells of a contract with so many that zod’s issues of them all would not fit its stack: %s',
    (_, value) => {
      const told = contractFromJson(value);
      expect(told.ok ? [] : told.faults).toHaveLength(101);
    },
  );

  it('tells of a record with as many', () => {
    const value = Object.fromEntries(Array.from({ length: 1000 }, (_, index) => [`k${index}`, 1]));
    const told = validate(z.strictObject({ a: z.record(z.string(), z.string()) }), { a: value });
    expect(told.ok ? [] : told.faults).toHaveLength(101);
  });

  it('has as many members as zod is told of, where it has too many', () => {
    const told = contractFromJson({ ...contract, commands: many({}) });
    expect(told).toMatchObject({
      faults: [{ path: 'commands', message: 'must have at most 20 items, not 300000' }],
    });
  });
});
