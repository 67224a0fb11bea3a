import type { CscError } from '../errors/index.ts';
import { isCscError } from '../errors/index.ts';
import type { Issuer, IssuerKey } from '../owners/index.ts';
import { checkAlgorithm, findIssuer, isSameKey } from './issuer.ts';
import { type ReadToken, readToken, refusedToken } from './read-token.ts';

/** A token whose issuer really signed it; what it says is yet to be judged. */
export interface OpenedToken extends Omit<ReadToken, 'text'> {
  /** That verified it. */
  readonly key: IssuerKey;
}

/** Where an issuer's keys are looked up: pinned, or fetched by the owners' leave. */
export interface IssuerKeys {
  /** The keys with this id; empty where there is none. Rejects with a CscError where they cannot be had. */
  find(issuer: Issuer, keyId: string): Promise<readonly IssuerKey[]>;
}

/**
 * Verifies a token's signature by its issuer's keys. Never rejects for what a token is: what it gives then says why, and
 * whoever judges the submission that it came with says so in its own turn.
 * @param issuers of the owners; absent: they know none
 */
export async function openToken(
  text: string,
  issuers: readonly Issuer[] | undefined,
  keys: IssuerKeys,
): Promise<OpenedToken | CscError> {
  try {
    const token = readToken(text);
    const issuer = findIssuer(token.issuer, issuers);
    checkAlgorithm(token, issuer);
    const key = choose(await keys.find(issuer, token.keyId), token);
    await checkSignature(token, key);
    const { text: _, ...rest } = token;
    return { ...rest, key };
  } catch (error) {
    if (isCscError(error)) return error;
    throw error;
  }
}

/**
 * Whether the key that has opened a token is still its issuer's, for who keeps what was opened: as the owners pin it, or as it
 * was fetched last. Rejects with SUBMISSION_INVALID where it is not, or cannot be known.
 */
export async function checkStillItsKey(
  token: OpenedToken,
  issuers: readonly Issuer[] | undefined,
  keys: IssuerKeys,
): Promise<void> {
  const found = await keys.find(findIssuer(token.issuer, issuers), token.keyId);
  if (found.some((it) => isSameKey(it, token.key))) return;
  throw refusedToken('the key that signed it is none of its issuer’s any more');
}

const typeOf = { RS256: 'RSA', ES256: 'EC', EdDSA: 'OKP' } as const;

// The algorithm never chooses how a key is read: a key of another kind is none for it (CVE-2015-9235).
function choose(found: readonly IssuerKey[], { algorithm }: ReadToken): IssuerKey {
  const fitting = found.filter(
    ({ kty, alg }) => kty === typeOf[algorithm] && (alg ?? algorithm) === algorithm,
  );
  const [key, another] = fitting;
  if (key === undefined) throw refusedToken('its issuer has no key of that id (kid) for this algorithm');
  if (another !== undefined) throw refusedToken('its issuer has several keys of that id (kid)');
  return key;
}

async function checkSignature({ text, algorithm }: ReadToken, key: IssuerKey): Promise<void> {
  // Loaded by those who have a token before them.
  const { compactVerify, importJWK } = await import('jose');
  try {
    const { kty, n, e, crv, x, y } = key;
    const bare = { kty, n, e, crv, x, y };
    const given = Object.fromEntries(Object.entries(bare).filter(([, value]) => value !== undefined));
    await compactVerify(text, await importJWK(given, algorithm), { algorithms: [algorithm] });
  } catch (cause) {
    throw refusedToken('its signature is not of its issuer’s key', cause);
  }
}
