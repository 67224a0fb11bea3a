export { type Identity, parseIdentity, type Role, toIdentityUri } from './identity.ts';
