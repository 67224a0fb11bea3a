// Apart from `@csc-fleet/common/crypto`, so that only who wants it pays for loading it.
export { nobleEd25519 } from '../crypto/noble-ed25519.ts';
