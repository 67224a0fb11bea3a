import { existsSync } from 'node:fs';
import { dirname } from 'node:path';
import { artifactBytes } from '../encoding/index.ts';
import { CscError, orThrow } from '../errors/index.ts';
import { makeFile, type PemSource, readBoundedFile, readPem, sweepPartial } from '../files/index.ts';
import { defaultKeyId, generateKeyPair, parsePrivateKey, parsePublicKey } from './key-format.ts';
import { createKeyRing, type KeyRing } from './key-ring.ts';
import { parseKeyRing } from './key-ring-file.ts';
import { createSigner, type Signer } from './signer.ts';

const maxKeyBytes = 16 * 1024;

/**
 * A Signer of a private key, PEM or the path of a key file. Throws FILE_UNREADABLE, or KEY_INVALID where it is no key or
 * where others than its owner may read the file.
 */
export function readSigner(source: PemSource, keyId: string): Signer {
  return createSigner(readPrivateKey(source), keyId);
}

/**
 * The signer of a service, under the key id that its name and the key give. Throws as readSigner does.
 * @param owner what the service is called, such as an executor's id
 */
export function readOwnSigner(source: PemSource, owner: string): Signer {
  const seed = readPrivateKey(source);
  const { publicKey } = createSigner(seed, owner);
  return createSigner(seed, defaultKeyId(owner, publicKey));
}

/**
 * Makes a private key file, for its owner alone, where there is none, and clears its directory of what was half made when a
 * process was killed: there may be a key in it. Throws FILE_UNWRITABLE.
 */
export function makeKeyFile(path: string): void {
  sweepPartial(dirname(path));
  // Looked for first: a full disk must not keep out whom the key that is there belongs to.
  if (!existsSync(path)) makeFile(path, generateKeyPair().privatePem, 0o600);
}

/** The 32-byte seed of a private key, PEM or the path of a key file; throws as readSigner does. */
export function readPrivateKey(source: PemSource): Uint8Array {
  const { bytes, origin, permissions = 0 } = readPem(source, 'the private key', maxKeyBytes);
  // What is no private key, as a public one named by mistake, may be read by everyone.
  const seed = orThrow(parsePrivateKey(bytes), 'KEY_INVALID', origin);
  if ((permissions & 0o077) === 0) return seed;
  const message = `${origin} may be read by others than its owner: run chmod 600 ${origin}`;
  throw new CscError('KEY_INVALID', message);
}

/** The 32 bytes of a public key, PEM or the path of a key file. Throws FILE_UNREADABLE or KEY_INVALID. */
export function readPublicKey(source: PemSource): Uint8Array {
  const { bytes, origin } = readPem(source, 'the public key', maxKeyBytes);
  return orThrow(parsePublicKey(bytes), 'KEY_INVALID', origin);
}

/** The keys of a key ring file. Throws FILE_UNREADABLE or KEY_INVALID. */
export function readKeyRing(path: string): KeyRing {
  const { bytes } = readBoundedFile(path, { maxBytes: artifactBytes.keyRing });
  return createKeyRing(orThrow(parseKeyRing(bytes), 'KEY_INVALID', path));
}
