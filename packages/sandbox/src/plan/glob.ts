import { type Dirent, readdirSync } from 'node:fs';
import { posix } from 'node:path';
import { CscError } from '@csc-fleet/common/errors';

/** The most paths that one glob may stand for: each becomes a mount of its own. */
export const maxGlobMatches = 256;

// Bounds the work of `**` in a large tree.
const maxVisited = 20_000;

/** True where a declared path is a pattern rather than a path. `X/**` alone is the tree X, not a pattern. */
export function isGlob(path: string): boolean {
  return /[*?[]/.test(path);
}

/** `X/**` says the tree X: X itself. Every other path as it is. */
export function stripTree(path: string): string {
  return path.endsWith('/**') ? path.slice(0, -3) || '/' : path;
}

/**
 * What a glob stands for now, sorted. As in a shell: `*` and `?` stop at a slash and do not match a leading dot,
 * `[…]` is one character of a set, `**` is any number of directories; symlinked directories are not searched.
 * Throws NOT_PERMITTED where it matches more than `maxGlobMatches` paths.
 */
export function expandGlob(pattern: string): string[] {
  const search: Search = { pattern, matches: new Set(), visited: 0 };
  descend('/', pattern.split('/').filter(isName), search);
  return [...search.matches].sort();
}

interface Search {
  readonly pattern: string;
  readonly matches: Set<string>;
  visited: number;
}

function descend(directory: string, names: readonly string[], search: Search): void {
  const [name, ...rest] = names;
  if (name === undefined) add(directory, search);
  else if (name === '**') descendAll(directory, rest, search);
  else if (isGlob(name)) descendMatching(directory, toTokens(name), rest, search);
  else descend(posix.join(directory, name), rest, search);
}

function descendMatching(
  directory: string,
  tokens: readonly NameToken[],
  rest: readonly string[],
  search: Search,
): void {
  for (const entry of list(directory, search)) {
    if (!matchesName(entry.name, tokens) || (rest.length > 0 && !entry.isDirectory())) continue;
    descend(posix.join(directory, entry.name), rest, search);
  }
}

function descendAll(directory: string, rest: readonly string[], search: Search): void {
  descend(directory, rest, search);
  for (const entry of list(directory, search)) {
    if (!entry.isDirectory() || entry.name.startsWith('.')) continue;
    descendAll(posix.join(directory, entry.name), rest, search);
  }
}

function add(path: string, search: Search): void {
  search.matches.add(path);
  if (search.matches.size > maxGlobMatches) throw tooMany(search);
}

function list(directory: string, search: Search): Dirent[] {
  try {
    const entries = readdirSync(directory, { withFileTypes: true });
    search.visited += entries.length;
    if (search.visited <= maxVisited) return entries;
  } catch {
    // Not a directory, gone, or closed to us: a glob matches nothing there.
    return [];
  }
  throw tooMany(search);
}

function tooMany({ pattern }: Search): CscError {
  return new CscError(
    'NOT_PERMITTED',
    `${pattern} matches more than ${maxGlobMatches} paths; declare the directory as a tree (…/**) instead`,
  );
}

function isName(name: string): boolean {
  return name !== '' && name !== '.';
}

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
