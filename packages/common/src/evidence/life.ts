import { parseTimestamp } from '../encoding/index.ts';
import type { CscError } from '../errors/index.ts';
import type { Signature } from '../schema/index.ts';

/** What is good for a while, from one time to another, and was signed in between. */
export interface Limited {
  readonly not_before: string;
  readonly expires_at: string;
  readonly signature: Pick<Signature, 'signed_at'>;
}

/** How long, and what to say where it is not. */
export interface LifeRules {
  /** From not_before to expires_at, at most; and the same in words. */
  readonly longest: { readonly ms: number; readonly words: string };
  /** Milliseconds that its maker's clock may be ahead of this one. */
  readonly earlyMs: number;
  /** Milliseconds that it may be behind. */
  readonly lateMs: number;
  readonly expired: (at: string) => CscError;
  readonly invalid: (why: string) => CscError;
}

/** Throws what the rules say where something is not valid now. */
export function checkLife(it: Limited, now: Date, rules: LifeRules): void {
  const { longest, earlyMs, lateMs, expired, invalid } = rules;
  const notBefore = time(it.not_before);
  const expiresAt = time(it.expires_at);
  const signedAt = time(it.signature.signed_at);
  if (expiresAt <= notBefore) throw invalid('it expires before it begins');
  if (expiresAt - notBefore > longest.ms) throw invalid(`its life is longer than ${longest.words}`);
  if (now.getTime() >= expiresAt + lateMs) throw expired(it.expires_at);
  if (now.getTime() < notBefore - earlyMs)
    throw invalid(`it is not valid before ${it.not_before}; check the clocks`);
  // A key's validity is judged at signed_at, too, so that it must not be dated to when another key was valid.
  if (signedAt < notBefore - earlyMs || signedAt > expiresAt)
    throw invalid('it was not signed when it begins');
}

function time(text: string): number {
  return parseTimestamp(text)?.getTime() ?? Number.NaN;
}
