import { isJsonObject, type JsonObject, parseStrictJson, sha256Hex } from '../encoding/index.ts';
import { CscError, openings } from '../errors/index.ts';
import { type TokenAlgorithm, tokenAlgorithms } from '../schema/index.ts';

/** Characters that a token has at most: those of GitHub, GitLab and Buildkite have about 2000. */
export const maxTokenLength = 8192;

/** A token, read and not believed: nobody has looked at its signature. */
export interface ReadToken {
  /** A bearer secret: not for logs, errors or receipts, which name it by its hash. */
  readonly text: string;
  /** Lower-case hex, of the text. */
  readonly sha256: string;
  readonly issuer: string;
  readonly keyId: string;
  readonly algorithm: TokenAlgorithm;
  readonly claims: JsonObject;
}

/** A token's hash, as submissions and receipts name it. Lower-case hex. */
export function tokenSha256(text: string): string {
  return sha256Hex(Buffer.from(text, 'utf8'));
}

// Each would have the token itself say by what it is verified.
const forbidden = ['jwk', 'jku', 'x5u', 'x5c', 'crit', 'b64', 'zip', 'enc'];

/**
 * Reads a JWT (RFC 7519 in the compact form of RFC 7515 §7.1) strictly: two readers of it must not understand two things.
 * Its errors hold nothing of it. Throws SUBMISSION_INVALID.
 */
export function readToken(text: string): ReadToken {
  if (text.length > maxTokenLength)
    throw refusedToken(`it has ${text.length} characters, and ${maxTokenLength} are taken`);
  const parts = text.split('.');
  const [head = '', payload = ''] = parts;
  if (parts.length !== 3 || parts.some((part) => !/^[A-Za-z0-9_-]+$/.test(part)))
    throw refusedToken('it is no JWT: three parts of base64url, joined by dots');
  const header = readPart(head, 'header');
  const claims = readPart(payload, 'claims');
  const named = forbidden.find((name) => Object.hasOwn(header, name));
  if (named !== undefined) throw refusedToken(`its header says ${named}, which is not for a token to say`);
  const { alg, kid, typ } = header;
  if (typ !== undefined && (typeof typ !== 'string' || typ.toUpperCase() !== 'JWT'))
    throw refusedToken('its header says that it is something else than a JWT (typ)');
  const algorithm = tokenAlgorithms.find((it) => it === alg);
  if (algorithm === undefined)
    throw refusedToken(`it is not signed by one of ${tokenAlgorithms.join(', ')} (alg)`);
  if (typeof kid !== 'string' || kid === '' || kid.length > 256)
    throw refusedToken('its header names no key (kid)');
  const { iss } = claims;
  if (typeof iss !== 'string') throw refusedToken('it names no issuer (iss)');
  return { text, sha256: tokenSha256(text), issuer: iss, keyId: kid, algorithm, claims };
}

function readPart(part: string, what: string): JsonObject {
  const bytes = Buffer.from(part, 'base64url');
  // Other readers may take the bits that are left over for something.
  if (bytes.toString('base64url') !== part) throw refusedToken(`its ${what} is no canonical base64url`);
  const parsed = parseStrictJson(bytes, { maxBytes: maxTokenLength });
  if (!parsed.ok || !isJsonObject(parsed.value))
    throw refusedToken(`its ${what} is no JSON object that every reader understands alike`);
  return parsed.value;
}

/** Why a token does not count, in words that go on behind a colon. */
export function refusedToken(why: string, cause?: unknown): CscError {
  const options = cause === undefined ? {} : { cause };
  return new CscError('SUBMISSION_INVALID', `${openings.tokenRefused}${why}`, options);
}
