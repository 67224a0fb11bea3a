import { linkSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  createSigner,
  defaultKeyId,
  generateKeyPair,
  readPrivateKey,
  type Signer,
} from '@csc-fleet/common/crypto';
import { CscError } from '@csc-fleet/common/errors';
import { explainFileError } from '@csc-fleet/common/files';

/** The key in the state directory that signs receipts where the config names none. */
export const defaultKeyFile = 'receipt-key.pem';

/**
 * The signer of an executor's receipts. Where `file` is absent, the key is the state directory's, and is made there at
 * the first use. Throws FILE_UNREADABLE, FILE_UNWRITABLE or KEY_INVALID.
 */
export function readReceiptSigner(executorId: string, stateDir: string, file?: string): Signer {
  const path = file ?? join(stateDir, defaultKeyFile);
  if (file === undefined) makeKey(path);
  const seed = readPrivateKey(path);
  const { publicKey } = createSigner(seed, executorId);
  return createSigner(seed, defaultKeyId(executorId, publicKey));
}

// Written aside and linked: another process that starts now sees the whole key or none, and neither replaces it.
function makeKey(path: string): void {
  const aside = `${path}.${process.pid}`;
  try {
    writeFileSync(aside, generateKeyPair().privatePem, { mode: 0o600, flush: true });
    linkSync(aside, path);
  } catch (cause) {
    if (isExisting(cause)) return;
    const message = `failed to make the receipt key ${path}: ${explainFileError(cause)}`;
    throw new CscError('FILE_UNWRITABLE', message, { cause });
  } finally {
    rmSync(aside, { force: true });
  }
}

function isExisting(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'EEXIST';
}
