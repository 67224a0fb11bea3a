import { Automaton, idle, type Pattern } from './automaton.ts';
import { secretForms, withoutNewlines } from './forms.ts';
import { unavailable } from './provider.ts';

/** Less than this is in all output by chance, so that taking it out would only make it known. */
const minMaskableBytes = 4;

/** What takes the secrets of one execution out of its output. */
export interface Mask {
  /** The state of one stream: secrets may be split over its chunks, but not over two streams. */
  stream(): OutputMask;
}

/** Throws SANDBOX_UNAVAILABLE where a value is too short to be told from other output. */
export function checkMaskable(name: string, value: Buffer): void {
  const { length } = withoutNewlines(value);
  if (length >= minMaskableBytes) return;
  throw unavailable(
    `the secret ${name} cannot be kept out of output: it takes ${minMaskableBytes} bytes or more (newlines at its end do not count) to tell it from other text`,
  );
}

/**
 * A mask that puts `[secret:NAME]`, whatever its length, in place of each value: of the value itself, of each longer
 * line of it, and of its usual encodings. It keeps secrets from getting into logs by accident. A job that means to give
 * one away can write it in ways that nobody looks for: see to it by what the job may reach.
 *
 * Keeps forms of the values until it is collected. Throws what checkMaskable throws.
 */
export function createMask(values: ReadonlyMap<string, Buffer>): Mask {
  const patterns: Pattern[] = [];
  const replacements: Buffer[] = [];
  for (const [name, value] of values) {
    checkMaskable(name, value);
    const owner = replacements.push(Buffer.from(`[secret:${name}]`)) - 1;
    for (const bytes of secretForms(value)) patterns.push({ bytes, owner });
  }
  const automaton = new Automaton(patterns);
  return { stream: () => createOutputMask(automaton, replacements) };
}

/** Takes secrets out of one stream. */
export interface OutputMask {
  /** What is certain by now, in a buffer of its own: all but the end that may be the beginning of a secret. */
  push(chunk: Buffer): Buffer;
  /** What was held back. */
  end(): Buffer;
}

/** A stretch of output that matches cover, each overlapping another. Becomes one replacement. */
interface Span {
  readonly start: number;
  readonly end: number;
  /** The longest match in it, the first of several. */
  readonly length: number;
  readonly owner: number;
}

/**
 * Replaces whatever a match covers. Where matches overlap, everything that any of them covers goes (what one of them
 * leaves could be the better part of the other), and the longest one's replacement takes its place.
 */
export function createOutputMask(automaton: Automaton, replacements: readonly Buffer[]): OutputMask {
  let state = idle;
  // What is under way: its bytes, and the spans in it, in order and apart from each other. Places count from its start.
  let held: Buffer = Buffer.alloc(0);
  let spans: Span[] = [];

  const cover = (start: number, end: number, owner: number): void => {
    let span: Span = { start, end, length: end - start, owner };
    for (let last = spans.at(-1); last !== undefined && last.end > span.start; last = spans.at(-1)) {
      span = merge(last, span);
      spans.pop();
    }
    spans.push(span);
  };

  // Gives out what is before `limit`, but for a span that goes beyond it: more may be added to its end.
  const release = (text: Buffer, limit: number): Buffer => {
    if (limit === 0) return Buffer.alloc(0);
    const parts: Buffer[] = [];
    let at = 0;
    let done = 0;
    for (const { start, end, owner } of spans) {
      if (start >= limit) break;
      parts.push(text.subarray(at, start));
      at = Math.min(end, limit);
      if (end > limit) break;
      parts.push(replacements[owner] ?? Buffer.alloc(0));
      done += 1;
    }
    parts.push(text.subarray(at, limit));
    spans = spans.slice(done).map((span) => shift(span, limit));
    return Buffer.concat(parts);
  };

  return {
    push(chunk) {
      const text = held.length === 0 ? chunk : Buffer.concat([held, chunk]);
      state = automaton.advance(text, held.length, state, cover);
      const limit = text.length - automaton.pending(state);
      const certain = release(text, limit);
      // The chunk is the caller's, who may read into it again.
      held = limit === 0 && text !== chunk ? text : Buffer.from(text.subarray(limit));
      return certain;
    },
    end() {
      const rest = release(held, held.length);
      state = idle;
      held = Buffer.alloc(0);
      return rest;
    },
  };
}

function merge(earlier: Span, later: Span): Span {
  const { length, owner } = earlier.length >= later.length ? earlier : later;
  return { start: Math.min(earlier.start, later.start), end: later.end, length, owner };
}

function shift({ start, end, ...rest }: Span, by: number): Span {
  return { ...rest, start: Math.max(0, start - by), end: end - by };
}
