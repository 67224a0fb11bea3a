/** A line of one of two texts, or of both. */
export interface DiffLine {
  readonly sign: ' ' | '-' | '+';
  readonly text: string;
}

// Cells of the table: some 16 MB of numbers.
const maxCells = 4_000_000;

/**
 * What has changed from one text to another, line by line, by their longest common subsequence; undefined where they are too
 * long to be compared.
 */
export function diffLines(before: readonly string[], after: readonly string[]): DiffLine[] | undefined {
  const width = after.length + 1;
  if ((before.length + 1) * width > maxCells) return undefined;
  // Of what is left from each pair of places on.
  const common = new Uint32Array((before.length + 1) * width);
  const at = (a: number, b: number): number => common[a * width + b] ?? 0;
  for (let a = before.length - 1; a >= 0; a--)
    for (let b = after.length - 1; b >= 0; b--)
      common[a * width + b] =
        before[a] === after[b] ? at(a + 1, b + 1) + 1 : Math.max(at(a + 1, b), at(a, b + 1));
  const lines: DiffLine[] = [];
  for (let a = 0, b = 0; a < before.length || b < after.length; ) {
    const [old = '', own = ''] = [before[a], after[b]];
    if (a < before.length && b < after.length && old === own) {
      lines.push({ sign: ' ', text: own });
      a++;
      b++;
    } else if (b >= after.length || (a < before.length && at(a + 1, b) >= at(a, b + 1))) {
      lines.push({ sign: '-', text: old });
      a++;
    } else {
      lines.push({ sign: '+', text: own });
      b++;
    }
  }
  return lines;
}
