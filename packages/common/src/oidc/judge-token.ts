import { timingSafeEqual } from 'node:crypto';
import { canonicalJson, type JsonValue } from '../encoding/index.ts';
import { CscError } from '../errors/index.ts';
import { parseIdentity, toIdentityUri, toPart } from '../identity/index.ts';
// Types alone: who verifies receipts has no YAML.
import type { Issuer, IssuerKey } from '../owners/index.ts';
import { tokenAudience } from './audience.ts';
import { checkAlgorithm, findIssuer, isSameKey } from './issuer.ts';
import type { OpenedToken } from './open-token.ts';
import { refusedToken } from './read-token.ts';

/** What a token is held against. */
export interface TokenContext {
  /** As the owners have them now: they may have changed since it was opened. */
  readonly issuers: readonly Issuer[] | undefined;
  readonly trustDomain: string;
  /** Ed25519, 32 bytes: whose holder shows the token. */
  readonly publicKey: Uint8Array;
  /** When it was used: a submission's not_before, or now. It must have been good then. */
  readonly usedAt: Date;
  /** By the clock of whoever judges. */
  readonly now: Date;
}

/** Who somebody is by a token. */
export interface TokenIdentity {
  /** `spiffe://TRUST_DOMAIN/client/NAME`, as the owners' issuers.yaml makes it of the claims. */
  readonly principal: string;
  readonly issuer: string;
  /** The claim sub. */
  readonly subject: string;
  /** Lower-case hex. */
  readonly tokenSha256: string;
  /** Absent: the issuer numbers none. */
  readonly jti?: string;
  /** `weak`: the token names no key, and whoever saw it could have used it. */
  readonly binding: Issuer['binding'];
  /**
   * When what was asked with it may begin at the latest, as `max_wait_sec` has it: no host that has these issuers
   * starts it later.
   */
  readonly startsBy: Date;
}

/**
 * Who shows a token, by all that its issuer says in it and the owners make of that. Pure, and the same for gate and host.
 * What counts of time: it was good when it was used, by the one who holds the key that it names; and what was asked with
 * it begins at most `max_wait_sec` after its end, however long it lay in a queue. Throws SUBMISSION_INVALID, and
 * SUBMISSION_EXPIRED where that is over.
 */
export function judgeToken(token: OpenedToken, context: TokenContext): TokenIdentity {
  const issuer = findIssuer(token.issuer, context.issuers);
  checkAlgorithm(token, issuer);
  checkStillPinned(token.key, issuer);
  checkAudience(token.claims['aud'], issuer, context);
  const startsBy = checkTimes(token, issuer, context);
  const subject = textClaim(token, 'sub', 1024);
  const jti = token.claims['jti'] === undefined ? {} : { jti: textClaim(token, 'jti', 256) };
  return {
    principal: toPrincipal(token, issuer, context.trustDomain),
    issuer: issuer.issuer,
    subject,
    tokenSha256: token.sha256,
    ...jti,
    binding: issuer.binding,
    startsBy,
  };
}

// The owners may have taken the key away since.
function checkStillPinned(key: IssuerKey, { jwks }: Issuer): void {
  if (jwks === undefined || jwks.keys.some((it) => isSameKey(it, key))) return;
  throw refusedToken('the owners have taken its issuer’s key out of issuers.yaml');
}

// One audience, and no other beside it: a token that is good elsewhere, too, is one that somebody else may have.
function checkAudience(aud: JsonValue | undefined, issuer: Issuer, context: TokenContext): void {
  const [only, more] = [aud].flat();
  if (typeof only !== 'string' || more !== undefined)
    throw refusedToken('it must be for one audience alone (aud)');
  if (issuer.binding === 'weak') {
    if (only === issuer.audience) return;
    throw refusedToken('it is for another audience (aud) than issuers.yaml demands');
  }
  const wanted = tokenAudience(context.trustDomain, context.publicKey);
  if (only.length === wanted.length && timingSafeEqual(Buffer.from(only), Buffer.from(wanted))) return;
  // Whole, as whoever asks an issuer for tokens by hand has it from nowhere else.
  const due = `ask for a token of the audience ${wanted}`;
  throw refusedToken(
    only.startsWith(`csc:${context.trustDomain}:`)
      ? `its audience (aud) names another key than the one that signed: it was made for somebody else: ${due}`
      : `its audience (aud) names no key and no fleet, or another fleet: it was made for something else: ${due}`,
  );
}

function checkTimes(token: OpenedToken, issuer: Issuer, { usedAt, now }: TokenContext): Date {
  const issuedAt = time(token, 'iat');
  const endsAt = time(token, 'exp');
  const beginsAt = token.claims['nbf'] === undefined ? issuedAt : Math.max(issuedAt, time(token, 'nbf'));
  const { clock_tolerance_sec: tolerance, max_token_age_sec: age, max_wait_sec: wait } = issuer;
  if (endsAt <= issuedAt) throw refusedToken('it ends before it begins (iat, exp)');
  const until = Math.min(endsAt, issuedAt + age);
  const used = usedAt.getTime() / 1000;
  const at = now.getTime() / 1000;
  if (used < beginsAt - tolerance || at < beginsAt - tolerance)
    throw refusedToken('it is not good yet (iat, nbf); check the clocks');
  if (used > until + tolerance)
    throw refusedToken(
      'it had ended, or was too old, when it was used (exp, max_token_age_sec): get a new one',
    );
  const startsBy = until + wait + tolerance;
  if (at <= startsBy) return new Date(startsBy * 1000);
  const message = `the token has ended ${Math.round(at - until)} s ago, and what it asked for may begin ${wait} s after that at most (max_wait_sec): submit it again`;
  throw new CscError('SUBMISSION_EXPIRED', message);
}

// NumericDate, RFC 7519 §2; the strict reader lets no fraction through.
function time({ claims }: OpenedToken, name: string): number {
  const value = claims[name];
  if (typeof value === 'number' && value >= 0 && value < 1e11) return value;
  throw refusedToken(`it does not say ${name} as seconds since 1970`);
}

function textClaim({ claims }: OpenedToken, name: string, max: number): string {
  const value = claims[name];
  if (typeof value === 'string' && value !== '' && value.length <= max && !/[\p{Cc}\p{Cs}]/u.test(value))
    return value;
  throw refusedToken(`its claim ${name} is no text of 1 to ${max} characters`);
}

function toPrincipal(token: OpenedToken, issuer: Issuer, trustDomain: string): string {
  const rule = issuer.principals.find(({ claims }) =>
    Object.entries(claims).every(([name, patterns]) => {
      const value = toText(token.claims[name]);
      return value !== undefined && [patterns].flat().some((pattern) => meets(value, pattern));
    }),
  );
  if (rule === undefined)
    throw refusedToken(`no principal of ${issuer.issuer} in issuers.yaml has claims like these`);
  const name = rule.principal
    .split('.')
    .map((part) => (part.startsWith('{') ? encodeClaim(token, part.slice(1, -1)) : part))
    .join('.');
  const uri = toIdentityUri(trustDomain, 'client', name);
  if (parseIdentity(uri) !== undefined) return uri;
  throw refusedToken(
    `what issuers.yaml makes of its claims is no name of a principal: ${canonicalJson(name.slice(0, 300))}`,
  );
}

/** As a number has one text only, too; undefined for what is neither. */
function toText(value: JsonValue | undefined): string | undefined {
  if (typeof value === 'string') return value;
  return typeof value === 'number' || typeof value === 'boolean' ? String(value) : undefined;
}

/** True where the whole of it is what the pattern says: one `*` stands for any characters but / and control characters. */
export function meets(value: string, pattern: string): boolean {
  const at = pattern.indexOf('*');
  if (at < 0) return value === pattern;
  const [head, tail] = [pattern.slice(0, at), pattern.slice(at + 1)];
  if (value.length < head.length + tail.length || !value.startsWith(head) || !value.endsWith(tail))
    return false;
  return !/[/\p{Cc}]/u.test(value.slice(head.length, value.length - tail.length));
}

function encodeClaim(token: OpenedToken, name: string): string {
  const value = toText(token.claims[name]);
  if (value === undefined || value === '')
    throw refusedToken(`it has no claim ${name}, of which issuers.yaml makes its principal`);
  return toPart(value);
}
