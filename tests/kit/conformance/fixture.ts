import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { JsonObject, JsonValue } from '@csc-fleet/common/encoding';
import { isJsonObject } from '@csc-fleet/common/encoding';
import type { Parsed } from '@csc-fleet/common/errors';
import { expect, it } from 'vitest';

/** What every case of a fixture file says; README.md beside the fixtures explains the members. */
export interface Case {
  readonly row: string;
  readonly says: string;
  readonly change?: JsonObject;
  readonly remove?: readonly string[];
  /** The members at fault, all of them; absent where the document is accepted. */
  readonly refused?: readonly string[];
}

export interface FixtureFile<T extends Case = Case> {
  readonly base: JsonObject;
  readonly cases: readonly T[];
}

export function readFixture<T>(name: string): T {
  return JSON.parse(readFileSync(join(import.meta.dirname, '../../conformance/fixtures', name), 'utf8')) as T;
}

/** The base with the changes of a case; both are written out where they hold `$times`. */
export function changed(
  base: JsonObject,
  { change = {}, remove = [] }: Pick<Case, 'change' | 'remove'>,
): JsonObject {
  const document = structuredClone(base);
  for (const path of remove) {
    const { owner, key } = locate(document, path);
    delete owner[key];
  }
  for (const [path, value] of Object.entries(change)) {
    const { owner, key } = locate(document, path);
    owner[key] = expand(value);
  }
  return document;
}

/** The members at fault; empty where the document is accepted. */
export function faultPaths(parsed: Parsed<unknown>): string[] {
  return parsed.ok ? [] : parsed.faults.map(({ path }) => path).sort();
}

/** That each case has its faults, and each row a case without any. */
export function testCases<T extends Case>(cases: readonly T[], parse: (fixture: T) => Parsed<unknown>): void {
  it.each(cases)('$row: $says', (fixture) => {
    expect(faultPaths(parse(fixture))).toEqual([...(fixture.refused ?? [])].sort());
  });

  it('has an accepted and a refused case for every row', () => {
    expect(rowsHalfCovered(cases, ({ refused }) => refused !== undefined)).toEqual([]);
  });
}

/** Rows that lack an accepted or a refused case. */
export function rowsHalfCovered<T extends Case>(
  cases: readonly T[],
  isRefused: (it: T) => boolean,
): string[] {
  const rows = [...new Set(cases.map(({ row }) => row))];
  return rows.filter((row) => {
    const own = cases.filter((it) => it.row === row);
    return !own.some(isRefused) || own.every(isRefused);
  });
}

function locate(document: JsonObject, path: string): { owner: JsonObject; key: string } {
  const keys = path.split('.');
  const key = keys.pop() ?? '';
  let owner: JsonObject = document;
  for (const each of keys) {
    const next = owner[each];
    if (typeof next !== 'object' || next === null) throw new Error(`the fixture has no member ${path}`);
    // An array is addressed by its indexes, as an object is by its keys.
    owner = next as JsonObject;
  }
  return { owner, key };
}

function expand(value: JsonValue): JsonValue {
  if (Array.isArray(value)) return value.map(expand);
  if (!isJsonObject(value)) return value;
  const { $text: text, $item: item, $times: times } = value;
  if (typeof times !== 'number') return mapMembers(value, expand);
  if (typeof text === 'string') return text.repeat(times);
  return Array.from({ length: times }, (_, index) => numbered(item ?? null, index));
}

/** A `#` at the end of a text is the item's index. */
function numbered(value: JsonValue, index: number): JsonValue {
  if (typeof value === 'string') return value.replace(/#$/, String(index));
  if (Array.isArray(value)) return value.map((item) => numbered(item, index));
  return isJsonObject(value) ? mapMembers(value, (member) => numbered(member, index)) : value;
}

function mapMembers(object: JsonObject, map: (value: JsonValue) => JsonValue): JsonObject {
  return Object.fromEntries(Object.entries(object).map(([key, value]) => [key, map(value)]));
}
