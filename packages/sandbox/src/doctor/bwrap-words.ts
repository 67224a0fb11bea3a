import { arch, release } from 'node:os';
import { keepOwnFile, readOwnFile, toFileKey } from '../host/index.ts';

/** What a bwrap says of itself, which is the same as long as it is the same file. */
export interface BwrapWords {
  readonly version: string;
  readonly help: string;
}

const maxBytes = 64 * 1024;
const fileName = 'bwrap.json';

/**
 * What this bwrap said when it was asked last; undefined where it has not been asked since it, or the kernel, is another.
 * Taken as `readOwnFile` takes it. Never throws.
 * @param directory absolute
 */
export function recallBwrap(directory: string, path: string): BwrapWords | undefined {
  try {
    const kept: unknown = JSON.parse(readOwnFile(directory, fileName, maxBytes).toString('utf8'));
    if (!isKept(kept) || kept.of !== toKey(path)) return undefined;
    return { version: kept.version, help: kept.help };
  } catch {
    return undefined;
  }
}

/**
 * Keeps it for `recallBwrap`. Never throws.
 * @param key of `toKey`, from before it was asked: what has changed meanwhile is asked again
 */
export function keepBwrap(directory: string, key: string, { version, help }: BwrapWords): void {
  keepOwnFile(directory, fileName, JSON.stringify({ of: key, version, help }));
}

/** What makes a bwrap another one: its file, and the kernel that runs it. Throws what stat(2) does. */
export function toKey(path: string): string {
  return [toFileKey(path), release(), arch()].join(' ');
}

function isKept(value: unknown): value is { of: string } & BwrapWords {
  if (typeof value !== 'object' || value === null) return false;
  const members = new Map(Object.entries(value));
  return ['of', 'version', 'help'].every((name) => typeof members.get(name) === 'string');
}
