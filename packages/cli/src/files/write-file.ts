import { closeSync, openSync, statSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';
import { CscError } from '@csc-fleet/common/errors';
import {
  checkWritableDirectory,
  explainFileError,
  makeDirectory,
  replaceFile,
} from '@csc-fleet/common/files';

/**
 * Writes a file whole or not at all, making its folder if need be. Throws FILE_UNWRITABLE.
 * A name that is no regular file, such as /dev/stdout, is written to as it is.
 * @param mode as in chmod, less the umask
 */
export function writeFileWhole(
  path: string,
  data: string | Uint8Array | Iterable<string>,
  mode = 0o644,
): void {
  if (path.startsWith('/dev/')) {
    writeDevice(path, data);
    return;
  }
  makeDirectory(dirname(path));
  replaceFile(path, data, mode);
}

/**
 * Tries whether `writeFileWhole` can write a file, for what is to be kept of something that cannot be done twice; leaves nothing
 * behind. Throws FILE_UNWRITABLE.
 * @param option that names the file, such as `--receipt-out`
 */
export function checkFileWritable(path: string, option: string): void {
  if (path.startsWith('/dev/')) return;
  checkWritableDirectory(dirname(path), `the directory of ${option} ${path}`);
  if (statSync(path, { throwIfNoEntry: false })?.isDirectory() === true)
    throw new CscError('FILE_UNWRITABLE', `${option} ${path} is a directory: name a file`);
}

function writeDevice(path: string, data: string | Uint8Array | Iterable<string>): void {
  const pieces = typeof data === 'string' || data instanceof Uint8Array ? [data] : data;
  try {
    const fd = openSync(path, 'w', 0o644);
    try {
      for (const piece of pieces) {
        const bytes = Buffer.from(piece);
        for (let offset = 0; offset < bytes.length; ) offset += writeSync(fd, bytes, offset);
      }
    } finally {
      closeSync(fd);
    }
  } catch (cause) {
    throw new CscError('FILE_UNWRITABLE', `failed to write ${path}: ${explainFileError(cause)}`, { cause });
  }
}

/** Writes a signed receipt for people and programs to read: the same JSON, indented. Throws FILE_UNWRITABLE. */
export function writeReceipt(path: string, receiptJson: Uint8Array): void {
  // Signatures are over the canonical form, so that indenting does not touch them.
  const value: unknown = JSON.parse(Buffer.from(receiptJson).toString('utf8'));
  writeFileWhole(path, `${JSON.stringify(value, null, 2)}\n`);
}
