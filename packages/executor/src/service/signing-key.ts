import type { X509Certificate } from 'node:crypto';
import { join } from 'node:path';
import { makeKeyFile, readOwnSigner, type Signer } from '@csc-fleet/common/crypto';
import { CscError } from '@csc-fleet/common/errors';
import { type CertifiedKey, parseCertificates, readReceiptLeaf } from '@csc-fleet/common/evidence';
import { readPem } from '@csc-fleet/common/files';
import { maxReceiptCertificates } from '@csc-fleet/common/receipt';

/** The key in the state directory that signs receipts where the config names none. */
export const defaultKeyFile = 'receipt-key.pem';

/**
 * The signer of an executor's receipts. Where `file` is absent, the key is the state directory's, and is made there at
 * the first use. Throws FILE_UNREADABLE, FILE_UNWRITABLE or KEY_INVALID.
 */
export function readReceiptSigner(executorId: string, stateDir: string, file?: string): Signer {
  if (file === undefined) makeKeyFile(join(stateDir, defaultKeyFile));
  return rereadReceiptSigner(executorId, stateDir, file);
}

/** The same once there is a key: one that is gone from where it was is not made anew, as nobody knows another. */
export function rereadReceiptSigner(executorId: string, stateDir: string, file?: string): Signer {
  return readOwnSigner(file ?? join(stateDir, defaultKeyFile), executorId);
}

const maxPemBytes = 1024 * 1024;

/**
 * The signer with the certificates of its key, which each of its receipts then carries. Throws FILE_UNREADABLE, or
 * CONFIG_INVALID where the first is not of this executor's receipt key.
 * @param source PEM or the path of a PEM file, the leaf first
 * @param identity the executor's SPIFFE id
 */
export function withCertificates(signer: Signer, source: string, identity: string): Signer {
  const { bytes, origin } = readPem(source, 'receipt_certificate', maxPemBytes);
  const chain = parseCertificates(bytes, origin);
  const [leaf] = chain;
  if (leaf === undefined || chain.length > maxReceiptCertificates)
    throw new CscError('CONFIG_INVALID', `${origin} must hold 1 to ${maxReceiptCertificates} certificates`);
  const { publicKey, owner } = readLeaf(leaf, origin);
  if (owner !== identity)
    throw new CscError('CONFIG_INVALID', `${origin} is of ${owner}, and this is ${identity}`);
  if (!Buffer.from(publicKey).equals(signer.publicKey)) {
    const message = `${origin} certifies another key than the one that signs here, ${signer.keyId}: certify what csc executor keys --export gives`;
    throw new CscError('CONFIG_INVALID', message);
  }
  return { ...signer, certificates: chain.map(({ raw }) => raw.toString('base64')) };
}

function readLeaf(leaf: X509Certificate, file: string): CertifiedKey {
  try {
    return readReceiptLeaf(leaf);
  } catch (cause) {
    throw new CscError(
      'CONFIG_INVALID',
      `${file} is no certificate of a receipt key: csc pki certify makes one`,
      {
        cause,
      },
    );
  }
}
