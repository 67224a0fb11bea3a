// In the place of common's Ed25519 by node:crypto: the same rules, in plain JavaScript.
export { nobleEd25519 as nodeEd25519 } from '@csc-fleet/common/noble';
