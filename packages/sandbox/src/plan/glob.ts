import { type Dirent, opendirSync } from 'node:fs';
import { posix } from 'node:path';
import { CscError } from '@csc-fleet/common/errors';
import { decodePath, encodePath, type Look, lookOnHost, walkPath } from '../host/index.ts';
import { matchesName, type NameToken, toPieces, toPlain, toTokens } from './match-name.ts';

/** The most paths that one pattern may stand for: each becomes a mount of its own. */
export const maxGlobMatches = 256;

/** The most entries of directories that are looked at for all patterns of a command: about half a second. */
const maxSearchedEntries = 200_000;

/** How many entries a command's patterns may still look at. */
export interface SearchBudget {
  left: number;
}

export function createSearchBudget(): SearchBudget {
  return { left: maxSearchedEntries };
}

// Nothing deeper has a path (path_resolution(7): 4096 bytes).
const mostParts = 2048;

/** How a declared path is read on this host. */
export type Reading =
  /** `isDirectory`: it says so itself. */
  { readonly kind: 'path'; readonly path: string; readonly isDirectory: boolean } | Pattern;

/** A declared path that is a pattern, as it was written and by its names. */
export interface Pattern {
  readonly kind: 'pattern';
  readonly pattern: string;
  readonly parts: readonly Part[];
}

/** One name of a pattern. */
type Part =
  | { readonly kind: 'name'; readonly name: string }
  /** `**`: any number of directories. */
  | { readonly kind: 'trees' }
  /** `exact`: the text itself, where it may be meant for a name: it has sets, and neither star nor question mark. */
  | { readonly kind: 'tokens'; readonly tokens: readonly NameToken[]; readonly exact?: string };

/**
 * Reads a declared path. What is there by exactly this name is that path, whatever characters it has (`app/[id]`). Else
 * `*`, `?` and `[…]` make a pattern of it, in which a backslash before one of `*?[]\`, or a set of one character, takes
 * its meaning away: what has nothing but such is a path again, there or not, and so is what is still to be in a directory
 * that is there by the exact names of all parts with sets (`app/[id]/new`). `X/` and `X/**` are the directory X.
 */
export function readDeclared(declared: string, look: Look = lookOnHost): Reading {
  const path = stripTree(declared);
  const isDirectory = declared.endsWith('/') || path !== fold(declared);
  if (!hasWildcards(path) || walkPath(path, look) !== undefined) return { kind: 'path', path, isDirectory };
  const parts = toParts(path);
  const names = parts.map(toExact);
  const last = parts.findLastIndex(({ kind }) => kind !== 'name') + 1;
  const isPath = !names.includes(undefined) && (last === 0 || isThere(names.slice(0, last), look));
  if (isPath) return { kind: 'path', path: `/${names.join('/')}`, isDirectory };
  return { kind: 'pattern', pattern: declared, parts };
}

function isThere(names: readonly (string | undefined)[], look: Look): boolean {
  return walkPath(`/${names.join('/')}`, look) !== undefined;
}

function toExact(part: Part): string | undefined {
  return part.kind === 'name' ? part.name : part.kind === 'tokens' ? part.exact : undefined;
}

/** `X/**` says the tree X: X itself. Every other path as it is, without what says nothing (`//`, `/./`, a last `/`). */
export function stripTree(path: string): string {
  const folded = fold(path);
  return folded.endsWith('/**') ? stripTree(folded.slice(0, -3)) : folded;
}

function fold(path: string): string {
  return `/${path.split('/').filter(isName).join('/')}`;
}

function isName(name: string): boolean {
  return name !== '' && name !== '.';
}

function hasWildcards(path: string): boolean {
  return /[*?[]/.test(path);
}

// Two `**` in a row say what one says, and take twice the time.
function toParts(path: string): Part[] {
  const names = path.split('/').filter(isName);
  return names.filter((name, index) => name !== '**' || names[index - 1] !== '**').map(toPart);
}

function toPart(text: string): Part {
  if (text === '**') return { kind: 'trees' };
  const pieces = toPieces(text);
  const plain = pieces.map(toPlain);
  if (plain.every((character) => character !== undefined)) return { kind: 'name', name: plain.join('') };
  const isExact = !pieces.some((piece) => piece.startsWith('*') || piece === '?');
  return { kind: 'tokens', tokens: toTokens(text), ...(isExact ? { exact: text } : {}) };
}

/**
 * What a declared path stands for on this host now, sorted: itself, or what matches it. Throws as `expandPattern`.
 */
export function expandDeclared(declared: string): string[] {
  const reading = readDeclared(declared);
  return reading.kind === 'path' ? [reading.path] : expandPattern(reading, createSearchBudget());
}

/**
 * What a pattern stands for now, sorted. As in a shell: `*` and `?` stop at a slash and do not match a leading dot,
 * `[…]` is one character of a set, `**` is any number of directories; symlinked directories are not searched. A
 * directory that is there by the exact name of a part with sets is that part.
 * Throws NOT_PERMITTED where it matches more than `maxGlobMatches` paths, or looks at more than is left of
 * the budget.
 */
export function expandPattern({ pattern, parts }: Pattern, budget: SearchBudget): string[] {
  const search: Search = { pattern, matches: new Set(), budget };
  if (parts.length > mostParts) return [];
  descend('/', parts, search);
  return [...search.matches].sort();
}

/**
 * Whether a pattern may stand for something below a directory, whatever is there by now: by its text, and by where the
 * directory leads that it begins in.
 */
export function mayMatchBelow({ parts }: Pattern, directory: string): boolean {
  const names = directory.split('/').filter(isName);
  const begin = parts.findIndex(({ kind }) => kind !== 'name');
  const base = walkPath(`/${parts.slice(0, begin).flatMap(toName).join('/')}`)?.path;
  if (mayLeadInto(parts, names)) return true;
  return (
    base !== undefined &&
    mayLeadInto([...base.split('/').filter(isName).map(asName), ...parts.slice(begin)], names)
  );
}

function toName(part: Part): string[] {
  return part.kind === 'name' ? [part.name] : [];
}

function asName(name: string): Part {
  return { kind: 'name', name };
}

function mayLeadInto([part, ...rest]: readonly Part[], names: readonly string[]): boolean {
  const [name, ...others] = names;
  if (part === undefined) return false;
  if (name === undefined || part.kind === 'trees') return true;
  const isMet =
    part.kind === 'name' ? part.name === name : part.exact === name || matchesName(name, part.tokens);
  return isMet && mayLeadInto(rest, others);
}

interface Search {
  readonly pattern: string;
  readonly matches: Set<string>;
  readonly budget: SearchBudget;
}

function descend(directory: string, parts: readonly Part[], search: Search): void {
  const [part, ...rest] = parts;
  if (part === undefined) add(directory, search);
  else if (part.kind === 'trees') descendAll(directory, rest, search);
  else if (part.kind === 'name') descend(posix.join(directory, part.name), rest, search);
  else if (part.exact !== undefined && lookOnHost(posix.join(directory, part.exact)) !== undefined)
    descend(posix.join(directory, part.exact), rest, search);
  else descendMatching(directory, part.tokens, rest, search);
}

function descendMatching(
  directory: string,
  tokens: readonly NameToken[],
  rest: readonly Part[],
  search: Search,
): void {
  for (const { name, isDirectory } of list(directory, search)) {
    if (!matchesName(name, tokens) || (rest.length > 0 && !isDirectory)) continue;
    descend(posix.join(directory, name), rest, search);
  }
}

function descendAll(directory: string, rest: readonly Part[], search: Search): void {
  descend(directory, rest, search);
  for (const { name, isDirectory } of list(directory, search)) {
    if (isDirectory && !name.startsWith('.')) descendAll(posix.join(directory, name), rest, search);
  }
}

function add(path: string, search: Search): void {
  search.matches.add(path);
  if (search.matches.size <= maxGlobMatches) return;
  throw new CscError(
    'NOT_PERMITTED',
    `${search.pattern} matches more than ${maxGlobMatches} paths; narrow it, or declare the directory as a tree (…/**) where all of it may be shown`,
  );
}

interface Entry {
  readonly name: string;
  readonly isDirectory: boolean;
}

// Not a directory, gone, or closed to us: a pattern matches nothing there.
function list(directory: string, search: Search): Entry[] {
  const entries: Entry[] = [];
  const { budget } = search;
  budget.left -= 1;
  try {
    // With that encoding names are bytes, which the types do not know of.
    const opened = opendirSync(encodePath(directory) as string, {
      encoding: 'buffer' as never,
      bufferSize: 256,
    });
    try {
      for (let entry = opened.readSync(); entry !== null; entry = opened.readSync()) {
        entries.push(toEntry(entry));
        budget.left -= 1;
        if (budget.left < 0) break;
      }
    } finally {
      opened.closeSync();
    }
  } catch {
    return entries;
  }
  if (budget.left >= 0) return entries;
  throw new CscError(
    'NOT_PERMITTED',
    `search limit: ${maxSearchedEntries} entries of directories were looked at for this command’s patterns, and ${search.pattern} was not through, with ${search.matches.size} matches by then; begin it further down, or declare a tree (…/**)`,
  );
}

function toEntry(entry: Dirent): Entry {
  const name = entry.name as unknown as Buffer;
  return { name: decodePath(name), isDirectory: entry.isDirectory() };
}
