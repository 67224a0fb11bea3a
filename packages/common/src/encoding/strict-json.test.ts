import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { scanJson } from './json-scanner.ts';
import { parseStrictJson } from './strict-json.ts';

const limit = { maxBytes: 1024 * 1024 };

function parse(text: string): ReturnType<typeof parseStrictJson> {
  return parseStrictJson(Buffer.from(text), limit);
}

function faults(text: string): (readonly [string, string])[] {
  const result = parse(text);
  return result.ok ? [] : result.faults.map(({ path, message }) => [path, message] as const);
}

function paths(text: string): string[] {
  return faults(text).map(([path]) => path);
}

describe('parseStrictJson', () => {
  it('reads what JSON.parse reads', () => {
    const text = ' {"a" : [1, -2, 0, true, false, null, "x\\u00e9\\n\\ud83d\\ude00"], "b":{}, "c":[ ]}\r\n\t';
    expect(parse(text)).toEqual({ ok: true, value: JSON.parse(text) as unknown });
  });

  it('reads a view into a larger buffer', () => {
    const whole = Buffer.from('xx{"a":1}xx');
    expect(parseStrictJson(whole.subarray(2, 9), limit)).toEqual({ ok: true, value: { a: 1 } });
  });

  it('finds keys that are equal, as written or once unescaped, at every level', () => {
    expect(paths('{"a":1,"b":{"x":1,"x":2},"\\u0061":3,"c":[{"y":1,"\\u0079":2}]}')).toEqual([
      'b.x',
      'a',
      'c[0].y',
    ]);
  });

  it('takes the same key in different objects', () => {
    expect(paths('{"a":{"a":1},"b":[{"a":1},{"a":2}]}')).toEqual([]);
  });

  it.each(['__proto__', 'constructor', 'prototype', '\\u005f_proto__'])('refuses the key %s', (key) => {
    expect(paths(`{"a":{"${key}":1}}`)).toHaveLength(1);
  });

  it('takes other names of Object.prototype', () => {
    expect(parse('{"toString":1,"hasOwnProperty":2}').ok).toBe(true);
  });

  it('finds lone surrogates in texts and in keys', () => {
    expect(paths('{"a":["\\ud800","\\udc00\\ud800","\\ud83d\\ude00"],"b\\udfff":1}')).toEqual([
      'a[0]',
      'a[1]',
      '["b\\udfff"]'.replace('\\udfff', '\ufffd'),
    ]);
  });

  it.each([
    '10',
    '10.0',
    '1e1',
    '100E-1',
    '1.50e1',
    '-0',
    '0.0',
    '0e999999999',
    '9007199254740991',
    '-9007199254740991',
  ])('takes the integer %s', (number) => {
    expect(parse(`[${number}]`)).toEqual({ ok: true, value: [Number(number)] });
  });

  it.each([
    '1.5',
    '1e-1',
    '1e400',
    '-1e400',
    '1e-400',
    '9007199254740992',
    '-9007199254740993',
    '1.00000000000000000000001',
    '4.9e-324',
    '0.1e0',
    `1${'0'.repeat(400)}`,
    `0.${'0'.repeat(100_000)}1`,
  ])('refuses the number %s', (number) => {
    expect(paths(`{"n":[${number}]}`)).toEqual(['n[0]']);
  });

  it('takes 32 levels and refuses 33', () => {
    expect(parse(`${'['.repeat(32)}${']'.repeat(32)}`).ok).toBe(true);
    expect(faults(`${'['.repeat(33)}${']'.repeat(33)}`)).toEqual([
      ['[0]'.repeat(32), 'is nested deeper than 32 levels'],
    ]);
    expect(parse(`${'{"a":'.repeat(31)}{}${'}'.repeat(31)}`).ok).toBe(true);
  });

  it.each([
    ['brackets', '['.repeat(limit.maxBytes)],
    ['brackets that close', `${'['.repeat(limit.maxBytes / 2)}${']'.repeat(limit.maxBytes / 2)}`],
    ['objects', '{"a":'.repeat(200_000)],
  ])('survives a megabyte of %s', (_, text) => {
    expect(faults(text).map(([, message]) => message)).toEqual(['is nested deeper than 32 levels']);
  });

  it('says where the grammar is broken, in lines and characters', () => {
    const [fault] = faults('{\n  "é😀": 1,\n}');
    expect(fault?.[1]).toContain('line 3, column 1');
    expect(faults('{"é😀" 1}')[0]?.[1]).toContain('line 1, column 7');
  });

  it.each([
    '',
    ' ',
    '{',
    '[1,]',
    '{"a":1,}',
    '{"a" 1}',
    '{a:1}',
    "{'a':1}",
    '[1 2]',
    '01',
    '+1',
    '.5',
    '1.',
    '1e',
    '-',
    'NaN',
    'Infinity',
    'tru',
    'nulll',
    '"a',
    '"\\x"',
    '"\\u12g4"',
    '"\t"',
    '"\n"',
    '{} {}',
    '1 2',
    '{}\u0000',
    '[1]//',
    '/**/1',
    '\u00a01',
    '{"a":1}}',
    ']',
    '{1:2}',
    '{"a":}',
    '[,1]',
    '\ufeff{}',
  ])('refuses %j as not JSON', (text) => {
    const result = parse(text);
    expect(result.ok).toBe(false);
    expect(() => JSON.parse(text) as unknown).toThrow();
  });

  it('reports everything, the break in the grammar last', () => {
    expect(faults('{"a":1,"a":1.5,"b":"\\ud800",}')).toEqual([
      ['a', 'is a duplicate key: say it once'],
      ['a', 'must be an integer within ±(2^53 - 1), not 1.5'],
      ['b', 'holds a lone surrogate, which is not text'],
      ['', expect.stringContaining('line 1, column 29')],
    ]);
  });

  it('stops at a hundred faults', () => {
    expect(faults(`[${'1.5,'.repeat(5000)}1]`)).toHaveLength(101);
  });

  it('does not echo what the sender wrote at length', () => {
    const long = 'k'.repeat(100_000);
    for (const text of [
      `{"${long}":1.5}`,
      `{"a":${long}}`,
      `{"${long}":1,"${long}":2}`,
      `[1${'0'.repeat(9999)}]`,
    ]) {
      for (const [path, message] of faults(text)) expect(path.length + message.length).toBeLessThan(250);
    }
  });

  const nested = (depth: number): string => `{"a":${'['.repeat(depth)}1${']'.repeat(depth)}}`;
  it.each([
    '{"a":1,"a":1}',
    '{"a":{"b":[{"c":"x","c":"y"}]}}',
    '{"__proto__":1}',
    '{"a":[{"constructor":{}}]}',
    '{"a":"\\ud800"}',
    '{"a\\udc00":[]}',
    '{"a":1.5}',
    '{"a":[-0.5]}',
    '{"a":9007199254740992}',
    nested(32),
    nested(100_000),
  ])('refuses %j, which is as JSON.stringify writes it', (text) => {
    expect(parse(text).ok).toBe(false);
    expect(parse(text)).toEqual(parse(text.replace('{"', '{ "')));
  });

  it('judges what JSON.stringify writes as it judges any other text', () => {
    const keys = fc.oneof(fc.constantFrom('a', '1', '__proto__', 'é'), fc.string({ unit: 'binary' }));
    const leaves = fc.oneof(fc.integer(), fc.double(), fc.string({ unit: 'binary' }), fc.constant(null));
    const values = fc.letrec<{ value: unknown }>((tie) => ({
      value: fc.oneof(leaves, fc.array(tie('value')), fc.dictionary(keys, tie('value'))),
    })).value;
    fc.assert(
      fc.property(fc.dictionary(keys, values, { minKeys: 1 }), (value) => {
        const text = JSON.stringify(value);
        expect(parse(text)).toEqual(parse(text.replace('{"', '{ "')));
      }),
    );
  });

  it('judges the size before anything else', () => {
    const bytes = Buffer.alloc(11, 0xff);
    expect(parseStrictJson(bytes, { maxBytes: 10 })).toMatchObject({
      faults: [{ path: '', message: /11 bytes/ }],
    });
    expect(parseStrictJson(Buffer.from('[1,2,3,10]'), { maxBytes: 10 }).ok).toBe(true);
  });

  it.each([
    ['a BOM', [0xef, 0xbb, 0xbf, 0x7b, 0x7d]],
    ['a byte that begins nothing', [0x22, 0xff, 0x22]],
    ['an overlong form', [0x22, 0xc0, 0xaf, 0x22]],
    ['a surrogate as UTF-8 (CESU-8)', [0x22, 0xed, 0xa0, 0x80, 0x22]],
    ['beyond U+10FFFF', [0x22, 0xf4, 0x90, 0x80, 0x80, 0x22]],
    ['a character that is cut', [0x22, 0xe2, 0x82, 0x22]],
    ['UTF-16', [0x7b, 0x00, 0x7d, 0x00]],
  ])('refuses %s', (_, bytes) => {
    expect(parseStrictJson(Uint8Array.from(bytes), limit).ok).toBe(false);
  });
});

describe('scanJson', () => {
  const isJson = (text: string): boolean => {
    try {
      JSON.parse(text);
      return true;
    } catch {
      return false;
    }
  };
  const grammarFaults = (text: string): number =>
    scanJson(text).filter(({ message }) => message.startsWith('is not valid JSON')).length;

  it('agrees with JSON.parse on which texts are JSON', () => {
    const tokens = [
      '{',
      '}',
      '[',
      ']',
      ',',
      ':',
      '"a"',
      '"\\u0041"',
      '1',
      '-',
      '0',
      '.5',
      'e1',
      'true',
      'null',
      ' ',
      '\\',
      '"',
    ];
    const soup = fc.array(fc.constantFrom(...tokens), { maxLength: 12 }).map((parts) => parts.join(''));
    fc.assert(
      fc.property(soup, (text) => {
        expect(grammarFaults(text)).toBe(isJson(text) ? 0 : 1);
      }),
      { numRuns: 4000 },
    );
  });

  it('agrees with JSON.parse on valid texts with one character changed', () => {
    const mutated = fc
      .tuple(fc.json({ maxDepth: 3 }), fc.nat(), fc.string({ unit: 'binary', maxLength: 1 }))
      .map(([text, at, char]) => {
        const place = at % text.length;
        return `${text.slice(0, place)}${char}${text.slice(place + 1)}`;
      });
    fc.assert(
      fc.property(mutated, (text) => {
        expect(grammarFaults(text)).toBe(isJson(text) ? 0 : 1);
      }),
      { numRuns: 800 },
    );
  });
});
