import { randomBytes } from 'node:crypto';
import { accessSync, constants, lstatSync, mkdirSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ownerPattern, parseOwner, toOwnerId } from './owner-id.ts';
import { isAlive } from './process-id.ts';

const inMemory = '/dev/shm';

/** Where files live that lose their name at once: in memory where the system has such a place. */
export function defaultScratchDirectory(): string {
  return findMemory() ?? tmpdir();
}

/**
 * Where files may lie for a moment that nobody else may change, what is to be tried first first: in memory, which no job
 * reaches, then in `own`, a directory that only its service writes. Policies may open the temporary directory to jobs.
 */
export function scratchDirectories(own: string): string[] {
  const memory = findMemory();
  return memory === undefined ? [own] : [memory, own];
}

function findMemory(): string | undefined {
  try {
    accessSync(inMemory, constants.W_OK);
    return inMemory;
  } catch {
    return undefined;
  }
}

/** A new name in the scratch directory, which says whose it is. */
export function toScratchPath(directory: string): string {
  return join(directory, `csc-run-${toOwnerId()}-${randomBytes(6).toString('hex')}`);
}

/**
 * A new directory in the scratch directory, of this user alone, which whoever makes it removes. What processes have left
 * there that were killed is cleared away first (`clearAbandoned`). Throws what the file system says.
 */
export function makeScratch(directory: string): string {
  clearAbandoned(directory);
  const path = toScratchPath(directory);
  mkdirSync(path, { mode: 0o700 });
  return path;
}

/**
 * Takes away what processes of this user that are gone have left in the scratch directory, and what `isTheirs` says of its
 * names, and gives how much that was. Others put files there as well, which may not be removed, or only look like such.
 */
export function clearAbandoned(
  scratchDirectory: string,
  isTheirs: (name: string) => boolean = () => false,
): number {
  const names = listOwn(scratchDirectory, (name) => isAbandoned(name) || isTheirs(name));
  for (const name of names) rmSync(join(scratchDirectory, name), { recursive: true, force: true });
  return names.length;
}

/** The names in the scratch directory that say that a process made them which is gone, and that are of this user. */
export function listAbandoned(scratchDirectory: string): string[] {
  return listOwn(scratchDirectory, isAbandoned);
}

// Whoever else may write there could name anything as a process's that is gone, or the key of an executor that lives.
function listOwn(directory: string, isMeant: (name: string) => boolean): string[] {
  const isOwn = (name: string) =>
    lstatSync(join(directory, name), { throwIfNoEntry: false })?.uid === process.geteuid?.();
  return readdirSync(directory).filter((name) => isMeant(name) && isOwn(name));
}

const ownedName = new RegExp(`^csc-(?:run|names)-${ownerPattern}-`);

// Not where it is of another PID namespace.
function isAbandoned(name: string): boolean {
  const [, pid, startTime, namespace] = ownedName.exec(name) ?? [];
  const owner = parseOwner(pid, startTime, namespace);
  return owner !== undefined && !isAlive(owner);
}
