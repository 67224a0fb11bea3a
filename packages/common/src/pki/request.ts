import { createPublicKey, type KeyObject } from 'node:crypto';
import { CscError } from '../errors/index.ts';
import { toSigningKey } from './certificate.ts';
import { Name, Pkcs10CertificateRequest, Pkcs10CertificateRequestGenerator } from './x509.ts';

/** What a certificate is asked for: a key of EC P-256 for TLS, one of Ed25519 for receipts. */
export type RequestedUse = 'tls' | 'receipts';

/** The longest request that is read, in bytes: one of ours has a fifth of it. */
export const maxRequestBytes = 2048;

/**
 * A certificate request (PKCS#10, RFC 2986) in DER: the key's public half, signed by the key. It asks for nothing else.
 * @param purpose becomes its common name: whoever gets hold of the request can use it for nothing else
 */
export async function createRequest(key: KeyObject, purpose: string): Promise<Buffer> {
  const isEd25519 = key.asymmetricKeyType === 'ed25519';
  const algorithm = isEd25519 ? { name: 'Ed25519' } : { name: 'ECDSA', namedCurve: 'P-256' };
  const request = await Pkcs10CertificateRequestGenerator.create({
    name: new Name([{ CN: [{ utf8String: purpose }] }]),
    keys: {
      privateKey: toSigningKey(key),
      publicKey: createPublicKey(key).toCryptoKey(algorithm, true, ['verify']),
    },
    signingAlgorithm: isEd25519 ? { name: 'Ed25519' } : { name: 'ECDSA', hash: 'SHA-256' },
  });
  return Buffer.from(request.rawData);
}

/**
 * The public key of a certificate request, whose owner has proved that it is theirs. Names, extensions and whatever else
 * it asks for are not read. Throws REQUEST_INVALID.
 * @param purpose what its common name has to be
 */
export async function readRequest(der: Uint8Array, use: RequestedUse, purpose: string): Promise<KeyObject> {
  if (der.length > maxRequestBytes)
    throw invalid(use, `has ${der.length} bytes, of which ${maxRequestBytes} are read`);
  let key: KeyObject;
  let isProved: boolean;
  let names: readonly string[];
  try {
    const request = new Pkcs10CertificateRequest(Buffer.from(der));
    key = createPublicKey({ key: Buffer.from(request.publicKey.rawData), format: 'der', type: 'spki' });
    checkKind(key, use);
    names = request.subjectName.getField('CN');
    isProved = await request.verify();
  } catch (cause) {
    if (cause instanceof CscError) throw cause;
    throw invalid(use, 'cannot be read', cause);
  }
  if (!isProved) throw invalid(use, 'is not signed by the key that it is of');
  if (names.length !== 1 || names[0] !== purpose)
    throw invalid(use, 'was made for another use than this one');
  return key;
}

function checkKind(key: KeyObject, use: RequestedUse): void {
  if (use === 'receipts') {
    if (key.asymmetricKeyType !== 'ed25519') throw invalid(use, 'is not of an Ed25519 key');
  } else if (key.asymmetricKeyDetails?.namedCurve !== 'prime256v1')
    throw invalid(use, 'is not of an EC P-256 key');
}

function invalid(use: RequestedUse, why: string, cause?: unknown): CscError {
  const options = cause === undefined ? {} : { cause };
  return new CscError('REQUEST_INVALID', `the certificate request for ${use} ${why}`, options);
}
