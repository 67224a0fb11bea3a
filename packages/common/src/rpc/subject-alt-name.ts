import { X509Certificate } from 'node:crypto';

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
