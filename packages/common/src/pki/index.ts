export {
  type CertificateRequest,
  generateTlsKey,
  type Issuer,
  issueCertificate,
  toCertificate,
} from './certificate.ts';
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
