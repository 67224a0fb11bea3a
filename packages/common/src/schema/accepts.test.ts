import { makeContract } from '@csc-fleet/test-kit/contract';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import * as z from 'zod';
import { contractSchema } from '../contract/index.ts';
import { acceptsAsIs, acceptsMembers, takeAsIs } from './accepts.ts';
import { uniqueList } from './values.ts';

const leaf = fc.constantFrom<z.ZodType>(
  z.string(),
  z.string().refine((text) => text !== ''),
  z.string().regex(/^[a-z]$/),
  z.string().trim(),
  z.int().min(1).max(3),
  z.number(),
  z.coerce.number(),
  z.boolean(),
  z.null(),
  z.date(),
  z.date().max(new Date(0)),
  z.unknown(),
  z.enum(['a', 'b']),
  z.literal('a'),
  z.literal(['a', undefined]),
);

function wantA(value: object, context: z.core.$RefinementCtx): void {
  if (!Object.hasOwn(value, 'a')) context.addIssue('no a');
}

const members = ['a', 'b', 'toString'];
const schemas = fc.letrec<{ any: z.ZodType }>((tie) => {
  const shape = fc.dictionary(fc.constantFrom(...members), tie('any'), { maxKeys: 2, noNullPrototype: true });
  return {
    any: fc.oneof(
      { maxDepth: 3 },
      leaf,
      shape.map((it) => z.strictObject(it)),
      shape.map((it) => z.object(it)),
      shape.map((it) => z.looseObject(it)),
      shape.map((it) => z.strictObject(it).superRefine(wantA)),
      tie('any').map((it) => z.array(it).min(1)),
      tie('any').map((it) => uniqueList(it as z.ZodType<string>, 0)),
      tie('any').map((it) => z.record(z.string().regex(/^[a-z]/), it)),
      tie('any').map((it) => z.record(z.enum(['a', 'b']), it)),
      tie('any').map((it) => it.exactOptional()),
      tie('any').map((it) => it.optional()),
      tie('any').map((it) => it.nullable()),
      tie('any').map((it) => it.default('a')),
      tie('any').map((it) => it.transform((value) => [value])),
      fc.tuple(tie('any'), tie('any')).map((options) => z.union(options)),
    ),
  };
}).any;

const values = fc.letrec<{ any: unknown }>((tie) => ({
  any: fc.oneof(
    { maxDepth: 4 },
    fc.constantFrom<unknown>('', 'a', ' a', 'ab', 0, 1, 2, 4, 1.5, Number.NaN, true, null, undefined),
    fc.constantFrom(0, 1, Number.NaN).map((ms) => new Date(ms)),
    fc.array(tie('any'), { maxLength: 2 }),
    fc.dictionary(fc.constantFrom(...members, 'A'), tie('any'), { maxKeys: 3, noNullPrototype: true }),
  ),
})).any;

describe('what is taken as it is', () => {
  it('is what zod takes, and makes nothing else of', () => {
    fc.assert(
      fc.property(schemas, fc.array(values, { minLength: 5, maxLength: 20 }), (schema, some) => {
        for (const value of some) {
          const before = structuredClone(value);
          const result = schema.safeParse(value);
          if (acceptsMembers(schema, value)) expect(result.success).toBe(true);
          const taken = takeAsIs(schema, value);
          if (taken !== undefined) expect(result.success && result.data).toStrictEqual(taken);
          if (!acceptsAsIs(schema, value)) continue;
          expect(result.success && result.data).toStrictEqual(before);
          expect(value).toStrictEqual(before);
        }
      }),
      { numRuns: 1500 },
    );
  });

  it.each<[string, z.ZodType, unknown]>([
    ['what gets a default', z.strictObject({ a: z.string().default('x') }), {}],
    ['what is called undefined', z.strictObject({ a: z.string().exactOptional() }), { a: undefined }],
    ['what loses a member', z.object({ a: z.string() }), { a: 'x', b: 1 }],
    ['what has a member that is not known', z.strictObject({ a: z.string() }), { a: 'x', b: 1 }],
    ['what inherits a member', z.strictObject({ a: z.string() }), Object.create({ a: 'x' })],
    ['what lacks a member', z.strictObject({ a: z.string(), b: z.string().exactOptional() }), { b: 'x' }],
    ['what is cut', z.string().trim(), ' a'],
    ['what an earlier choice changes', z.union([z.string().trim(), z.string()]), ' a'],
    ['what a check refuses', z.string().refine(() => false), 'a'],
    ['what a check has an issue with', z.string().superRefine((_, to) => to.addIssue('no')), 'a'],
    ['what is no type of JSON', z.date(), new Date()],
  ])('is not %s', (_, schema, value) => {
    expect(acceptsAsIs(schema, value)).toBe(false);
    // What was refused leaves no mark.
    expect(acceptsAsIs(z.array(z.string().regex(/a/)), ['a'])).toBe(true);
  });

  it('are the members of an object that may have more, which are judged as ever', () => {
    const size = z.object({ a: z.int() });
    const schema = z.object({
      a: z.string().optional(),
      b: z.string().exactOptional(),
      size: size.optional(),
    });
    const takes = (value: object) => acceptsMembers(schema, value);
    expect([{}, { a: undefined, more: 1 }, { b: 'x', size: { a: 1 } }].map(takes)).toEqual([
      true,
      true,
      true,
    ]);
    expect([{ a: 1 }, { b: undefined }, { size: { a: 1.5 } }].map(takes)).toEqual([false, false, false]);
    expect(acceptsMembers(z.strictObject({}), { more: 1 })).toBe(false);
    const deep = z.object({ schema: schema.optional(), all: z.array(size).max(1), at: z.date().optional() });
    const isDeep = (value: object) => acceptsMembers(deep, value);
    expect(isDeep({ schema: { more: 1 }, all: [{ a: 1, more: 1 }], at: new Date(0) })).toBe(true);
    expect(isDeep({ all: [], at: new Date(Number.NaN) })).toBe(false);
    expect(isDeep({ all: [{ a: 1 }, { a: 1 }] })).toBe(false);
    // What it is called with has none.
    const checked = (is: (value: object) => boolean) => z.object({ size: size.refine(is) });
    expect(
      acceptsMembers(
        checked(() => true),
        { size: { a: 1 } },
      ),
    ).toBe(true);
    const wantsMore = checked((value) => 'more' in value);
    expect(wantsMore.safeParse({ size: { a: 1, more: 1 } }).success).toBe(false);
    expect(acceptsMembers(wantsMore, { size: { a: 1, more: 1 } })).toBe(false);
    expect(
      acceptsMembers(
        schema.refine(() => false),
        {},
      ),
    ).toBe(false);
  });

  it('is a contract that says all', () => {
    const contract = makeContract('/w', [{}]);
    const {
      commands: [command],
    } = contract;
    expect(acceptsAsIs(contractSchema, contract)).toBe(true);
    const { expected_outputs: _, ...usual } = contract;
    const [one, other] = [takeAsIs(contractSchema, usual), takeAsIs(contractSchema, usual)];
    expect([one, Object.keys(usual).includes('expected_outputs')]).toStrictEqual([contract, false]);
    expect((one as typeof contract).expected_outputs).not.toBe((other as typeof contract).expected_outputs);
    expect(acceptsAsIs(contractSchema, { ...contract, commands: [command, command] })).toBe(false);
    expect(acceptsAsIs(contractSchema, { ...contract, commands: [{ ...command, pipeline: {} }] })).toBe(
      false,
    );
  });
});
