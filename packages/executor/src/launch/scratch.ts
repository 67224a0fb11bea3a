import { randomBytes } from 'node:crypto';
import { accessSync, closeSync, constants, openSync, unlinkSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { identify, type ProcessId } from './processes.ts';

/** A new name in the scratch directory, which says by pid and start time whose it is. */
export function toScratchPath(directory: string): string {
  const startTime = identify(process.pid)?.startTime ?? '0';
  return join(directory, `csc-run-${process.pid}-${startTime}-${randomBytes(6).toString('hex')}`);
}

/** Whose name it is, in a path of the scratch directory; undefined for other paths. */
export function findScratchOwner(path: string): ProcessId | undefined {
  const [, pid, startTime] = /\bcsc-run-(\d+)-(\d+)-/.exec(path) ?? [];
  return pid === undefined || startTime === undefined ? undefined : { pid: Number(pid), startTime };
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
