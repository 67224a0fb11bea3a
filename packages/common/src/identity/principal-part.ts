/**
 * A claim as one part of a principal's name: reversible, so that no two claims give the same part, and without a dot,
 * so that none gives two parts.
 */
export function toPart(claim: string): string {
  return claim.replace(/[^A-Za-z0-9-]/gu, (character) =>
    [...Buffer.from(character, 'utf8')].map((byte) => `_${byte.toString(16).padStart(2, '0')}`).join(''),
  );
}
