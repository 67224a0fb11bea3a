import { type Clock, isJsonObject, type JsonValue, parseStrictJson, systemClock } from '../encoding/index.ts';
import { CscError } from '../errors/index.ts';
import { type Issuer, type IssuerKey, jwkSchema, maxIssuerKeys } from '../owners/index.ts';
import { validate } from '../schema/index.ts';
import type { IssuerKeys } from './open-token.ts';
import { refusedToken } from './read-token.ts';

export interface IssuerKeysOptions {
  readonly clock?: Clock;
  /** Gives the bytes at an https URL. Default: asks for them, within bounds. */
  readonly fetch?: (url: string, ca: string | undefined) => Promise<Uint8Array>;
}

// Keys that were fetched are fresh for so long; then they are asked for again, and go on where that fails.
const freshMs = 10 * 60_000;
// An id that nobody knows may be a new key, or a caller's invention: between two questions for it so much time goes by.
const minIntervalMs = 30_000;
const maxJwksBytes = 256 * 1024;

// Loaded by those who have to ask.
const askForJson: NonNullable<IssuerKeysOptions['fetch']> = async (url, ca) =>
  (await import('./fetch.ts')).fetchJson(url, ca);

interface Fetched {
  readonly keys: readonly IssuerKey[];
  readonly at: number;
}

interface State {
  known: Fetched | undefined;
  askedAt: number;
  asking: Promise<Fetched> | undefined;
}

/**
 * The keys of issuers: those that the owners have pinned; and of an issuer for which they have given leave, those that it
 * publishes, which are kept, asked for again when an id is not among them, and outlive an issuer that is away for no
 * longer than `max_stale_sec`. Without leave nothing is ever fetched.
 */
export function createIssuerKeys({
  clock = systemClock,
  fetch = askForJson,
}: IssuerKeysOptions = {}): IssuerKeys {
  const states = new Map<string, State>();
  return {
    find: async (issuer, keyId) => {
      const { jwks, fetch: leave } = issuer;
      if (jwks !== undefined) return withId(jwks.keys, keyId);
      if (leave === undefined) return [];
      const name = JSON.stringify([issuer.issuer, leave]);
      const state = states.get(name) ?? {
        known: undefined,
        askedAt: Number.NEGATIVE_INFINITY,
        asking: undefined,
      };
      states.set(name, state);
      return withId((await current(state, keyId)).keys, keyId);

      async function current(state: State, keyId: string): Promise<Fetched> {
        const now = clock.now().getTime();
        const { known } = state;
        const isFresh = known !== undefined && now - known.at < freshMs && now >= known.at;
        if (isFresh && withId(known.keys, keyId).length > 0) return known;
        const mayAsk = now - state.askedAt >= minIntervalMs || now < state.askedAt;
        try {
          if (state.asking === undefined && !mayAsk) throw tooSoon();
          return await ask(state, now);
        } catch (error) {
          const staleMs = (leave?.max_stale_sec ?? 0) * 1000;
          if (known !== undefined && now - known.at <= staleMs) return known;
          throw error;
        }
      }

      function ask(state: State, now: number): Promise<Fetched> {
        state.askedAt = state.asking === undefined ? now : state.askedAt;
        state.asking ??= fetchKeys(issuer, fetch)
          .then((keys) => {
            state.known = { keys, at: now };
            return state.known;
          })
          .finally(() => {
            state.asking = undefined;
          });
        return state.asking;
      }
    },
  };
}

function withId(keys: readonly IssuerKey[], keyId: string): readonly IssuerKey[] {
  return keys.filter(({ kid }) => kid === keyId);
}

function tooSoon(): CscError {
  return refusedToken(
    'its issuer’s keys could not be had, and were asked for less than half a minute ago: try again then',
  );
}

async function fetchKeys(
  issuer: Issuer,
  fetch: NonNullable<IssuerKeysOptions['fetch']>,
): Promise<readonly IssuerKey[]> {
  const { jwks_uri: given, ca } = issuer.fetch ?? {};
  try {
    const url = given ?? (await discover(issuer, fetch));
    return readKeys(await fetch(url, ca));
  } catch (cause) {
    const why = cause instanceof CscError ? cause.message : 'no answer that can be read';
    throw refusedToken(`the keys of ${issuer.issuer} could not be fetched: ${why}`, cause);
  }
}

// OpenID Connect Discovery §4. What it names must be of the issuer's own host: a page of it that somebody else may write
// must not name their keys.
async function discover(issuer: Issuer, fetch: NonNullable<IssuerKeysOptions['fetch']>): Promise<string> {
  const base = issuer.issuer.replace(/\/$/, '');
  const document = readJson(await fetch(`${base}/.well-known/openid-configuration`, issuer.fetch?.ca));
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
