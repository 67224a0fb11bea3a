/** What a plain (unquoted) YAML scalar is in this project; `ambiguous` is what YAML 1.1 and 1.2 may read differently. */
export type PlainScalar =
  | { readonly kind: 'value'; readonly value: null | boolean | number | string }
  | { readonly kind: 'ambiguous'; readonly why: string }
  | { readonly kind: 'refused'; readonly why: string };

const nulls: ReadonlySet<string> = new Set(['', '~', 'null', 'Null', 'NULL']);
const truths: ReadonlySet<string> = new Set(['true', 'True', 'TRUE']);
const falsehoods: ReadonlySet<string> = new Set(['false', 'False', 'FALSE']);

// Read alike by the core schema of YAML 1.2.2 (§10.3.2) and by PyYAML's resolver for YAML 1.1.
const integer = /^(?:[-+]?(?:0|[1-9][0-9]*)|0x[0-9a-fA-F]+)$/;
const float =
  /^(?:[-+]?[0-9]+\.[0-9]*(?:[eE][-+][0-9]+)?|\.[0-9]+(?:[eE][-+][0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$/;

// The patterns of PyYAML 6's resolver and of the core schema that the other does not have, a little wider where a
// reader of another language may differ.
const differing: readonly (readonly [RegExp, string])[] = [
  [/^(?:yes|no|on|off|y|n)$/i, 'YAML 1.1 reads it as true or false'],
  [/^[-+]?0[0-9_]+$/, 'YAML 1.1 reads a leading 0 as octal'],
  [/^[-+]?0o[0-7]+$/, 'YAML 1.2 reads it as an octal number'],
  [/^[-+]?0b[01_]+$/, 'YAML 1.1 reads it as a binary number'],
  [/^[-+]?0x[0-9a-fA-F_]+$/, 'YAML 1.1 reads it as a hexadecimal number'],
  [/^[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?$/, 'YAML 1.1 reads it as a number of base 60'],
  [
    /^[-+]?[0-9][0-9_]*(?:\.[0-9_]*)?(?:[eE][-+]?[0-9]+)?$/,
    'YAML 1.1 and 1.2 differ on whether it is a number',
  ],
  [/^[-+]?\.[0-9][0-9_]*(?:[eE][-+]?[0-9]+)?$/, 'YAML 1.1 and 1.2 differ on whether it is a number'],
  [/^[0-9]{4}-[0-9]{2}-[0-9]{2}$/, 'YAML 1.1 reads it as a date'],
  [
    /^[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}(?:[Tt]|[ \t]+)[0-9]{1,2}:[0-9]{2}:[0-9]{2}/,
    'YAML 1.1 reads it as a time',
  ],
  [/^[?:]/, 'YAML 1.1 readers take the first character for an indicator in a [list] or {mapping}'],
  [/^=$/, 'YAML 1.1 reads it as the default of a mapping'],
  [/^<<$/, 'YAML 1.1 reads it as a merge key'],
];

/** Reads one plain scalar, as trimmed and folded by the YAML reader. */
export function readPlainScalar(source: string): PlainScalar {
  if (nulls.has(source)) return { kind: 'value', value: null };
  if (truths.has(source)) return { kind: 'value', value: true };
  if (falsehoods.has(source)) return { kind: 'value', value: false };
  if (integer.test(source)) return toInteger(source);
  if (float.test(source)) return { kind: 'refused', why: 'must not be a fraction' };
  const difference = differing.find(([pattern]) => pattern.test(source));
  if (difference !== undefined) return { kind: 'ambiguous', why: difference[1] };
  return { kind: 'value', value: source };
}

function toInteger(source: string): PlainScalar {
  const value = Number(source);
  if (Number.isSafeInteger(value)) return { kind: 'value', value };
  return { kind: 'refused', why: 'must be an integer within ±(2^53 - 1)' };
}
