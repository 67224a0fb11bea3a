import { toBuffer } from '@csc-fleet/common/encoding';
/** A line of the input without its line feed, or the length of one that was too long to keep. */
export type Line = { readonly bytes: Buffer } | { readonly tooLong: number };

const lineFeed = 0x0a;

/** Splits bytes into lines, holding at most `maxBytes` of one. A line feed at the very end adds no empty line. */
export async function* splitLines(
  input: AsyncIterable<Uint8Array>,
  maxBytes: number,
): AsyncGenerator<Line[], void> {
  const splitter = createSplitter(maxBytes);
  for await (const chunk of input) {
    const lines = splitter.add(toBuffer(chunk));
    if (lines.length > 0) yield lines;
  }
  const last = splitter.rest();
  if (last !== undefined) yield [last];
}

interface Splitter {
  /** The lines that this chunk completes. */
  add(chunk: Buffer): Line[];
  /** What is left at the end; undefined where the input ended with a line feed. */
  rest(): Line | undefined;
}

function createSplitter(maxBytes: number): Splitter {
  let parts: Buffer[] = [];
  let length = 0;
  const keep = (part: Buffer): void => {
    length += part.length;
    if (length <= maxBytes) parts.push(part);
    else parts = [];
  };
  const take = (): Line => {
    const line = length > maxBytes ? { tooLong: length } : { bytes: Buffer.concat(parts) };
    parts = [];
    length = 0;
    return line;
  };
  return {
    add: (chunk) => {
      const lines: Line[] = [];
      let start = 0;
      for (let end = chunk.indexOf(lineFeed); end !== -1; end = chunk.indexOf(lineFeed, start)) {
        keep(chunk.subarray(start, end));
        lines.push(take());
        start = end + 1;
      }
      // The caller may use the chunk's memory again.
      if (start < chunk.length) keep(Buffer.from(chunk.subarray(start)));
      return lines;
    },
    rest: () => (length > 0 ? take() : undefined),
  };
}
