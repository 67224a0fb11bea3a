import { type Clock, isJsonObject, type JsonValue, parseStrictJson, systemClock } from '../encoding/index.ts';
import { CscError } from '../errors/index.ts';
import { type Issuer, type IssuerKey, jwkSchema, maxIssuerKeys } from '../owners/index.ts';
import { validate } from '../schema/index.ts';
import type { IssuerKeys } from './open-token.ts';
import { refusedToken } from './read-token.ts';

export { checkStillItsKey, openToken } from './open-token.ts';

type FetchJson = typeof import('./fetch.ts').fetchJson;

// Keys that were fetched are fresh for so long; then they are asked for again, and go on where that fails.
const freshMs = 10 * 60_000;
// An id that nobody knows may be a new key, or a caller's invention: between two questions for it so much time goes by.
const minIntervalMs = 30_000;
const maxJwksBytes = 256 * 1024;

interface Fetched {
  readonly keys: readonly IssuerKey[];
  readonly at: number;
}

/**
 * The keys of issuers: those that the owners have pinned; and of an issuer for which they have given leave, those that it
 * publishes, which are kept, asked for again when an id is not among them, and outlive an issuer that is away for no
 * longer than `max_stale_sec`. Without leave nothing is ever fetched.
 */
export function createIssuerKeys(clock: Clock = systemClock): IssuerKeys {
  const published = new Map<string, PublishedKeys>();
  return {
    find: async (issuer, keyId) => {
      const { jwks, fetch: leave } = issuer;
      if (jwks !== undefined) return withId(jwks.keys, keyId);
      if (leave === undefined) return [];
      const name = JSON.stringify([issuer.issuer, leave]);
      const keys = published.get(name) ?? new PublishedKeys(issuer, leave.max_stale_sec * 1000, clock);
      published.set(name, keys);
      return withId(await keys.current(keyId), keyId);
    },
  };
}

/** What one issuer publishes. */
class PublishedKeys {
  readonly #issuer: Issuer;
  readonly #staleMs: number;
  readonly #clock: Clock;
  #known: Fetched | undefined;
  #askedAt = Number.NEGATIVE_INFINITY;
  #asking: Promise<Fetched> | undefined;

  constructor(issuer: Issuer, staleMs: number, clock: Clock) {
    this.#issuer = issuer;
    this.#staleMs = staleMs;
    this.#clock = clock;
  }

  /** All of them; those that are known already where the one of this id is among them. */
  async current(keyId: string): Promise<readonly IssuerKey[]> {
    const now = this.#clock.now().getTime();
    const known = this.#known;
    const isFresh = known !== undefined && now - known.at < freshMs && now >= known.at;
    if (isFresh && withId(known.keys, keyId).length > 0) return known.keys;
    const mayAsk = now - this.#askedAt >= minIntervalMs || now < this.#askedAt;
    try {
      if (this.#asking === undefined && !mayAsk) throw tooSoon();
      return (await this.#ask(now)).keys;
    } catch (error) {
      if (known !== undefined && now - known.at <= this.#staleMs) return known.keys;
      throw error;
    }
  }

  #ask(now: number): Promise<Fetched> {
    this.#askedAt = this.#asking === undefined ? now : this.#askedAt;
    this.#asking ??= fetchKeys(this.#issuer)
      .then((keys) => {
        this.#known = { keys, at: now };
        return this.#known;
      })
      .finally(() => {
        this.#asking = undefined;
      });
    return this.#asking;
  }
}

function withId(keys: readonly IssuerKey[], keyId: string): readonly IssuerKey[] {
  return keys.filter(({ kid }) => kid === keyId);
}

function tooSoon(): CscError {
  return refusedToken(
    'its issuer’s keys could not be had, and were asked for less than half a minute ago: try again then',
  );
}

async function fetchKeys(issuer: Issuer): Promise<readonly IssuerKey[]> {
  const { jwks_uri: given, ca } = issuer.fetch ?? {};
  try {
    // Loaded by those who have to ask.
    const { fetchJson } = await import('./fetch.ts');
    const url = given ?? (await discover(issuer, fetchJson));
    return readKeys(await fetchJson(url, ca));
  } catch (cause) {
    const why = cause instanceof CscError ? cause.message : 'no answer that can be read';
    throw refusedToken(`the keys of ${issuer.issuer} could not be fetched: ${why}`, cause);
  }
}

// OpenID Connect Discovery §4. What it names must be of the issuer's own host: a page of it that somebody else may write
// must not name their keys.
async function discover(issuer: Issuer, fetchJson: FetchJson): Promise<string> {
  const base = issuer.issuer.replace(/\/$/, '');
  const document = readJson(await fetchJson(`${base}/.well-known/openid-configuration`, issuer.fetch?.ca));
  const { issuer: named, jwks_uri: uri } = isJsonObject(document) ? document : {};
  if (named !== issuer.issuer)
    throw new CscError('CONFIG_INVALID', 'its discovery document is of another issuer');
  if (typeof uri !== 'string' || !URL.canParse(uri) || new URL(uri).origin !== new URL(base).origin)
    throw new CscError(
      'CONFIG_INVALID',
      'its discovery document names no jwks_uri on the same host; say jwks_uri in issuers.yaml',
    );
  return uri;
}

function readKeys(bytes: Uint8Array): readonly IssuerKey[] {
  const document = readJson(bytes);
  const listed = isJsonObject(document) && Array.isArray(document['keys']) ? document['keys'] : [];
  // Keys of other kinds, which an issuer may publish beside, are none for us.
  const keys = listed.filter(isJsonObject).flatMap((key) => {
    const said = members.filter((name) => key[name] !== undefined).map((name) => [name, key[name] ?? null]);
    const parsed = validate(jwkSchema, Object.fromEntries(said));
    return parsed.ok ? [parsed.value] : [];
  });
  if (keys.length > 0 && keys.length <= maxIssuerKeys) return keys;
  throw new CscError('CONFIG_INVALID', 'what it publishes is no JWKS with keys for tokens');
}

const members = ['kty', 'kid', 'use', 'alg', 'n', 'e', 'crv', 'x', 'y'];

function readJson(bytes: Uint8Array): JsonValue {
  const parsed = parseStrictJson(bytes, { maxBytes: maxJwksBytes });
  if (parsed.ok) return parsed.value;
  throw new CscError('CONFIG_INVALID', 'what it publishes is no strict JSON');
}
