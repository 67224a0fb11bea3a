import {
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  type webcrypto,
} from 'node:crypto';
import type { PermittedNames } from './constraints.ts';
import { type CertificateUse, certificateExtensions } from './extensions.ts';
import { Name, PemConverter, PublicKey, X509Certificate, X509CertificateGenerator } from './x509.ts';

/** A certificate authority that certificates can be issued with. */
export interface Issuer {
  readonly certificate: X509Certificate;
  readonly key: KeyObject;
}

/** What a certificate is to say. */
export interface CertificateRequest {
  /** The common name: for people; nothing is decided by it. */
  readonly commonName: string;
  readonly use: CertificateUse;
  /** The party, as `spiffe://TRUST_DOMAIN/ROLE/NAME`. Absent: a CA. */
  readonly uri?: string;
  /** DNS names and IP addresses of a server. */
  readonly hosts?: readonly string[];
  /** Organizational units, which may say more of its owner (labelUnits). Default: none. */
  readonly units?: readonly string[];
  /** How many CAs may lie between a CA and what it ends in. Default: 0. */
  readonly pathLength?: number;
  /** Of a CA: the only names that certificates below it may have. Absent: any. */
  readonly permitted?: PermittedNames;
  readonly notBefore: Date;
  readonly notAfter: Date;
}

/** A new EC P-256 private key. */
export function generateTlsKey(): KeyObject {
  return generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey;
}

/** Reads a PEM private key. Throws Error where it is none of EC P-256. */
export function toTlsKey(pem: string): KeyObject {
  const key = createPrivateKey(pem);
  if (key.asymmetricKeyDetails?.namedCurve !== 'prime256v1') throw new Error('not a key of EC P-256');
  return key;
}

/**
 * Issues an X.509 certificate for the public half of `subjectKey`, as PEM. Keys that sign are of EC P-256.
 * @param issuer absent: the certificate signs itself, as a CA's does
 */
export async function issueCertificate(
  request: CertificateRequest,
  subjectKey: KeyObject,
  issuer?: Issuer,
): Promise<string> {
  const publicKey = toPublicKey(subjectKey);
  const subject = toName(request.commonName, request.units);
  // The library draws the serial number: random, positive, 16 octets (RFC 5280 §4.1.2.2).
  const certificate = await X509CertificateGenerator.create({
    subject,
    issuer: issuer?.certificate.subjectName ?? subject,
    notBefore: request.notBefore,
    notAfter: request.notAfter,
    publicKey,
    signingKey: toSigningKey(issuer?.key ?? subjectKey),
    extensions: await certificateExtensions({ ...request, publicKey, issuer: issuer?.certificate }),
  });
  return `${certificate.toString('pem')}\n`;
}

/** Reads a PEM certificate, of which the first in the text counts. Throws Error where it is none. */
export function toCertificate(pem: string): X509Certificate {
  return new X509Certificate(PemConverter.decodeFirst(pem));
}

function toPublicKey(key: KeyObject): PublicKey {
  const half = key.type === 'public' ? key : createPublicKey(key);
  return new PublicKey(half.export({ type: 'spki', format: 'der' }));
}

/** The same key for the Web Crypto API, which the library signs by. */
export function toSigningKey(key: KeyObject): webcrypto.CryptoKey {
  const algorithm =
    key.asymmetricKeyType === 'ed25519' ? { name: 'Ed25519' } : { name: 'ECDSA', namedCurve: 'P-256' };
  return key.toCryptoKey(algorithm, false, ['sign']);
}

// Given as UTF-8 strings, the library takes the values as they are: it looks for escapes in others.
function toName(commonName: string, units: readonly string[] = []): Name {
  const ous = units.map((unit) => ({ OU: [{ utf8String: unit }] }));
  return new Name([{ O: [{ utf8String: 'CSC Fleet' }] }, ...ous, { CN: [{ utf8String: commonName }] }]);
}
