// In the place of what common requires of the library on occasion: in the page, and in the bundles of csc in a file apart.
import { AsnConvert } from '@peculiar/asn1-schema';
import {
  Certificate,
  GeneralName,
  id_ce_nameConstraints,
  id_ce_subjectAltName,
  NameConstraints,
  SubjectAlternativeName,
} from '@peculiar/asn1-x509';

/** As in common/evidence/node-x509.ts. */
export const loadX509 = () => ({
  AsnConvert,
  Certificate,
  GeneralName,
  id_ce_nameConstraints,
  id_ce_subjectAltName,
  NameConstraints,
  SubjectAlternativeName,
});
