import { describe, expect, it } from 'vitest';
import * as z from 'zod';
import { zodFaults } from './zod-faults.ts';

function faultsOf(schema: z.ZodType, value: unknown): Record<string, string> {
  const result = schema.safeParse(value);
  if (result.success) throw new Error('the value was accepted');
  return Object.fromEntries(zodFaults(result.error).map(({ path, message }) => [path, message]));
}

describe('zodFaults', () => {
  it('names each member that is missing, and what it should be', () => {
    const schema = z.strictObject({
      a: z.string(),
      b: z.strictObject({ c: z.array(z.int()) }),
      d: z.boolean(),
    });
    expect(faultsOf(schema, { b: {} })).toEqual({
      a: 'is required (a string)',
      'b.c': 'is required (an array)',
      d: 'is required (true or false)',
    });
  });

  it('gives one fault for each unknown member', () => {
    const schema = z.strictObject({ a: z.strictObject({}) });
    expect(Object.keys(faultsOf(schema, { a: { x: 1, y: 2 }, z: 3 }))).toEqual(['a.x', 'a.y', 'z']);
  });

  it('says types, values and bounds in words', () => {
    const schema = z.strictObject({
      integer: z.int(),
      value: z.enum(['low', 'high']),
      short: z.string().max(2),
      pair: z.array(z.string()).length(2),
      one: z.array(z.string()).min(1),
      small: z.int().max(5),
    });
    const value = { integer: 1.5, value: 'x', short: 'abc', pair: [], one: [], small: 6 };
    expect(faultsOf(schema, value)).toEqual({
      integer: 'must be an integer',
      value: 'must be "low" or "high"',
      short: 'must have at most 2 characters',
      pair: 'must have exactly 2 items',
      one: 'must have at least 1 item',
      small: 'must be at most 5',
    });
  });

  it('keeps the messages of a schema', () => {
    const schema = z.strictObject({
      a: z.string().refine(() => false, 'is no path'),
      b: z.int('wants a number'),
    });
    expect(faultsOf(schema, { a: 'x', b: 'y' })).toEqual({ a: 'is no path', b: 'wants a number' });
  });

  it('says what each branch of a union wants where they differ in type', () => {
    expect(faultsOf(z.strictObject({ a: z.union([z.string(), z.int()]) }), { a: true })).toEqual({
      a: 'must be a string or a number',
    });
  });

  it('gives the faults of the branch that fits best', () => {
    const branch = (name: string): z.ZodType => z.strictObject({ [name]: z.int(), other: z.int() });
    const schema = z.strictObject({ a: z.union([branch('x'), branch('y')]) });
    expect(faultsOf(schema, { a: { y: 'text', other: 1 } })).toEqual({ 'a.y': 'must be a number' });
  });

  it('names the member that tells the branches of a union apart', () => {
    const schema = z.discriminatedUnion('kind', [
      z.strictObject({ kind: z.literal('a') }),
      z.strictObject({ kind: z.literal('b') }),
    ]);
    expect(Object.keys(faultsOf(schema, { kind: 'c' }))).toEqual(['kind']);
  });

  it('names the key of a record that is not allowed', () => {
    const schema = z.record(z.string().regex(/^[a-z]+$/), z.int());
    expect(Object.keys(faultsOf(schema, { UPPER: 1 }))).toEqual(['UPPER']);
  });
});
