import { findInlineCode } from '@csc-fleet/common/command-rules';
import { describe, expect, it } from 'vitest';

/**
 * Command lines, one a row. In one, `_` stands for code with blanks and quotes in it, and `\t` for a blank within a word.
 */
export interface CommandLines {
  /** That hold code. */
  readonly inline: string;
  /** That hold none. */
  readonly notInline: string;
  /** That take code from a pipe, and hold none without one. */
  readonly onlyPiped: string;
  /** Those without code that would take some from a pipe, or that nobody pipes anything into. Absent: none would. */
  readonly notPiped?: RegExp;
}

/** In which of them findInlineCode finds code. */
export function testCommandLines({ inline, notInline, onlyPiped, notPiped }: CommandLines): void {
  describe('findInlineCode', () => {
    it.each(rows(inline))('finds it in %s', (line) => {
      expect(findInlineCode(toArgv(line))).toBeDefined();
    });

    it.each(rows(notInline))('finds none in %s', (line) => {
      expect(findInlineCode(toArgv(line))).toBeUndefined();
    });

    it.each(rows(notInline).filter((line) => notPiped?.test(line) !== true))(
      'finds none in %s where data is piped in',
      (line) => {
        expect(findInlineCode(toArgv(line), { piped: true })).toBeUndefined();
      },
    );

    it.each(rows(onlyPiped))('finds code from a pipe in %s, and none without one', (line) => {
      expect(findInlineCode(toArgv(line), { piped: true })).toBeDefined();
      expect(findInlineCode(toArgv(line))).toBeUndefined();
    });

    it('never quotes the code', () => {
      for (const line of rows(inline)) expect(findInlineCode(toArgv(line))?.by).not.toContain('a b');
    });
  });
}

function rows(table: string): string[] {
  const lines = table.split('\n').filter((line) => line !== '');
  expect(new Set(lines).size).toBe(lines.length);
  return lines;
}

function toArgv(line: string): string[] {
  return line
    .split(' ')
    .map((word) => word.replace(/_$|(?<![A-Za-z0-9])_(?![A-Za-z0-9])/g, 'echo "a b"; id'))
    .map((word) => word.replaceAll('\\t', ' '));
}
