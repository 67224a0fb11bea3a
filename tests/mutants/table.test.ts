import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { type Mutant, mutate } from './mutant.ts';
import { judge } from './run-tests.ts';
import { mutants } from './table.ts';

const read = (path: string): string => readFileSync(join(import.meta.dirname, '../..', path), 'utf8');

describe('the table of mutants', () => {
  it.each(mutants.map((mutant) => [mutant.name, mutant] as const))('%s is not stale', (_name, mutant) => {
    expect(() => mutate(read(mutant.file), mutant)).not.toThrow();
    const isThere = mutant.tests.some((path) => read(path).includes(mutant.red));
    expect(isThere, `a test with ${mutant.red}`).toBe(true);
  });

  it('has each name once, and a few for every change', () => {
    expect(new Set(mutants.map(({ name }) => name)).size).toBe(mutants.length);
    expect(mutants.filter(({ quick }) => quick).length).toBeGreaterThan(2);
  });
});

describe('mutate', () => {
  const mutant: Mutant = { name: 'm', file: 'f', before: 'b', after: 'x', tests: [], red: 't' };

  it('changes what is there once', () => {
    expect(mutate('a b c', mutant)).toBe('a x c');
  });

  it.each(['a c', 'a b b c'])('refuses %j, where it is not', (text) => {
    expect(() => mutate(text, mutant)).toThrow('mutant m is stale');
  });
});

describe('judge', () => {
  const test = (fullName: string, ...failureMessages: string[]) => ({
    fullName,
    status: failureMessages.length === 0 ? 'passed' : 'failed',
    failureMessages,
  });
  const report = (...assertionResults: ReturnType<typeof test>[]) => ({
    testResults: [{ name: 'file', message: '', assertionResults }],
  });

  it.each([
    ['killed', report(test('a red one', 'AssertionError: expected 1 to be 2'), test('a red two'))],
    ['survived', report(test('a red one'), test('another', 'AssertionError'))],
    ['timed out', report(test('a red one', 'Error: Test timed out in 20000ms.'))],
    ['broken', report(test('a red one', 'ReferenceError: it is not defined'))],
    ['broken', { testResults: [{ name: 'file', message: 'SyntaxError: no', assertionResults: [] }] }],
    ['stale', report(test('another'), { ...test('a red one'), status: 'skipped' })],
  ])('says %s', (kind, given) => {
    expect(judge(given, 'red')).toMatchObject({ kind });
  });
});
