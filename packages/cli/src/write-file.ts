import { closeSync, fsyncSync, openSync, renameSync, rmSync, writeSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { CscError } from '@csc-fleet/common/errors';
import { explainFileError, makeDirectory } from '@csc-fleet/common/files';

/**
 * Writes a file whole or not at all, making its folder if need be. Throws FILE_UNWRITABLE.
 * A name that is no regular file, such as /dev/stdout, is written to as it is.
 */
export function writeFileWhole(path: string, data: string | Uint8Array): void {
  try {
    if (path.startsWith('/dev/')) writeTo(path, data, 'w');
    else writeAndRename(path, data);
  } catch (error) {
    throw new CscError('FILE_UNWRITABLE', `failed to write ${path}: ${explainFileError(error)}`, {
      cause: error,
    });
  }
}

function writeAndRename(path: string, data: string | Uint8Array): void {
  makeDirectory(dirname(path));
  const partial = join(dirname(path), `.${basename(path)}.${process.pid}.partial`);
  try {
    writeTo(partial, data, 'wx');
    renameSync(partial, path);
  } catch (error) {
    rmSync(partial, { force: true });
    throw error;
  }
}

function writeTo(path: string, data: string | Uint8Array, flags: 'w' | 'wx'): void {
  const bytes = typeof data === 'string' ? Buffer.from(data) : data;
  const fd = openSync(path, flags, 0o644);
  try {
    for (let offset = 0; offset < bytes.length; ) offset += writeSync(fd, bytes, offset);
    if (flags === 'wx') fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}
