import { createRequire } from 'node:module';

/** As much of a library for X.509 as reads extensions that Node does not read. */
export type X509Schema = Pick<typeof import('@peculiar/asn1-schema'), 'AsnConvert'> &
  Pick<
    typeof import('@peculiar/asn1-x509'),
    | 'Certificate'
    | 'GeneralName'
    | 'id_ce_nameConstraints'
    | 'id_ce_subjectAltName'
    | 'NameConstraints'
    | 'SubjectAlternativeName'
  >;

/** Loads it, which takes longer than all other verifying: most processes need it never. A browser has its own way. */
export function loadX509(): X509Schema {
  const load = createRequire(import.meta.url);
  const { AsnConvert } = load('@peculiar/asn1-schema');
  return { AsnConvert, ...load('@peculiar/asn1-x509') };
}
