import { AsnConvert } from '@peculiar/asn1-schema';
import { Certificate, id_ce_subjectAltName, SubjectAlternativeName } from '@peculiar/asn1-x509';

/**
 * The URIs of a certificate's subject alternative name, read from its DER. The text form that Node makes of the
 * extension is not used: it had to be split, and values with separators in them could pass for several names
 * (CVE-2021-44532). Throws Error for what is not a certificate.
 */
export function uriNames(certificate: Uint8Array): string[] {
  const extensions = parseDer(certificate, Certificate).tbsCertificate.extensions ?? [];
  const values = extensions.filter(({ extnID }) => extnID === id_ce_subjectAltName);
  if (values.length > 1) throw new Error('two subject alternative names');
  const [extension] = values;
  if (extension === undefined) return [];
  const names = parseDer(new Uint8Array(extension.extnValue.buffer), SubjectAlternativeName);
  return names.flatMap((name) => name.uniformResourceIdentifier ?? []).map(checkAscii);
}

// The library takes BER, and lets go what follows the value. A certificate is DER, of which there is one encoding
// (X.690 §10): another reader of the same bytes must not see another certificate.
function parseDer<T>(bytes: Uint8Array, type: new () => T): T {
  const value = AsnConvert.parse(bytes, type);
  if (!Buffer.from(AsnConvert.serialize(value)).equals(bytes)) throw new Error('not DER');
  return value;
}

function checkAscii(uri: string): string {
  if (!/^[\x21-\x7e]*$/.test(uri)) throw new Error('a URI with characters that none has');
  return uri;
}
