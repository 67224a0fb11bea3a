export {
  backdateMs,
  certify,
  fingerprintOf,
  type Issued,
  type MadeAuthority,
  makeIssuing,
  makeRoot,
  type Subject,
} from './authority.ts';
export {
  type CertificateRequest,
  generateTlsKey,
  type Issuer,
  issueCertificate,
  toCertificate,
  toTlsKey,
} from './certificate.ts';
export type { PermittedNames } from './constraints.ts';
export {
  certifyReceiptKey,
  createDevelopmentPki,
  type DevelopmentPki,
  type DevelopmentPkiOptions,
  defaultTrustDomain,
  type Renewed,
  type RenewOptions,
  renewCertificates,
} from './development-pki.ts';
export type { CertificateUse } from './extensions.ts';
export { createRequest, maxRequestBytes, type RequestedUse, readRequest } from './request.ts';
