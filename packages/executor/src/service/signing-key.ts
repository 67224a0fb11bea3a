import { join } from 'node:path';
import { makeKeyFile, readOwnSigner, type Signer } from '@csc-fleet/common/crypto';

/** The key in the state directory that signs receipts where the config names none. */
export const defaultKeyFile = 'receipt-key.pem';

/**
 * The signer of an executor's receipts. Where `file` is absent, the key is the state directory's, and is made there at
 * the first use. Throws FILE_UNREADABLE, FILE_UNWRITABLE or KEY_INVALID.
 */
export function readReceiptSigner(executorId: string, stateDir: string, file?: string): Signer {
  const path = file ?? join(stateDir, defaultKeyFile);
  if (file === undefined) makeKeyFile(path);
  return readOwnSigner(path, executorId);
}
