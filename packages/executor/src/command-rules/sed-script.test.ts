import { describe, expect, it } from 'vitest';
import { startsProgram } from './sed-script.ts';

describe('startsProgram', () => {
  it.each([
    'e',
    'e id',
    '1e id',
    '$!e id',
    '/x/e id',
    '/x/I,/y/M!{ e id',
    '\\,x,e id',
    '0~3e id',
    '1,+2e id',
    'p;e id',
    'p\ne id',
    '{p};e id',
    's/a/b/e',
    's/a/b/ge',
    's/a/b/2Ie',
    's|a|b|e',
    's/a\\/b/c/e',
    's/[/]/c/e',
    's/[]/]/c/e',
    's/[^]/]/c/e',
    's/[[:alpha:]/]/c/e',
    's/\\[/c/e',
    's/a/b\\\nc/e',
    's/a/b/;s/x/y/e',
    'y/abc/xyz/;e id',
    'r file\ne id',
    'w file\ne id',
    '#comment\ne id',
    'a text\ne id',
    'a\\\ntext\ne id',
    'i\\\none\\\ntwo\ne id',
    ':a\ne id',
    ':a;e id',
    'ba;e id',
    'q5;e id',
    's/unterminated',
    '??',
  ])('%j: it may', (script) => {
    expect(startsProgram(script)).toBe(true);
  });

  it.each([
    '',
    'p',
    's/e/e/g',
    's/a/b/w e',
    's/[/]/e/',
    's,/,e,',
    '/e/d',
    '/[/e]/d',
    '\\exe p',
    'y/e/f/',
    'a e id',
    'a\\\ne id',
    'a one\\\ne id',
    'r e',
    '#e',
    ':e\nbe',
    '1,5p;$!N;P;D',
    '/x/{s/a/b/;n;d}',
    '/begin/,/end/{//!d}',
    'l 5',
    'q5',
    '1!G;h;$!d',
    'v 4.2',
  ])('%j: it does not', (script) => {
    expect(startsProgram(script)).toBe(false);
  });
});
