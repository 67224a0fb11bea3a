import { createPrivateKey } from 'node:crypto';
import {
  createSigner,
  generateKeyPair,
  readPrivateKey,
  toBase64,
  toPrivatePem,
} from '@csc-fleet/common/crypto';
import type { SubmissionSigner } from '@csc-fleet/common/evidence';
import { selfSigned, tokenAudience } from '@csc-fleet/common/oidc';
import { connect, type GateClient } from '../client.ts';
import type { ConnectOptions } from '../connect-options.ts';
import type { TokenSource } from './sources.ts';

/** Who is to be identified by a token, and where. */
export interface TokenOptions {
  /** `host:port`. */
  readonly address: string;
  /** The CA that the gate must prove: PEM text, or the path of a PEM file. */
  readonly ca: string;
  readonly token: TokenSource;
  /**
   * The key that tokens are to name: a private key file, or PEM, for a job that comes back in another process and has to sign
   * then what it has signed before. Absent: one that is made now and is gone with this process.
   */
  readonly key?: string | undefined;
  /** As for `connect`. */
  readonly connectTimeout?: number | undefined;
}

/** What of `connect`'s options says who this is. */
export interface TokenMember {
  readonly bearer: (trustDomain: string) => Promise<string>;
  readonly principal: string;
  readonly submitter: SubmissionSigner;
  readonly tls: { readonly ca: string; readonly cert: string; readonly key: string };
}

// A token that ends within that is not begun with any more.
const marginMs = 30_000;

/**
 * Makes a key, for this process alone unless `key` is given, and has the gate say who it is by a token that names that key:
 * what `connect` takes to submit as a CI job. No secret of ours has to lie there. The gate's word on who that is is not believed
 * by hosts, which ask the token. Rejects with CREDENTIALS_INVALID where the gate does not take the token, GATE_UNREACHABLE
 * where it takes none (accept_tokens), and as readPrivateKey does.
 */
export async function identifyByToken(options: TokenOptions): Promise<TokenMember> {
  const { address, ca, token, connectTimeout } = options;
  const seed = options.key === undefined ? generateKeyPair().seed : readPrivateKey(options.key);
  const key = toPrivatePem(seed);
  const tls = { ca, cert: selfSigned(createPrivateKey(key), new Date()), key };
  const own = createSigner(seed, 'of a job');
  const { publicKey } = own;
  const tokens = keep(token);
  const bearer = (trustDomain: string) => tokens(tokenAudience(trustDomain, publicKey));
  using gate = connect({ address, tls, bearer, connectTimeout });
  const principal = await gate.principal();
  const domain = principal.split('/')[2] ?? '';
  const submitter: SubmissionSigner = {
    keyId: toBase64(publicKey),
    publicKey,
    sign: (message) => own.sign(message),
    token: () => bearer(domain),
  };
  return { tls, bearer, submitter, principal };
}

/** A client of a gate as a CI job: see identifyByToken. */
export async function connectByToken(
  options: TokenOptions & Omit<ConnectOptions, 'principal' | 'submitter' | 'bearer' | 'tls' | 'credentials'>,
): Promise<GateClient> {
  const { address, ca, token, key, ...rest } = options;
  const { connectTimeout } = options;
  const member = await identifyByToken({ address, ca, token, key, connectTimeout });
  return connect({ ...rest, address, ...member });
}

/** One token goes for as long as it is good: issuers count how many they give. */
function keep(source: TokenSource): TokenSource {
  const known = new Map<string, Promise<{ readonly text: string; readonly until: number }>>();
  return async (audience) => {
    const last = await known.get(audience)?.catch(() => undefined);
    if (last !== undefined && last.until > Date.now()) return last.text;
    const next = source(audience).then((text) => ({ text, until: endOf(text) - marginMs }));
    known.set(audience, next);
    return (await next).text;
  };
}

/** When a token says that it ends, in milliseconds since 1970; 0 where it cannot be read. */
function endOf(text: string): number {
  try {
    const claims: unknown = JSON.parse(Buffer.from(text.split('.')[1] ?? '', 'base64url').toString('utf8'));
    const end = typeof claims === 'object' && claims !== null && 'exp' in claims ? Number(claims.exp) : 0;
    return Number.isFinite(end) ? end * 1000 : 0;
  } catch {
    return 0;
  }
}
