/** A claim as a part of a principal's name: reversible, so that no two come to one, and without the dot, so that none makes two. */
export function toPart(claim: string): string {
  return claim.replace(/[^A-Za-z0-9-]/gu, (character) =>
    [...Buffer.from(character, 'utf8')].map((byte) => `_${byte.toString(16).padStart(2, '0')}`).join(''),
  );
}
