import type { Issuer, IssuerKey } from '../owners/index.ts';
import { type ReadToken, refusedToken } from './read-token.ts';

/** Whether two are one key, under one id. */
export function isSameKey(one: IssuerKey, other: IssuerKey): boolean {
  return (['kty', 'kid', 'n', 'e', 'crv', 'x', 'y'] as const).every((name) => one[name] === other[name]);
}

/** The issuer of this name, to the letter. Throws SUBMISSION_INVALID. */
export function findIssuer(name: string, issuers: readonly Issuer[] | undefined): Issuer {
  const found = issuers?.find((it) => it.issuer === name);
  if (found !== undefined) return found;
  throw refusedToken('its issuer is none of those in the owners’ issuers.yaml, or they have revoked it');
}

/** Throws SUBMISSION_INVALID. */
export function checkAlgorithm({ algorithm }: Pick<ReadToken, 'algorithm'>, issuer: Issuer): void {
  if (issuer.algorithms.includes(algorithm)) return;
  throw refusedToken(
    `it is signed by ${algorithm}, and issuers.yaml lets ${issuer.issuer} sign by ${issuer.algorithms.join(', ')}`,
  );
}
