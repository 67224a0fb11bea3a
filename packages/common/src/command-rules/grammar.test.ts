import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { named } from './grammar.ts';
import { tools } from './tool-table.ts';

describe('the names of programs', () => {
  const patterns = [
    'sh',
    '[bd]?ash',
    'g?env',
    'r',
    'ab?',
    'ts-node(?:-esm)?',
    'vim\\.\\w+',
    '(?:im-)?convert',
    'a+b',
    'x.y',
  ];
  const ends = [
    '',
    '3',
    '-3.11',
    'v2b',
    '-static',
    '5.36-x86_64-linux-gnu',
    '3-dbg',
    '.',
    '-',
    'x',
    '\n',
    '3.',
  ];
  const starts = [
    'sh',
    'ash',
    'bash',
    'dash',
    'bdash',
    'genv',
    'env',
    'g',
    'r',
    '',
    'a',
    'ab',
    'abb',
    'aab',
    'b',
    'xzy',
  ];
  const others = ['ts-node', 'ts-node-esm', 'vim.tiny', 'vim.', 'im-convert', 'convert', 'rconvert'];

  it.each(patterns)('match as the regular expression %s with a version and a build does', (pattern) => {
    const version = '(?:-?v?\\d+(?:\\.\\d+)*[a-z]?)?';
    const build = '(?:-(?:dbg|static|minimal|\\w+-linux-\\w+))?';
    const whole = new RegExp(`^(?:zsh|${pattern})${version}${build}$`);
    const names = named(`zsh ${pattern}`);
    const known = [...starts, ...others].flatMap((start) => ends.map((end) => start + end));
    expect(known.filter((name) => names.test(name))).toEqual(known.filter((name) => whole.test(name)));
    const name = fc.string({ unit: fc.constantFrom(...'abdehgrsxyz.-_3v\n') });
    fc.assert(fc.property(name, (text) => names.test(text) === whole.test(text)));
  });

  const written = {
    pdflatex: 'e?(?:pdf|xe|lua)?(?:la)?tex|luahbtex|dviluatex',
    mogrify: '(?:im-)?(?:convert|magick|mogrify|identify|composite|montage)',
    gcc: '(?:[\\w.-]+-)?(?:gcc|g\\+\\+|cc|c\\+\\+|clang|clang\\+\\+|gfortran|cpp)',
  };
  const pieces = ['', 'e', 'im-', 'x86_64-linux-gnu-', '-'].flatMap((before) =>
    ['', 'pdf', 'xe', 'lua', 'luahb', 'dvilua', 'clang', 'g', 'c', 'gf'].flatMap((kind) =>
      ['', 'la', 'cc', '++', 'ortran', 'cpp', 'convert', 'mogrify', 'montage'].flatMap((rest) =>
        ['', 'tex'].map((end) => `${before}${kind}${rest}${end}`),
      ),
    ),
  );

  it.each(Object.entries(written))('of which %s is one are those of one pattern', (one, pattern) => {
    const tool = tools.find(({ names }) => names.test(one));
    const whole = new RegExp(
      `^(?:${pattern})(?:-?v?\\d+(?:\\.\\d+)*[a-z]?)?(?:-(?:dbg|static|minimal|\\w+-linux-\\w+))?$`,
    );
    const known = pieces.flatMap((piece) => ends.map((end) => piece + end));
    expect(known.filter((name) => whole.test(name)).length).toBeGreaterThan(30);
    expect(known.filter((name) => tool?.names.test(name))).toEqual(known.filter((name) => whole.test(name)));
  });
});
