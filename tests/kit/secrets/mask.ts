import type { Pattern } from '../../../packages/executor/src/secrets/automaton.ts';
import type { OutputMask } from '../../../packages/executor/src/secrets/mask.ts';

/** Says what a mask is to give, as plainly as possible and with all of the text at hand. */
export function replaceAtOnce(
  text: Buffer,
  patterns: readonly Pattern[],
  replacements: readonly Buffer[],
): Buffer {
  const matches = patterns
    .flatMap(({ bytes, owner }) =>
      occurrences(text, bytes).map((start) => ({ start, end: start + bytes.length, owner })),
    )
    .sort((one, other) => one.start - other.start || one.end - other.end);
  const parts: Buffer[] = [];
  let done = 0;
  while (matches.length > 0) {
    const cluster = takeCluster(matches);
    const length = Math.max(...cluster.map(({ start, end }) => end - start));
    const longest = cluster.filter(({ start, end }) => end - start === length);
    const first = longest.reduce((best, match) => (match.end < best.end ? match : best));
    parts.push(text.subarray(done, Math.min(...cluster.map(({ start }) => start))));
    parts.push(replacements[first.owner] ?? Buffer.alloc(0));
    done = Math.max(...cluster.map(({ end }) => end));
  }
  return Buffer.concat([...parts, text.subarray(done)]);
}

interface Match {
  readonly start: number;
  readonly end: number;
  readonly owner: number;
}

function takeCluster(sorted: Match[]): Match[] {
  const cluster: Match[] = [];
  for (let next = sorted[0]; next !== undefined; next = sorted[0]) {
    const end = Math.max(...cluster.map((match) => match.end));
    if (cluster.length > 0 && next.start >= end) break;
    cluster.push(...sorted.splice(0, 1));
  }
  return cluster;
}

function occurrences(text: Buffer, bytes: Buffer): number[] {
  const found: number[] = [];
  for (let at = text.indexOf(bytes); at !== -1; at = text.indexOf(bytes, at + 1)) found.push(at);
  return found;
}

/** A text cut at some of its places. */
export function cut(text: Buffer, places: readonly number[]): Buffer[] {
  const sorted = [...places].sort((one, other) => one - other);
  return [0, ...sorted].map((start, index) => text.subarray(start, sorted[index] ?? text.length));
}

/** All that a mask gives for chunks, which it must not keep: each is overwritten once it was pushed. */
export function pushAll(mask: OutputMask, chunks: readonly Buffer[]): Buffer {
  const parts = chunks.map((chunk) => {
    const copy = Buffer.from(chunk);
    const part = mask.push(copy);
    copy.fill('#');
    return part;
  });
  return Buffer.concat([...parts, mask.end()]);
}
