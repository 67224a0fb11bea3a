import { X509Certificate } from 'node:crypto';
import { CscError } from '../errors/index.ts';
import { type PemSource, readPem } from '../files/index.ts';
import { type Identity, parseIdentity, type Role } from './identity.ts';

/**
 * The URIs of a certificate's subject alternative name, in the reading of the same OpenSSL that verified the
 * certificate. Node writes the names as text, and puts every value in quotes that could pass for several names
 * (CVE-2021-44532): a certificate with such a value is refused whole, so that the text can be split. Throws Error for
 * that and for what is not a certificate.
 */
export function uriNames(certificate: Uint8Array): string[] {
  const parsed = new X509Certificate(certificate);
  // OpenSSL reads the certificate that the bytes begin with.
  if (!parsed.raw.equals(certificate)) throw new Error('more than a certificate');
  const names = parsed.subjectAltName ?? '';
  if (names.includes('"')) throw new Error('a name with characters that none has');
  return names.split(', ').flatMap((name) => (name.startsWith('URI:') ? name.slice('URI:'.length) : []));
}

/**
 * The identity in a certificate: the one URI of its subject alternative name, which must name a party of ours
 * (X509-SVID §2). Whether the certificate is to be trusted must have been checked. Throws CREDENTIALS_INVALID.
 * @param certificate DER
 */
export function identityOfCertificate(certificate: Uint8Array): Identity {
  const uris = readUris(certificate);
  if (uris.length !== 1) {
    throw invalid(
      `the certificate must hold one URI as its subject alternative name; it holds ${uris.length}`,
    );
  }
  const identity = parseIdentity(uris[0] ?? '');
  if (identity === undefined) {
    throw invalid("the certificate's URI must be spiffe://TRUST_DOMAIN/{client,gate,executor}/NAME");
  }
  return identity;
}

function readUris(certificate: Uint8Array): string[] {
  try {
    return uriNames(certificate);
  } catch (error) {
    throw invalid('the certificate cannot be read', error);
  }
}

function invalid(message: string, cause?: unknown): CscError {
  return new CscError('CREDENTIALS_INVALID', message, cause === undefined ? {} : { cause });
}

const maxPemBytes = 1024 * 1024;

/**
 * Who a process of ours is, as its own certificate says; of several in the file, the first counts. Throws
 * FILE_UNREADABLE, or CONFIG_INVALID where the certificate is not of the role due.
 * @param source PEM, or the path of a PEM file
 */
export function readOwnIdentity(source: PemSource, role: Role): Identity {
  const { bytes, origin } = readPem(source, 'cert', maxPemBytes);
  const identity = identityIn(bytes, origin);
  if (identity.role === role) return identity;
  throw new CscError(
    'CONFIG_INVALID',
    `${origin} is the certificate of the role ${identity.role}; one of the role ${role} is due`,
  );
}

function identityIn(bytes: Buffer, origin: string): Identity {
  try {
    return identityOfCertificate(new X509Certificate(bytes).raw);
  } catch (cause) {
    const why = cause instanceof CscError ? cause.message : 'it holds no certificate that can be read';
    throw new CscError('CONFIG_INVALID', `${origin}: ${why}`, { cause });
  }
}
