export { identityOfCertificate, readOwnIdentity, uriNames } from './certificate.ts';
export { type Identity, parseIdentity, type Role, receiptSigning, toIdentityUri } from './identity.ts';
export { labelsInUnits, labelUnits, uncertifiedLabel } from './labels.ts';
export { toPart } from './principal-part.ts';
export {
  type CertificateLife,
  certificatesIn,
  checkValidNow,
  type Ending,
  endingSoon,
  isEndingSoon,
  type NamedCertificate,
  tellEnding,
  tellLeft,
  validityOf,
  warnDays,
  whyNotValid,
} from './validity.ts';
