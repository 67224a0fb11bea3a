import { execFileSync } from 'node:child_process';
import { describe, expect, it } from 'vitest';
import { awkStartsProgram } from './awk.ts';
import { startsProgram } from './sed.ts';

describe('awkStartsProgram', () => {
  it.each([
    'BEGIN { a = 8; b = a \\\n/ system("echo ran") / 1 }',
    'BEGIN { a = 8; b = a # "\n; system("echo ran") }',
    'BEGIN { a[1] = 4; y = a[1] / system("echo ran") / 1 }',
    'BEGIN { y = (4) / system("echo ran") / 1 }',
    'BEGIN { y = "4" / system("echo ran") / 1 }',
    'BEGIN { print "\\"" | "sh -c \\"echo ran\\"" }',
  ])('finds what awk itself runs: %j', (program) => {
    // A program that divides by nothing has run all the same.
    const { stdout } = run(program);
    expect(stdout).toContain('ran');
    expect(awkStartsProgram(program)).toBe(true);
  });

  // What one awk reads as a string or a pattern is to another what it runs.
  it.each([
    'BEGIN { print length /"/; system("id") } # "/ }',
    '/[/]"/ { system("id") } #"/',
    'BEGIN { x = "a" /[\\]/; system("id") #]/ 1\n }',
    'BEGIN { y = (1\n/"/); system("id") #"/)\n }',
    'BEGIN { x = 1; y = x++ / system("echo ran") / 1 }',
    'BEGIN { if (1) /"/; system("echo ran"); "" }',
  ])('takes the worse of two readings: %j', (program) => {
    expect(awkStartsProgram(program)).toBe(true);
  });

  it.each([
    '# a system | b\n{ print }',
    '/a|b/ && !/c|d/ { n++ }\nEND { print n }',
    '{ gsub(/[|@]/, "|"); print }',
    '$1 ~ "system" || $2 ~ /^@/ { print $1 / 2 }',
    'BEGIN { FS = "\\"|" }\n{ print $1 }',
    '{ print (a + b) / 2 "|" $3 }',
    '{ if ($1 ~ /a|b/) print $2 / 3 "@"; else /x|y/ }',
    '{ gsub(/[ \\t|]+/, "|"); print }',
    '/[/|]/ { print }',
    '$0 ~ /[^[:space:]|/]/',
    '{ printf("%s|%s\\n",\n $1,\n $2 / 2) }',
    '{ print length / 2 "|"; x++ / 2 }',
    'function f(x) { return x / 2 "|" }\n{ print f($1), @/a|b/ }',
  ])('finds nothing in %j', (program) => {
    expect(awkStartsProgram(program)).toBe(false);
  });

  it('takes time in proportion to the length', () => {
    expect(awkStartsProgram(`{ ${'a / b; "x|y"; '.repeat(5000)} }`)).toBe(false);
    expect(awkStartsProgram(`|${'/[['.repeat(20_000)}`)).toBe(true);
  });
});

function run(program: string): { stdout: string } {
  try {
    return {
      stdout: execFileSync('awk', [program], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] }),
    };
  } catch (error) {
    const stdout = error instanceof Error && 'stdout' in error ? String(error.stdout) : '';
    return { stdout };
  }
}

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
