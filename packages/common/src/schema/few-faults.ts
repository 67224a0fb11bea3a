import type * as z from 'zod';
import { acceptsAsIs } from './accepts.ts';

/**
 * The value, where no list or record in it has more than `most` entries that its schema refuses: of one that has, what
 * comes behind the first of those beyond `most` is left out. zod makes an issue of each, which takes a hundred times as
 * long as to parse the entry and as much memory, and a document of a megabyte can have half a million of them. As what
 * is refused for one entry is refused for two, the schema takes just what it would take of the value itself.
 */
export function withFewFaults(schema: z.core.$ZodType, value: unknown, most: number): unknown {
  const { def } = (schema as z.core.$ZodTypes)._zod;
  switch (def.type) {
    case 'array':
      // Of one that is too long, zod looks at no item.
      return Array.isArray(value) && !isTooLong(def, value) ? fewItems(def.element, value, most) : value;
    case 'object':
      return isObject(value) ? fewMembers(def.shape, value, most) : value;
    case 'record':
      return isObject(value) ? fewEntries(def, value, most) : value;
    case 'optional':
    case 'default':
    case 'nullable':
    case 'readonly':
      return withFewFaults(def.innerType, value, most);
    case 'pipe':
      return withFewFaults(def.in, value, most);
    default:
      return value;
  }
}

function isTooLong({ checks = [] }: z.core.$ZodArrayDef, { length }: readonly unknown[]): boolean {
  return checks.some(({ _zod: { def } }) => 'maximum' in def && length > Number(def.maximum));
}

function fewItems(element: z.core.$ZodType, items: readonly unknown[], most: number): readonly unknown[] {
  let few: unknown[] | undefined;
  let refused = 0;
  for (const [index, item] of items.entries()) {
    if (acceptsAsIs(element, item)) continue;
    const kept = withFewFaults(element, item, most);
    if (kept !== item) {
      few ??= [...items];
      few[index] = kept;
    }
    if (!refuses(element, kept)) continue;
    refused += 1;
    if (refused > most) return (few ?? items).slice(0, index + 1);
  }
  return few ?? items;
}

function fewMembers(shape: z.core.$ZodShape, value: Members, most: number): Members {
  const few = Object.entries(shape).flatMap(([name, member]) => {
    if (!Object.hasOwn(value, name)) return [];
    const kept = withFewFaults(member, value[name], most);
    return kept === value[name] ? [] : [[name, kept] as const];
  });
  return few.length === 0 ? value : { ...value, ...Object.fromEntries(few) };
}

function fewEntries({ keyType, valueType }: z.core.$ZodRecordDef, value: Members, most: number): Members {
  let refused = 0;
  for (const [index, [name, member]] of Object.entries(value).entries()) {
    const isTaken = acceptsAsIs(keyType, name) && acceptsAsIs(valueType, member);
    if (isTaken || !(refuses(keyType, name) || refuses(valueType, member))) continue;
    refused += 1;
    if (refused > most) return Object.fromEntries(Object.entries(value).slice(0, index + 1));
  }
  return value;
}

type Members = Readonly<Record<string, unknown>>;

function isObject(value: unknown): value is Members {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function refuses(schema: z.core.$ZodType, value: unknown): boolean {
  return !(schema as z.ZodType).safeParse(value).success;
}
