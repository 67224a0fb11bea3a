/** One part of a file name's pattern: any run of characters, or one character that passes a test. */
export type NameToken = 'any' | ((character: string) => boolean);

/** The tokens of one path segment's pattern: `*`, `?`, `[abc]`, `[a-z]`, `[!a-z]`; all else stands for itself. */
export function toTokens(pattern: string): NameToken[] {
  const parts = pattern.match(/\*+|\?|\[!?[^\]]+\]|./gsu) ?? [];
  return parts.map((part) => {
    if (part.startsWith('*')) return 'any';
    if (part === '?') return () => true;
    if (part.length > 2 && part.startsWith('[')) return toSet(part.slice(1, -1));
    return (character) => character === part;
  });
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
