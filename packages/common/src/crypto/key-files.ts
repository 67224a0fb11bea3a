import { artifactBytes } from '../encoding/index.ts';
import { CscError, orThrow } from '../errors/index.ts';
import { makeFile, readBoundedFile } from '../files/index.ts';
import { defaultKeyId, generateKeyPair, parsePrivateKey, parsePublicKey } from './key-format.ts';
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

/**
 * The signer of a service, under the key id that its name and the key give. Throws as readSigner does.
 * @param owner what the service is called, such as an executor's id
 */
export function readOwnSigner(path: string, owner: string): Signer {
  const seed = readPrivateKey(path);
  const { publicKey } = createSigner(seed, owner);
  return createSigner(seed, defaultKeyId(owner, publicKey));
}

/** Makes a private key file, for its owner alone, where there is none. Throws FILE_UNWRITABLE. */
export function makeKeyFile(path: string): void {
  makeFile(path, generateKeyPair().privatePem, 0o600);
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
