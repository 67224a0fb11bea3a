import * as z from 'zod';
import { type DenialReason, isDenialReason } from './refusal.ts';

/** What a proxy says, a line each: that it is there; a verdict, which is a denial where it has a reason; its own fault. */
export type ProxyWord =
  | { readonly ready: true }
  | { readonly host: string; readonly port: number; readonly reason?: DenialReason }
  | { readonly fault: string };

const word = z.union([
  z.strictObject({
    host: z.string().regex(/^[\x21-\x7e]{1,253}$/),
    port: z.int().min(0).max(65_535),
    reason: z.custom<DenialReason>(isDenialReason).exactOptional(),
  }),
  z.strictObject({ ready: z.literal(true) }),
  z.strictObject({ fault: z.string().regex(/^[\n\x20-\x7e]{0,1000}$/) }),
]);

/** Longer than any of them: a fault's text, each letter of it escaped. */
const mostLine = 8192;

/** Who is told what a proxy says. */
export interface ProxyListener {
  hear(word: ProxyWord): void;
  /** It said what no proxy of ours says. */
  distrust(): void;
}

/**
 * Reads what a proxy says, which may have been taken over: lines of a bounded length that are one of a few things. After
 * the first that is not, nothing more of it is believed.
 */
export class ProxyWords {
  readonly #listener: ProxyListener;
  #rest = '';
  #isOver = false;

  constructor(listener: ProxyListener) {
    this.#listener = listener;
  }

  push(chunk: Buffer): void {
    if (this.#isOver) return;
    // All that it says is ASCII, escaped if need be.
    const lines = `${this.#rest}${chunk.toString('latin1')}`.split('\n');
    this.#rest = lines.pop() ?? '';
    const isSound = lines.every((line) => this.#take(line)) && this.#rest.length <= mostLine;
    if (isSound) return;
    this.#isOver = true;
    this.#rest = '';
    this.#listener.distrust();
  }

  #take(line: string): boolean {
    const read = line.length <= mostLine ? word.safeParse(parseJson(line)) : undefined;
    if (read?.success !== true) return false;
    this.#listener.hear(read.data);
    return true;
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
