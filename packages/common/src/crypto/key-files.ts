import { artifactBytes } from '../encoding/index.ts';
import { CscError, orThrow } from '../errors/index.ts';
import { readBoundedFile } from '../files/index.ts';
import { parsePrivateKey, parsePublicKey } from './key-format.ts';
import { createKeyRing, type KeyRing } from './key-ring.ts';
import { parseKeyRing } from './key-ring-file.ts';
import { createSigner, type Signer } from './signer.ts';

const maxKeyBytes = 16 * 1024;

/**
 * A Signer of a private key file. Throws FILE_UNREADABLE, or KEY_INVALID where it is no key or where others than its
 * owner may read it.
 */
export function readSigner(path: string, keyId: string): Signer {
  return createSigner(readPrivateKey(path), keyId);
}

/** The 32-byte seed of a private key file; throws as readSigner does. */
export function readPrivateKey(path: string): Uint8Array {
  const { bytes, permissions } = readBoundedFile(path, { maxBytes: maxKeyBytes });
  if ((permissions & 0o077) !== 0) {
    throw new CscError('KEY_INVALID', `${path} may be read by others than its owner: run chmod 600 ${path}`);
  }
  return orThrow(parsePrivateKey(bytes), 'KEY_INVALID', path);
}

/** The 32 bytes of a public key file. Throws FILE_UNREADABLE or KEY_INVALID. */
export function readPublicKey(path: string): Uint8Array {
  return orThrow(parsePublicKey(readBoundedFile(path, { maxBytes: maxKeyBytes }).bytes), 'KEY_INVALID', path);
}

/** The keys of a key ring file. Throws FILE_UNREADABLE or KEY_INVALID. */
export function readKeyRing(path: string): KeyRing {
  const { bytes } = readBoundedFile(path, { maxBytes: artifactBytes.keyRing });
  return createKeyRing(orThrow(parseKeyRing(bytes), 'KEY_INVALID', path));
}
