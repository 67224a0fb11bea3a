import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parse as parseYaml } from 'yaml';
import { readPlainScalar } from './plain-scalar.ts';
import { parseStrictYaml } from './strict-yaml.ts';

const limit = { maxBytes: 512 * 1024 };

function parse(text: string): ReturnType<typeof parseStrictYaml> {
  return parseStrictYaml(Buffer.from(text), limit);
}

function faults(text: string): (readonly [string, string])[] {
  const result = parse(text);
  return result.ok ? [] : result.faults.map(({ path, message }) => [path, message] as const);
}

function paths(text: string): string[] {
  return faults(text).map(([path]) => path);
}

describe('parseStrictYaml', () => {
  it('reads what a profile is written with', () => {
    const text = [
      '# a profile',
      'name: "build"   # quoted',
      "allow_commands: [node, 'git', g++, 10.0.0.1, 1.2.3, /bin/sh]",
      'max_timeout_sec: 600',
      'octet: 0x1F',
      'allow_secret_refs: false',
      'nothing: ~',
      'empty:',
      'text: |',
      '  two',
      '  lines',
      'folded: >-',
      '  one',
      '  line',
      'list:',
      '- a: 1',
      '  b: -2',
      '- []',
      '"yes": {}',
      '',
    ].join('\n');
    expect(parse(text)).toEqual({
      ok: true,
      value: {
        name: 'build',
        allow_commands: ['node', 'git', 'g++', '10.0.0.1', '1.2.3', '/bin/sh'],
        max_timeout_sec: 600,
        octet: 31,
        allow_secret_refs: false,
        nothing: null,
        empty: null,
        text: 'two\nlines\n',
        folded: 'one line',
        list: [{ a: 1, b: -2 }, []],
        yes: {},
      },
    });
  });

  it('reads JSON, a BOM, a document end and CRLF', () => {
    expect(parse('{"a": [1, "b", null, true]}')).toEqual({ ok: true, value: { a: [1, 'b', null, true] } });
    expect(parse('\ufeff---\r\na: 1\r\n...\r\n')).toEqual({ ok: true, value: { a: 1 } });
  });

  it('reads anchors and aliases, each time anew', () => {
    const result = parse('a: &x {p: [1]}\nb: *x\nc: &y text\nd: *y\n');
    expect(result).toEqual({ ok: true, value: { a: { p: [1] }, b: { p: [1] }, c: 'text', d: 'text' } });
  });

  it.each([
    ['failed to read', 'x'.repeat(limit.maxBytes + 1)],
    ['invalid YAML', 'a: [1, 2'],
    ['invalid YAML', 'a: "x\n'],
    ['invalid YAML', 'a: 1\n b: 2\n'],
    ['invalid YAML', 'a: 1\n---\nb: 2\n'],
    ['invalid YAML', '---\na: 1\n---\n'],
    ['invalid YAML', '%YAML 1.1\n---\na: 1\n'],
    ['invalid YAML', '%TAG ! tag:example.org,2000:\n---\na: 1\n'],
    ['invalid YAML', 'a: "\u0085"\n'],
    ['invalid YAML', 'a: x\u2028\n'],
    ['invalid YAML', 'a: \u0000\n'],
    ['invalid YAML', 'a: \u001b[2J\n'],
    ['duplicate key', 'a: 1\na: 2\n'],
    ['duplicate key', 'a: 1\n"a": 2\n'],
    ['duplicate key', "a: 1\n'a': 2\n? a\n: 3\n"],
    ['must contain a YAML mapping', ''],
    ['must contain a YAML mapping', '# only a comment\n'],
    ['must contain a YAML mapping', '---\n'],
    ['must contain a YAML mapping', '- a\n'],
    ['must contain a YAML mapping', 'text\n'],
    ['must contain a YAML mapping', '~\n'],
  ])('says "%s" of %j', (phrase, text) => {
    expect(faults(text)[0]?.[1]).toContain(phrase);
  });

  it('says "failed to read" of bytes that are not UTF-8', () => {
    const result = parseStrictYaml(Uint8Array.of(0x61, 0x3a, 0x20, 0xff), limit);
    expect(result).toMatchObject({
      ok: false,
      faults: [{ message: expect.stringContaining('failed to read') }],
    });
  });

  it('names the member of each fault, and finds all of them', () => {
    const text = 'a:\n  b: [1, yes, 1.5]\n  b: 2\nc: !!str 1\n1: x\n"__proto__": 1\n<<: {d: 1}\ne: 010\n';
    expect(paths(text)).toEqual(['a.b[1]', 'a.b[2]', 'a.b', 'c', '', '__proto__', '', 'e']);
  });

  it.each([
    '!!str 1',
    '!foo 1',
    '! 1',
    '!!map {}',
    '!!seq []',
    '!<tag:x> y',
    '!!python/object/apply:os.system [ls]',
  ])('refuses the tag in %j', (value) => {
    expect(paths(`a: ${value}\n`)).toEqual(['a']);
  });

  it.each([
    '1: a',
    'true: a',
    '~: a',
    'null: a',
    'yes: a',
    '1.5: a',
    '? [a]\n: b',
    '? {a: 1}\n: b',
    ': a',
    '2024-01-01: a',
    '!!str a: b',
  ])('refuses the key of %j', (text) => {
    expect(paths(`${text}\n`)).toHaveLength(1);
  });

  it.each([
    'yes',
    'Yes',
    'YES',
    'no',
    'No',
    'NO',
    'on',
    'On',
    'ON',
    'off',
    'Off',
    'OFF',
    'y',
    'Y',
    'n',
    'N',
    'yEs',
    '010',
    '-010',
    '+07',
    '00',
    '08',
    '0_7',
    '0o10',
    '0b11',
    '-0x1F',
    '0x1_F',
    '1_000',
    '1__',
    '-1_0',
    '1:30',
    '-1:30',
    '190:20:30',
    '0:30.5',
    '1:30:00.25',
    '1e3',
    '1E3',
    '1e+3',
    '+1e-3',
    '1_0.5',
    '.5e3',
    '.5_0',
    '2024-01-01',
    '2024-1-1 1:02:03',
    '2024-01-01T00:00:00Z',
    '2024-01-01 00:00:00 +1',
    '=',
    '?a',
    ':a',
  ])('refuses the plain scalar %s, and takes it quoted', (source) => {
    const [fault] = faults(`a: ${source}\n`);
    expect(fault).toEqual(['a', expect.stringContaining('quote it')]);
    expect(parse(`a: "${source}"\n`)).toEqual({ ok: true, value: { a: source } });
  });

  it.each([
    '1.5',
    '.5',
    '5.',
    '-1.0',
    '+.5',
    '1.5e+3',
    '.inf',
    '-.Inf',
    '.nan',
    '9007199254740992',
    '-9007199254740993',
  ])('refuses the number %s', (source) => {
    expect(paths(`a: ${source}\n`)).toEqual(['a']);
  });

  it('refuses lone surrogates and a block scalar that the file ends in', () => {
    expect(paths('a: "\\ud800"\n')).toEqual(['a']);
    expect(paths('a: |\n  text')).toEqual(['a']);
    expect(parse('a: text').ok).toBe(true);
  });

  it('stops aliases that blow up', () => {
    const level = (name: string, of: string): string =>
      `${name}: &${name} [${Array(9).fill(`*${of}`).join(',')}]`;
    const laughs = [
      'a: &a [1,2,3,4,5,6,7,8,9]',
      level('b', 'a'),
      level('c', 'b'),
      level('d', 'c'),
      level('e', 'd'),
      level('f', 'e'),
    ];
    expect(parse(`${laughs.join('\n')}\n`).ok).toBe(false);
    expect(parse('a: &a [*a]\n').ok).toBe(false);
    expect(parse('a: &a {b: *a}\n').ok).toBe(false);
    expect(parse('a: *nothing\n').ok).toBe(false);
  });

  it('takes 32 levels and refuses 33', () => {
    const nested = (levels: number): string => `a: ${'['.repeat(levels)}${']'.repeat(levels)}\n`;
    expect(parse(nested(31)).ok).toBe(true);
    expect(paths(nested(32))).toEqual([`a${'[0]'.repeat(31)}`]);
  });

  it.each([
    ['brackets', '['.repeat(100_000)],
    ['mappings', '{a: '.repeat(50_000)],
    ['dashes', '- '.repeat(100_000)],
    ['question marks', '? '.repeat(50_000)],
  ])('survives many nested %s', (_, text) => {
    expect(parse(text).ok).toBe(false);
  });

  it('stops at about a hundred faults', () => {
    expect(faults(`a: [${'yes, '.repeat(5000)}]\n`).length).toBeLessThan(110);
  });
});

// PyYAML 6.0's resolver (resolver.py), as the reference uses it: what is none of these is text.
const pyYaml: readonly (readonly [string, RegExp])[] = [
  ['bool', /^(?:yes|Yes|YES|no|No|NO|true|True|TRUE|false|False|FALSE|on|On|ON|off|Off|OFF)$/],
  [
    'float',
    /^(?:[-+]?[0-9][0-9_]*\.[0-9_]*(?:[eE][-+][0-9]+)?|\.[0-9][0-9_]*(?:[eE][-+][0-9]+)?|[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+\.[0-9_]*|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$/,
  ],
  [
    'int',
    /^(?:[-+]?0b[0-1_]+|[-+]?0[0-7_]+|[-+]?(?:0|[1-9][0-9_]*)|[-+]?0x[0-9a-fA-F_]+|[-+]?[1-9][0-9_]*(?::[0-5]?[0-9])+)$/,
  ],
  ['merge', /^<<$/],
  ['null', /^(?:~|null|Null|NULL|)$/],
  [
    'timestamp',
    /^(?:\d{4}-\d\d-\d\d|\d{4}-\d\d?-\d\d?(?:[Tt]|[ \t]+)\d\d?:\d\d:\d\d(?:\.\d*)?(?:[ \t]*(?:Z|[-+]\d\d?(?::\d\d)?))?)$/,
  ],
  ['value', /^=$/],
];

function typeByPyYaml(source: string): string {
  return pyYaml.find(([, pattern]) => pattern.test(source))?.[0] ?? 'str';
}

function typeOf(value: unknown): string {
  if (value === null) return 'null';
  return { boolean: 'bool', number: 'int', string: 'str' }[typeof value as string] ?? 'other';
}

describe('readPlainScalar', () => {
  const alphabet = '01789_.:-+eExXobBynNfF~=TZalsrtu'.split('');
  const numberLike = fc
    .array(fc.constantFrom(...alphabet), { minLength: 1, maxLength: 8 })
    .map((it) => it.join(''));
  const dateLike = fc
    .tuple(fc.constantFrom('2024-01-02', '2024-1-2'), fc.array(fc.constantFrom(...'019:-TtZ +.'.split(''))))
    .map(([date, rest]) => `${date}${rest.join('')}`.trim());
  const scalars = fc
    .oneof(numberLike, dateLike)
    .filter((source) => !/^[-?:](?: |$)|:(?: |$)| #/.test(source));

  it('takes only what YAML 1.1 and 1.2 read alike', () => {
    fc.assert(
      fc.property(scalars, (source) => {
        const scalar = readPlainScalar(source);
        fc.pre(scalar.kind === 'value');
        expect(typeOf(scalar.value)).toBe(typeByPyYaml(source));
        expect(parseYaml(`a: ${source}`)).toEqual({ a: scalar.value });
      }),
      { numRuns: 1500 },
    );
  });
});
