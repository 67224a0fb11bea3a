import { sha256Hex } from '@csc-fleet/common/encoding';
import { CscError, isCscError } from '@csc-fleet/common/errors';
import { parseIdentity } from '@csc-fleet/common/identity';
import { checkStillItsKey, openToken } from '@csc-fleet/common/issuer-keys';
import { type IssuerKeys, judgeToken, maxTokenLength, type OpenedToken } from '@csc-fleet/common/oidc';
import type { Issuer } from '@csc-fleet/common/owners';
import { presentedKeyOf, type ServerCallLike } from '@csc-fleet/common/rpc';
import { type Caller, checkCaller } from './authenticate.ts';

/** By whose word a token says who calls. */
export interface TokenDoor {
  readonly issuers: () => readonly Issuer[] | undefined;
  readonly issuerKeys: IssuerKeys;
  readonly now: () => Date;
}

/** What of a call says who makes it by a token. */
export type TokenCall = ServerCallLike & {
  readonly metadata: { get(name: string): readonly (string | Buffer)[] };
};

// Each costs a signature, and a job makes many calls with one.
const mostOpened = 1024;

/**
 * Gives whoever calls with a token and no certificate of ours: a job of a CI, by a certificate that it has made itself and
 * whose private key TLS has proved. A token whose audience names that key is of no use to anybody else, on this way
 * either. Undefined where the call brings none. Throws CREDENTIALS_INVALID.
 */
export function createTokenCallers(
  door: TokenDoor,
  trustDomain: string,
): (call: TokenCall) => Promise<Caller<'client'>> | undefined {
  const opened = new Map<string, OpenedToken>();
  const open = async (text: string): Promise<OpenedToken> => {
    // By its hash: the token itself is kept nowhere.
    const name = sha256Hex(Buffer.from(text));
    const known = opened.get(name);
    if (known !== undefined) {
      // Its issuer may have taken the key back since. The keys are at hand, but for when they are asked for anew.
      await checkStillItsKey(known, door.issuers(), door.issuerKeys);
      return known;
    }
    const token = await openToken(text, door.issuers(), door.issuerKeys);
    if (isCscError(token)) throw token;
    const [oldest] = opened.keys();
    if (opened.size >= mostOpened && oldest !== undefined) opened.delete(oldest);
    opened.set(name, token);
    return token;
  };
  const identify = async (text: string, publicKey: Uint8Array): Promise<Caller<'client'>> => {
    try {
      const token = await open(text);
      const now = door.now();
      const { principal } = judgeToken(token, {
        issuers: door.issuers(),
        trustDomain,
        publicKey,
        usedAt: now,
        now,
      });
      const identity = parseIdentity(principal);
      if (identity === undefined) throw new CscError('INTERNAL', 'a token came to no principal');
      return checkCaller(identity, 'client', trustDomain);
    } catch (error) {
      if (!isCscError(error, 'SUBMISSION_INVALID') && !isCscError(error, 'SUBMISSION_EXPIRED')) throw error;
      throw new CscError('CREDENTIALS_INVALID', error.message, { cause: error });
    }
  };
  return (call) => {
    const text = bearerOf(call);
    if (text === undefined) return undefined;
    const publicKey = presentedKeyOf(call);
    return publicKey === undefined ? undefined : identify(text, publicKey);
  };
}

// RFC 6750 §2.1. More than one is none: two readers might take two.
function bearerOf({ metadata }: TokenCall): string | undefined {
  const [only, more] = metadata.get('authorization');
  if (typeof only !== 'string' || more !== undefined || only.length > maxTokenLength + 16) return undefined;
  return /^Bearer ([A-Za-z0-9._-]+)$/.exec(only)?.[1];
}
