import * as z from 'zod';

const shape = /^spiffe:\/\/[a-z0-9._-]+\/client\/[A-Za-z0-9._*-]+$/;

/**
 * A client's identity, in whose name `*` stands for any characters. Trust domain and role are always written out: a
 * pattern must not reach into another domain.
 */
export const identityPattern = z
  .string()
  .refine((text) => shape.test(text), {
    error: 'must be spiffe://TRUST_DOMAIN/client/NAME; only NAME may hold * for any characters',
  })
  .meta({ pattern: shape.source, examples: ['spiffe://csc.local/client/ci-*'] });

/** True where the identity is one that the pattern stands for. Linear in the lengths, whatever the pattern. */
export function matchesPattern(pattern: string, identity: string): boolean {
  if (!pattern.includes('*')) return identity === pattern;
  const [head = '', ...rest] = pattern.split('*');
  const tail = rest.pop() ?? '';
  if (!identity.startsWith(head)) return false;
  let at = head.length;
  for (const part of rest) {
    const found = identity.indexOf(part, at);
    if (found < 0) return false;
    at = found + part.length;
  }
  return (
    identity.length - tail.length >= at &&
    identity.endsWith(tail) &&
    !identity.slice(head.length).includes('/')
  );
}

/** True where `outer` matches all that `inner` matches; what is not a pattern covers nothing. */
export function coversPattern(outer: unknown, inner: unknown): boolean {
  return (
    typeof outer === 'string' &&
    typeof inner === 'string' &&
    shape.test(outer) &&
    matchesPattern(outer, inner)
  );
}
