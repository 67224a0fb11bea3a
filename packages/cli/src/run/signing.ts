import { randomBytes } from 'node:crypto';
import { statSync } from 'node:fs';
import { createSigner, parsePrivateKey, type Signer } from '@csc-fleet/common/crypto';
import { canonicalBytes } from '@csc-fleet/common/encoding';
import { CscError, orThrow } from '@csc-fleet/common/errors';
import { isPemText, readPem } from '@csc-fleet/common/files';
import { parseReceipt } from '@csc-fleet/common/receipt';
import { readInput } from '../files/read-input.ts';
import { note } from '../terminal/streams.ts';

/** The options of `csc run` that say how its receipt is signed. */
export interface SigningOptions {
  readonly mode: 'local' | 'hardened';
  readonly sign?: true;
  readonly signingKey?: string;
  readonly keyId?: string;
}

/** Who signs, and whether the signature stays in the receipt. */
export interface Seal {
  readonly signer: Signer;
  /** False: the key is made up for this run, and nobody could look it up. */
  readonly keepSignature: boolean;
}

/** The receipt as it is written: without the signature and the key's id where they mean nothing to anybody. */
export function toWritten(receiptJson: Uint8Array, { keepSignature }: Seal): Uint8Array {
  if (keepSignature) return receiptJson;
  const receipt = orThrow(parseReceipt(receiptJson), 'RECEIPT_INVALID', 'the receipt');
  const { signature: _signature, signing_key_id: _keyId, ...rest } = receipt;
  return canonicalBytes(rest);
}

const maxKeyBytes = 16 * 1024;

/**
 * What §8 of the protocol says of the signing options. Throws CONFIG_INVALID for options that do not go together,
 * FILE_UNREADABLE or KEY_INVALID.
 */
export async function readSigning(options: SigningOptions): Promise<Seal> {
  const { sign, signingKey, keyId, mode } = options;
  if (sign !== true) {
    if (signingKey !== undefined || keyId !== undefined)
      throw refused('--signing-key and --key-id need --sign');
    if (mode === 'hardened') throw refused('--mode hardened needs --sign --signing-key FILE --key-id ID');
    return { signer: createSigner(randomBytes(32), 'unsigned'), keepSignature: false };
  }
  if (signingKey === undefined || !keyId)
    throw refused('--sign needs both --signing-key FILE and --key-id ID');
  const isText = isPemText(signingKey);
  const bytes = isText
    ? readPem(signingKey, '--signing-key', maxKeyBytes).bytes
    : await readInput(signingKey, maxKeyBytes);
  const seed = orThrow(parsePrivateKey(bytes), 'KEY_INVALID', isText ? '--signing-key' : signingKey);
  if (!isText) warnOfOpenKey(signingKey);
  return { signer: createSigner(seed, keyId), keepSignature: true };
}

// The reference reads such a key without a word; its users' scripts must go on working.
function warnOfOpenKey(path: string): void {
  const stats = statSync(path, { throwIfNoEntry: false });
  if (stats?.isFile() !== true || (stats.mode & 0o077) === 0) return;
  note(`csc: WARNING ${path} may be read by others than its owner: run chmod 600 ${path}`);
}

function refused(message: string): CscError {
  return new CscError('CONFIG_INVALID', message);
}
