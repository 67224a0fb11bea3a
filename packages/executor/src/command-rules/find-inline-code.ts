import type { InlineCode, Surroundings } from './look.ts';
import { tracePrograms } from './trace-programs.ts';

const unpiped: Surroundings = { piped: false };

/**
 * The code that an argv carries in its own words, or takes from a pipe, rather than from a file: `sh -c …`,
 * `timeout 5 python3 -c …`, `… | bash`. Undefined where there is none. By names alone: what a name stands for on a host
 * is `checkCommand`'s to ask.
 */
export function findInlineCode(
  argv: readonly string[],
  surroundings: Surroundings = unpiped,
): InlineCode | undefined {
  return tracePrograms(argv, surroundings).codes[0];
}

/** The programs that the wrappers in an argv would run, each with its arguments, the outermost first. */
export function unwrap(argv: readonly string[]): readonly (readonly string[])[] {
  return tracePrograms(argv, unpiped)
    .programs.slice(1)
    .map(({ words }) => words.map(({ text }) => text));
}
