/** One part of a file name's pattern: any run of characters, or one character that passes a test. */
export type NameToken = 'any' | ((character: string) => boolean);

/**
 * The tokens of one path segment's pattern: `*`, `?`, `[abc]`, `[a-z]`, `[!a-z]`, `\*`; all else stands for itself. A byte
 * that is no UTF-8 is one character.
 */
export function toTokens(pattern: string): NameToken[] {
  return toPieces(pattern).map((piece) => {
    const plain = toPlain(piece);
    if (plain !== undefined) return (character) => character === plain;
    if (piece.startsWith('*')) return 'any';
    return piece === '?' ? () => true : toSet(piece.slice(1, -1));
  });
}

/** A pattern cut into what stands for one character each, or for any number. */
export function toPieces(pattern: string): string[] {
  return pattern.match(/\\[*?[\]\\]|\*+|\?|\[!?[^\]]+\]|./gsu) ?? [];
}

/** The one character that a piece stands for; undefined where it stands for several. */
export function toPlain(piece: string): string | undefined {
  if (piece.startsWith('*') || piece === '?') return undefined;
  if (piece.startsWith('\\') && piece.length === 2) return piece.slice(1);
  if (!piece.startsWith('[') || piece.length === 1) return piece;
  return /^\[(.)\]$/su.exec(piece)?.[1];
}

/**
 * Whether a file name matches, in time of at most the product of both lengths: the pattern comes from outside, and a
 * regular expression with many stars takes exponential time. A leading dot matches only a literal one, as in a shell.
 */
export function matchesName(name: string, tokens: readonly NameToken[]): boolean {
  const characters = [...name];
  if (characters[0] === '.' && (tokens[0] === 'any' || tokens[0]?.('a'))) return false;
  let at = 0;
  let token = 0;
  let star: { token: number; at: number } | undefined;
  while (at < characters.length) {
    const test = tokens[token];
    const character = characters[at] ?? '';
    if (test === 'any') {
      star = { token, at };
      token += 1;
    } else if (test?.(character)) {
      at += 1;
      token += 1;
    } else if (star !== undefined) {
      star.at += 1;
      at = star.at;
      token = star.token + 1;
    } else return false;
  }
  return tokens.slice(token).every((rest) => rest === 'any');
}

function toSet(body: string): (character: string) => boolean {
  const negated = body.startsWith('!');
  const ranges = [...body.slice(negated ? 1 : 0).matchAll(/(.)-(.)|(.)/gsu)].map(
    ([, first, last, single = '']) => [first ?? single, last ?? single] as const,
  );
  return (character) => ranges.some(([first, last]) => first <= character && character <= last) !== negated;
}
