export {
  type CertificateAuthorityServer,
  CertificateAuthorityService,
  Certificates,
  Fleet,
  JoinResponse,
  RenewResponse,
} from '../gen/csc/ca/v1/ca.ts';
export { caAnswerMs, type JoinKeys, joinFleet, renewCertificate } from './client.ts';
export {
  checkRenewable,
  type Renewal,
  type RenewalOptions,
  renewalTime,
  renewOnce,
  retryWait,
  startRenewal,
} from './renewal.ts';
export {
  createJoinToken,
  hashJoinToken,
  type JoinToken,
  joinPurpose,
  parseJoinToken,
  renewPurpose,
} from './token.ts';
