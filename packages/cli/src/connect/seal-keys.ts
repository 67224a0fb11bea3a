import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { CscError, openings, orThrow } from '@csc-fleet/common/errors';
import { defaultStateDir, makeDirectory, readBoundedFile } from '@csc-fleet/common/files';
import { idOfSealKey, makeSealKey, parseSealKey, type SealKey, type SealKeys } from '@csc-fleet/common/seal';
import { writeFileWhole } from '../files/write-file.ts';

const maxBytes = 4096;

const directoryIn = (env: NodeJS.ProcessEnv): string => join(defaultStateDir(env), 'seal-keys');

/** Makes a key that one run's output is sealed to, and keeps it for `csc get`. Throws FILE_UNWRITABLE. */
export function makeKeptSealKey(env: NodeJS.ProcessEnv): SealKey {
  const key = makeSealKey();
  makeDirectory(directoryIn(env), { mode: 0o700 });
  writeFileWhole(join(directoryIn(env), `${idOfSealKey(key)}.key`), key.pem, 0o600);
  return key;
}

/** The key in a file. Throws FILE_UNREADABLE, KEY_INVALID. */
export function readSealKey(file: string): SealKey {
  return orThrow(parseSealKey(readBoundedFile(file, { maxBytes }).bytes), 'KEY_INVALID', file);
}

/**
 * The key in that file, or without one those that are kept here. When one is asked for, throws as readSealKey, and SEAL_INVALID
 * where that in the file is another: whoever names a key is to know whether it opens.
 */
export function sealKeysIn(env: NodeJS.ProcessEnv, given: string | undefined): SealKeys {
  return (keyId) => {
    const kept = join(directoryIn(env), `${keyId}.key`);
    const hasKept = existsSync(kept);
    if (given === undefined) return hasKept ? readSealKey(kept) : undefined;
    const key = readSealKey(given);
    const own = idOfSealKey(key);
    if (own === keyId) return key;
    const what = `${openings.sealedTo}${keyId}, and ${given} (--seal-key) holds ${own}`;
    const hint = hasKept ? ': leave --seal-key out, as csc has kept the right one here' : '';
    throw new CscError('SEAL_INVALID', `${what}${hint}`);
  };
}
