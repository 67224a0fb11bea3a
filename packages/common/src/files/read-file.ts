import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs';
import { CscError } from '../errors/index.ts';

const causes = {
  ENOENT: { read: 'there is no such file', write: 'its directory is not there' },
  EACCES: { read: 'this user may not read it', write: 'this user may not write there' },
  EPERM: { read: 'this user may not read it', write: 'this user may not write there' },
  EISDIR: { read: 'it is a directory', write: 'it is a directory' },
  ENOTDIR: {
    read: 'a part of its path is not a directory',
    write: 'a part of its path is not a directory',
  },
  ELOOP: {
    read: 'its path has too many symbolic links',
    write: 'its path has too many symbolic links',
  },
  EROFS: { read: 'EROFS', write: 'its file system is read-only' },
  ENOSPC: { read: 'ENOSPC', write: 'the disk is full' },
} as const;

/** Says in words why the system would not open or write a file. */
export function explainFileError(error: unknown, doing: 'read' | 'write' = 'read'): string {
  const code = error instanceof Error && 'code' in error ? String(error.code) : 'an unknown error';
  return new Map(Object.entries(causes)).get(code)?.[doing] ?? code;
}

/** A file's bytes with its permission bits, both of the same open file. */
export interface FileContent {
  readonly bytes: Buffer;
  /** As in chmod: 0o600. */
  readonly permissions: number;
}

export interface ReadOptions {
  readonly maxBytes: number;
  /** Where the last segment is a symbolic link. Default: follow. */
  readonly link?: 'follow' | 'refuse';
}

/**
 * Reads a regular file of at most `maxBytes`. Throws FILE_UNREADABLE with `failed to read PATH` and why.
 * One byte more than allowed is read to tell, so that a file that grows meanwhile cannot fill the memory.
 */
export function readBoundedFile(path: string, options: ReadOptions): FileContent {
  try {
    // A pipe would otherwise be waited for until somebody writes to it, and the whole process with it.
    const noFollow = options.link === 'refuse' ? constants.O_NOFOLLOW : 0;
    const fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK | noFollow);
    try {
      return readOpenFile(fd, path, options.maxBytes);
    } finally {
      closeSync(fd);
    }
  } catch (error) {
    if (error instanceof CscError) throw error;
    throw new CscError('FILE_UNREADABLE', `failed to read ${path}: ${explainFileError(error)}`, {
      cause: error,
    });
  }
}

function readOpenFile(fd: number, path: string, maxBytes: number): FileContent {
  const stat = fstatSync(fd);
  if (!stat.isFile())
    throw new CscError('FILE_UNREADABLE', `failed to read ${path}: it is not a regular file`);
  if (stat.size > maxBytes) throw tooLong(path, maxBytes);
  const buffer = Buffer.alloc(Math.min(maxBytes, Math.max(stat.size, 4096)) + 1);
  let length = 0;
  while (length < buffer.length) {
    const count = readSync(fd, buffer, length, buffer.length - length, null);
    if (count === 0) return { bytes: buffer.subarray(0, length), permissions: stat.mode & 0o7777 };
    length += count;
  }
  throw tooLong(path, maxBytes);
}

function tooLong(path: string, maxBytes: number): CscError {
  return new CscError('FILE_UNREADABLE', `failed to read ${path}: it is longer than ${maxBytes} bytes`);
}
