export { identityOfCertificate, readOwnIdentity } from './certificate.ts';
export { type Identity, parseIdentity, type Role, receiptSigning, toIdentityUri } from './identity.ts';
