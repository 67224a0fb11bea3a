import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { orThrow } from '@csc-fleet/common/errors';
import { makeDirectory, readBoundedFile } from '@csc-fleet/common/files';
import { idOfSealKey, makeSealKey, parseSealKey, type SealKey, type SealKeys } from '@csc-fleet/common/seal';
import { defaultStateDir, writeFileWhole } from '../files/write-file.ts';

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

/** The keys that are kept here, and those of these files. Throws as readSealKey, when one is asked for. */
export function sealKeysIn(env: NodeJS.ProcessEnv, files: readonly string[]): SealKeys {
  return (keyId) => {
    const given = files.map(readSealKey).find((key) => idOfSealKey(key) === keyId);
    if (given !== undefined) return given;
    const file = join(directoryIn(env), `${keyId}.key`);
    return existsSync(file) ? readSealKey(file) : undefined;
  };
}
