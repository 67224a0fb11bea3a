import type * as z from 'zod';

/** True only where the schema takes the value and leaves it just as it is; false says nothing. */
type Accepts = (value: unknown) => boolean;

/**
 * True only where the schema takes this JSON value and makes nothing else of it, so that the value is the result:
 * nearly always, and without the copy that zod makes of each object, the payload of each member, and the code that it
 * generates at first. It follows zod's own definitions, and calls the checks in them; of what it does not know, and of
 * a value that has a fault, gets a default or loses a member, it says false, and zod has the word.
 */
export function acceptsAsIs(schema: z.core.$ZodType, value: unknown): boolean {
  return compiledOnce(schema, compiled, compile)?.(value) ?? false;
}

/**
 * True only where the schema takes the value, whatever it would make of it: objects may have more members where their schemas let
 * them, and there may be dates, as in a message of a protocol.
 */
export function acceptsMembers(schema: z.core.$ZodType, value: unknown): boolean {
  return compiledOnce(schema, compiledOpen, compileOpen)?.(value) ?? false;
}

/**
 * What a schema makes of a JSON value where that is the value itself, or a copy with what it has a default for, as most
 * contracts are written; undefined where zod has the word.
 */
export function takeAsIs(schema: z.core.$ZodType, value: unknown): unknown {
  if (acceptsAsIs(schema, value)) return value;
  const filled = withDefaults(schema as z.core.$ZodTypes, value);
  return filled !== undefined && acceptsAsIs(schema, filled) ? filled : undefined;
}

function withDefaults({ _zod: { def } }: z.core.$ZodTypes, value: unknown): object | undefined {
  if (def.type !== 'object' || !isPlain(value)) return undefined;
  const filled: Record<string, unknown> = { ...value };
  let isAnother = false;
  for (const [name, member] of Object.entries(def.shape)) {
    const { def: own } = (member as z.core.$ZodTypes)._zod;
    if (own.type !== 'default' || value[name] !== undefined) continue;
    filled[name] = own.defaultValue;
    isAnother = true;
  }
  return isAnother ? filled : undefined;
}

type Compile = (schema: z.core.$ZodType) => Accepts | undefined;
type Compiled = WeakMap<z.core.$ZodType, { readonly accepts: Accepts | undefined }>;

const compiled: Compiled = new WeakMap();
const compiledOpen: Compiled = new WeakMap();

function compiledOnce(schema: z.core.$ZodType, all: Compiled, make: Compile): Accepts | undefined {
  const known = all.get(schema) ?? { accepts: make(schema) };
  all.set(schema, known);
  return known.accepts;
}

/** What is taken beside what JSON has, and comes out as it is. */
interface Leave {
  /** Members that an object's schema leaves out. */
  readonly more: boolean;
  readonly dates: boolean;
}

function compile(schema: z.core.$ZodType): Accepts | undefined {
  return compileWith(schema, { more: false, dates: false });
}

function compileOpen(schema: z.core.$ZodType): Accepts | undefined {
  return compileWith(schema, { more: true, dates: true });
}

function compileWith(schema: z.core.$ZodType, leave: Leave): Accepts | undefined {
  const all = checksOf(schema);
  const checks = all.map(compileCheck);
  // A check is called with what zod has made of the value, which has no members more.
  const more = leave.more && all.every(({ _zod: { def } }) => counting.has(def.check));
  const within = { ...leave, more };
  const base = baseOf(schema as z.core.$ZodTypes, within);
  const [first, second, ...rest] = checks;
  if (base === undefined || first === undefined) return base;
  if (second === undefined) return (value) => base(value) && first(value);
  if (rest.length === 0) return (value) => base(value) && first(value) && second(value);
  return (value) => base(value) && checks.every((check) => check(value));
}

// Checks that look at no member.
const counting: ReadonlySet<string> = new Set(['min_length', 'max_length', 'length_equals']);

// As $ZodType has them: what is a check itself (z.int, z.url, z.custom) is its own first one.
function checksOf(schema: z.core.$ZodType): readonly z.core.$ZodCheck<never>[] {
  const { def, traits } = schema._zod;
  const own = traits.has('$ZodCheck') ? [schema as unknown as z.core.$ZodCheck<never>] : [];
  return [...own, ...(def.checks ?? [])];
}

// Checks call none of these in turn, so that one will do; what it says of a fault is never read.
let payload: z.core.ParsePayload = { value: undefined, issues: [] };

function compileCheck(check: z.core.$ZodCheck<never>): Accepts {
  const { def } = check._zod;
  // What refine() makes, which calls this and nothing else.
  if (def.when === undefined && 'fn' in def && typeof def.fn === 'function') {
    const { fn } = def as { readonly fn: Accepts };
    return (value) => fn(value) === true;
  }
  return (value) => {
    payload.value = value;
    if (def.when !== undefined && !def.when(payload)) return true;
    const done: unknown = check._zod.check(payload as z.core.ParsePayload<never>);
    if (done === undefined && payload.issues.length === 0 && payload.value === value) return true;
    payload = { value: undefined, issues: [] };
    return false;
  };
}

function baseOf(schema: z.core.$ZodTypes, leave: Leave): Accepts | undefined {
  const { def } = schema._zod;
  const compileIn = (inner: z.core.$ZodType) => compileWith(inner, leave);
  if ('coerce' in def && def.coerce === true) return undefined;
  switch (def.type) {
    case 'string':
      return (value) => typeof value === 'string';
    case 'number':
      return (value) => typeof value === 'number' && Number.isFinite(value);
    case 'boolean':
      return (value) => typeof value === 'boolean';
    case 'null':
      return (value) => value === null;
    case 'custom':
      return () => true;
    case 'date':
      return leave.dates ? isDate : undefined;
    case 'enum':
    case 'literal': {
      const values: ReadonlySet<unknown> | undefined = schema._zod.values;
      return values === undefined ? undefined : (value) => values.has(value);
    }
    case 'array':
      return arrayOf(compileIn(def.element));
    case 'object':
      return objectOf(def.shape, leave, leave.more && def.catchall === undefined);
    case 'record':
      return recordOf(def, compileIn);
    case 'optional':
    case 'default': {
      const inner = compileIn(def.innerType);
      return inner && ((value) => value !== undefined && inner(value));
    }
    case 'nullable': {
      const inner = compileIn(def.innerType);
      return inner && ((value) => value === null || inner(value));
    }
    case 'union':
      return unionOf(schema as z.core.$ZodUnion, compileIn);
    default:
      return undefined;
  }
}

function isDate(value: unknown): boolean {
  return value instanceof Date && !Number.isNaN(value.getTime());
}

function arrayOf(item: Accepts | undefined): Accepts | undefined {
  if (item === undefined) return undefined;
  return (value) => {
    if (!Array.isArray(value)) return false;
    for (let index = 0; index < value.length; index += 1) if (!item(value[index])) return false;
    return true;
  };
}

interface Member {
  readonly name: string;
  readonly accepts: Accepts;
  readonly mayBeAbsent: boolean;
  /** It may be there and undefined. */
  readonly mayBeUndefined: boolean;
}

// Whatever zod does with members that it has no schema of, an object without any comes out as it is.
function objectOf(shape: z.core.$ZodShape, leave: Leave, mayHaveMore: boolean): Accepts | undefined {
  const members: Member[] = [];
  for (const [name, member] of Object.entries(shape)) {
    const accepts = compileWith(member, leave);
    if (accepts === undefined || name === '__proto__') return undefined;
    const mayBeAbsent = isOptional(member as z.core.$ZodTypes);
    const mayBeUndefined = mayBeAbsent && !member._zod.traits.has('$ZodExactOptional');
    members.push({ name, accepts, mayBeAbsent, mayBeUndefined });
  }
  return (value) => {
    if (!isPlain(value)) return false;
    let absent = 0;
    for (let index = 0; index < members.length; index += 1) {
      const { name, accepts, mayBeAbsent, mayBeUndefined } = members[index] as Member;
      const member = value[name];
      if (member !== undefined) {
        if (!accepts(member)) return false;
      } else if (!(name in value)) {
        if (!mayBeAbsent) return false;
        absent += 1;
      } else if (!mayBeUndefined) return false;
    }
    return mayHaveMore || countMembers(value) === members.length - absent;
  };
}

// A default takes the place of what is absent, and checks behind may want a value.
function isOptional(member: z.core.$ZodTypes): boolean {
  const { def } = member._zod;
  return (
    def.type === 'optional' &&
    def.innerType._zod.optin === undefined &&
    (def.checks === undefined || def.checks.length === 0)
  );
}

function recordOf({ keyType, valueType }: z.core.$ZodRecordDef, compileIn: Compile): Accepts | undefined {
  // Of a closed list of names each is wanted.
  if (keyType._zod.values !== undefined) return undefined;
  const [name, member] = [compileIn(keyType), compileIn(valueType)];
  if (name === undefined || member === undefined) return undefined;
  return (value) =>
    isPlain(value) &&
    Object.keys(value).every((key) => key !== '__proto__' && name(key) && member(value[key]));
}

// Zod takes the first that takes it, in whatever way: what comes before another must be of a type that a false says no to.
const plainTypes: ReadonlySet<string> = new Set(['string', 'number', 'boolean', 'null', 'enum', 'literal']);

function unionOf({ _zod: { def } }: z.core.$ZodUnion, compileIn: Compile): Accepts | undefined {
  const options = def.options.map(compileIn);
  const last = options.pop();
  const types = def.options.map(({ _zod }) => _zod.def.type);
  if (last === undefined || types.length !== 2 || !types.slice(0, -1).every((it) => plainTypes.has(it)))
    return undefined;
  const [first] = options;
  return first && ((value) => (typeof value === 'object' ? last(value) : first(value)));
}

function isPlain(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && Object.getPrototypeOf(value) === Object.prototype;
}

// With what it inherits, which is nothing unless somebody has changed all objects: then zod has the word.
function countMembers(value: object): number {
  let count = 0;
  for (const _ in value) count += 1;
  return count;
}
