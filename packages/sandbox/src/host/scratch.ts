import { randomBytes } from 'node:crypto';
import { closeSync, constants, openSync, rmSync, unlinkSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { toOwnerId, toScratchPath } from '@csc-fleet/common/processes';
import { descriptorPath } from './host-path.ts';

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
