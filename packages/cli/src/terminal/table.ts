import { createPaint, plainLine } from './text.ts';

/** A table for stdout, ending with a line end: a bold head, columns as wide as their widest cell, texts made safe. */
export function toTable(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const cells = [head, ...rows].map((row) => row.map(plainLine));
  const widths = head.map((_, column) => Math.max(...cells.map((row) => row[column]?.length ?? 0)));
  const [first = '', ...others] = cells.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd(),
  );
  return `${[createPaint(process.stdout)('bold', first), ...others].join('\n')}\n`;
}

/** RFC 3339 to the second, in UTC; `-` for none. */
export function formatTime(at: Date | undefined): string {
  return at?.toISOString().replace(/\.\d+Z$/, 'Z') ?? '-';
}
