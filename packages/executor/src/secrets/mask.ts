import { Automaton, type Pattern } from './automaton.ts';
import { createOutputMask, type OutputMask } from './output-mask.ts';
import { unavailable } from './refusal.ts';
import { secretForms, withoutNewlines } from './secret-forms.ts';

/** Less than this is in all output by chance, so that taking it out would only make it known. */
export const minMaskableBytes = 4;

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
