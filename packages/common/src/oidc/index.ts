export { tokenAudience } from './audience.ts';
export { judgeToken, type TokenContext, type TokenIdentity } from './judge-token.ts';
export { checkStillItsKey, type IssuerKeys, type OpenedToken, openToken } from './open-token.ts';
export { maxTokenLength, refusedToken, tokenSha256 } from './read-token.ts';
export { selfSigned } from './self-signed.ts';
