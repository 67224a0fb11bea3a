export { identityOfCertificate, readOwnIdentity } from './certificate.ts';
export { type Identity, parseIdentity, type Role, toIdentityUri } from './identity.ts';
