import { randomBytes } from 'node:crypto';
import { accessSync, closeSync, constants, openSync, rmSync, unlinkSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { descriptorPath } from './host-path.ts';
import { ownerPattern, parseOwner, toOwnerId } from './owned-names.ts';
import type { ProcessId } from './processes.ts';

/** A new name in the scratch directory, which says whose it is. */
export function toScratchPath(directory: string): string {
  return join(directory, `csc-run-${toOwnerId()}-${randomBytes(6).toString('hex')}`);
}

/** Of the name of a directory that jobs see in their mount table; an untold name follows. */
export const treePrefix = 'libetc-';

/** A file that says with which key this process names what its jobs get open, for as long as it is there. */
export function openNameKey(directory: string): { readonly key: string; close(): void } {
  const key = randomBytes(16).toString('hex');
  const path = join(directory, `csc-names-${toOwnerId()}-${key}`);
  closeSync(openSync(path, 'wx', 0o600));
  return { key, close: () => rmSync(path, { force: true }) };
}

/** The key that a file of the scratch directory says; undefined for other files. */
export function findNameKey(path: string): string | undefined {
  return /^csc-names-.*-([0-9a-f]{32})$/.exec(path)?.[1];
}

const ownedPath = new RegExp(`\\bcsc-(?:run|names)-${ownerPattern}-`);

/** Whose name it is, in a path of the scratch directory; undefined for other paths, and other PID namespaces. */
export function findScratchOwner(path: string): ProcessId | undefined {
  const [, pid, startTime, namespace] = ownedPath.exec(path) ?? [];
  return parseOwner(pid, startTime, namespace);
}

/** Where files live that lose their name at once: in memory where the system has such a place. */
export function defaultScratchDirectory(): string {
  try {
    accessSync('/dev/shm', constants.W_OK);
    return '/dev/shm';
  } catch {
    return tmpdir();
  }
}

/** A new descriptor at the start of a file without a name that holds `content`. The caller closes it. */
export function openContent(content: string | Buffer, directory: string): number {
  const path = toScratchPath(directory);
  const fd = openSync(path, 'wx+', 0o600);
  try {
    unlinkSync(path);
    const bytes = typeof content === 'string' ? Buffer.from(content, 'utf8') : content;
    // Written by position, so that the descriptor's own offset, which a child shares, stays at the start.
    for (let at = 0; at < bytes.length; ) at += writeSync(fd, bytes, at, bytes.length - at, at);
    return fd;
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

/** Content that many children read: written once, and opened anew for each, as an offset is shared by all who have it. */
export interface SharedContent {
  /** A new descriptor at the start of `content`, a text or always the same Buffer. The caller closes it. */
  open(content: string | Buffer): number;
  close(): void;
}

export function createSharedContent(directory: string): SharedContent {
  const descriptors = new Map<string | Buffer, number>();
  return {
    open(content) {
      const fd = descriptors.get(content) ?? openContent(content, directory);
      descriptors.set(content, fd);
      return openSync(descriptorPath(fd), constants.O_RDONLY);
    },
    close() {
      for (const fd of descriptors.values()) closeSync(fd);
      descriptors.clear();
    },
  };
}
