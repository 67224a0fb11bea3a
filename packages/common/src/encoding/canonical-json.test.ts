import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { canonicalAsWritten, canonicalBytes, canonicalJson } from './canonical-json.ts';
import { sha256Hex } from './hash.ts';
import type { JsonValue } from './json-value.ts';
import { compareCodePoints } from './text.ts';

const controls = Array.from({ length: 0x21 }, (_, code) => String.fromCharCode(code)).join('');

// What CPython 3.11 gives: json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False), and the
// SHA-256 of that as UTF-8.
const python: readonly (readonly [string, JsonValue, string])[] = [
  [
    'nested objects and non-ASCII text',
    { b: 1, a: [true, false, null], é: 'ü', z: { y: -1, x: 0 } },
    '3a7cac9ea7a6a72b3e497c08586644750319c7d77aa33085e162cf1ced12a86b',
  ],
  [
    'keys on both sides of the surrogates',
    { '\u{1f600}': 1, '\uffee': 2, '\ue000': 3, a: 4, '\u{10000}': 5, A: 6, _: 7 },
    '3862b99abc3161aed4cfc6735a7f8b3ff45cbad8b4646d2dc70777a5b951b74e',
  ],
  [
    'every control character, and characters that other encoders escape',
    { s: `${controls}"\\/\x7f\x80\u2028\u2029\ufeff\u{1f600}` },
    '9f51196e37e847750390c7a3244427a0e5252eaf385fde30ad393e830172efa3',
  ],
  [
    'the integers at the edge',
    [9007199254740991, -9007199254740991, 0],
    'b80bd42d5351670aefcf3e66750d64961095073307e52f6d6b3554d97ed6578f',
  ],
  ['a bare string', '\u0000\u001f', '3d27e9c838c2725b91760feaf1456b36aa570a6f3001dae7c8ad772f48429228'],
  [
    'an empty key',
    { '': { '': [] }, e: {} },
    '513c678c91004c939bb30321752c669eeedf34cf32200d3622bb9740a51b6166',
  ],
];

/** A value whose object keys hold no undefined: what fast-check's json values are, without fractions. */
const jsonValues = fc.letrec<{ value: JsonValue }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 4 },
    fc.constantFrom(null, true, false),
    fc.maxSafeInteger(),
    fc.string({ unit: 'grapheme' }),
    fc.array(tie('value'), { maxLength: 4 }),
    fc.dictionary(fc.string({ unit: 'grapheme' }), tie('value'), { maxKeys: 5 }),
  ),
})).value;

describe('canonicalJson', () => {
  it.each(python)('writes what Python writes: %s', (_, value, sha256) => {
    expect(sha256Hex(canonicalJson(value, { keepNulls: true }))).toBe(sha256);
  });

  it('uses the short escapes, lower-case hex, and no others', () => {
    expect(canonicalJson('\b\t\n\f\r"\\\u0001\u001f/\x7f\u2028')).toBe(
      '"\\b\\t\\n\\f\\r\\"\\\\\\u0001\\u001f/\x7f\u2028"',
    );
  });

  it('leaves out null members and keeps nulls in arrays', () => {
    expect(canonicalJson({ a: null, b: [null], c: { d: null } })).toBe('{"b":[null],"c":{}}');
  });

  it('keeps null members where asked to', () => {
    expect(canonicalJson({ b: 1, a: null }, { keepNulls: true })).toBe('{"a":null,"b":1}');
  });

  it('leaves out undefined members in either case', () => {
    const value = { a: undefined, b: 1 };
    expect(canonicalJson(value)).toBe('{"b":1}');
    expect(canonicalJson(value, { keepNulls: true })).toBe('{"b":1}');
  });

  it('writes minus zero as 0', () => {
    expect(canonicalJson(-0)).toBe('0');
  });

  it('reads back as what it was written from, and is written the same again', () => {
    fc.assert(
      fc.property(jsonValues, (value) => {
        const text = canonicalJson(value, { keepNulls: true });
        const back = JSON.parse(text) as JsonValue;
        expect(back).toEqual(JSON.parse(JSON.stringify(value)));
        expect(canonicalJson(back, { keepNulls: true })).toBe(text);
      }),
    );
  });

  it('is what was written where that is in order, and only there', () => {
    fc.assert(
      fc.property(jsonValues, (value) => {
        const text = canonicalJson(value);
        for (const written of [JSON.stringify(value), text]) {
          const known = canonicalAsWritten(JSON.parse(written), written);
          if (known !== undefined) expect(known).toBe(text);
        }
      }),
    );
    const known = (written: string) => canonicalAsWritten(JSON.parse(written), written);
    expect(known('{"a":[null,{"b":1,"c":"x"}],"z":{}}')).toBe('{"a":[null,{"b":1,"c":"x"}],"z":{}}');
    for (const text of ['{"b":1,"a":2}', '{"a":null}', '[{"9":1,"10":2}]', '{"\u{10000}":1,"\uffee":2}'])
      expect(known(text)).toBeUndefined();
  });

  it('orders few members as it orders many', () => {
    const names = Array.from({ length: 40 }, (_, index) => `${(index * 7) % 40}-${'Az~"é'[index % 5]}`);
    for (const count of [0, 1, 2, 23, 24, 25, 40]) {
      const own = names.slice(0, count);
      const text = canonicalJson(Object.fromEntries(own.map((name) => [name, 1])));
      expect(Object.keys(JSON.parse(text))).toEqual(own.toSorted(compareCodePoints));
    }
  });

  it('orders names by code point that an object has in an order of its own, or not at all', () => {
    const named: JsonValue = JSON.parse('{"b":1,"__proto__":{"10":1,"9":2,"01":3},"-1":4,"constructor":5}');
    expect(canonicalJson([named])).toBe('[{"-1":4,"__proto__":{"01":3,"10":1,"9":2},"b":1,"constructor":5}]');
  });

  it('writes what looks like half of a character, and is none, as it is', () => {
    expect(canonicalJson({ b: '\\ud800', a: '\ud83d\ude00' })).toBe('{"a":"\u{1f600}","b":"\\\\ud800"}');
  });

  it('does not depend on the order of members', () => {
    fc.assert(
      fc.property(
        fc.dictionary(fc.string({ unit: 'binary', maxLength: 4 }), fc.integer(), { maxKeys: 6 }),
        (value) => {
          const reversed = Object.fromEntries(Object.entries(value).reverse());
          expect(canonicalJson(reversed)).toBe(canonicalJson(value));
        },
      ),
    );
  });

  const cycle: unknown[] = [];
  cycle.push(cycle);
  it.each<[string, unknown]>([
    ['a fraction', 1.5],
    ['an integer beyond 2^53 - 1', 2 ** 53],
    ['infinity', Number.POSITIVE_INFINITY],
    ['not a number', Number.NaN],
    ['a big integer', 1n],
    ['undefined in an array', [undefined]],
    ['a hole in an array', new Array(1)],
    ['a lone surrogate', '\ud800'],
    ['a lone surrogate in a key', { '\udc00': 1 }],
    ['a date', { at: new Date(0) }],
    ['bytes', new Uint8Array(2)],
    ['a map', new Map([['a', 1]])],
    ['a cycle', cycle],
  ])('refuses %s', (_, value) => {
    expect(() => canonicalJson(value as JsonValue)).toThrowError(
      expect.objectContaining({ code: 'ENCODING_INVALID' }),
    );
  });
});

describe('canonicalBytes', () => {
  it('is UTF-8', () => {
    expect(canonicalBytes('é').toString('hex')).toBe('22c3a922');
  });
});

describe('compareCodePoints', () => {
  it('orders as the UTF-8 bytes do', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), fc.string({ unit: 'binary' }), (a, b) => {
        const bytes = Buffer.compare(Buffer.from(a), Buffer.from(b));
        expect(Math.sign(compareCodePoints(a, b))).toBe(bytes);
      }),
    );
  });
});
