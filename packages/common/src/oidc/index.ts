export { tokenAudience } from './audience.ts';
export { judgeToken, type TokenContext, type TokenIdentity } from './judge-token.ts';
// Types alone: what verifies a token, with the library for that, is @csc-fleet/common/issuer-keys.
export type { IssuerKeys, OpenedToken } from './open-token.ts';
export { maxTokenLength, refusedToken, tokenSha256 } from './read-token.ts';
export { selfSigned } from './self-signed.ts';
