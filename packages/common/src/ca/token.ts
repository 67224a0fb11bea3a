import { createHash, randomBytes } from 'node:crypto';
import * as z from 'zod';
import { CscError } from '../errors/index.ts';

/** What a join token says. */
export interface JoinToken {
  /** As csc ca token printed it: whoever has it may join. */
  readonly text: string;
  /** The SHA-256 of the root's certificate, lower-case hex: the CA that is joined, and no other. */
  readonly caSha256: string;
  readonly trustDomain: string;
}

const prefix = 'csc-join-1.';
const maxLength = 1024;
const body = z.strictObject({
  ca: z.string().regex(/^[0-9a-f]{64}$/),
  domain: z.string().regex(/^[a-z0-9._-]{1,255}$/),
  secret: z.string().regex(/^[0-9a-f]{64}$/),
});

/** A new token: 32 random bytes, and which CA it is of. */
export function createJoinToken(caSha256: string, trustDomain: string): JoinToken {
  const secret = randomBytes(32).toString('hex');
  const json = JSON.stringify({ ca: caSha256, domain: trustDomain, secret });
  return { text: `${prefix}${Buffer.from(json).toString('base64url')}`, caSha256, trustDomain };
}

/** Throws CONFIG_INVALID, which does not say the token. */
export function parseJoinToken(text: string): JoinToken {
  const trimmed = text.trim();
  try {
    if (!trimmed.startsWith(prefix) || trimmed.length > maxLength) throw new Error('of another form');
    const json: unknown = JSON.parse(Buffer.from(trimmed.slice(prefix.length), 'base64url').toString('utf8'));
    const { ca, domain } = body.parse(json);
    return { text: trimmed, caSha256: ca, trustDomain: domain };
  } catch {
    // Without what it fails by, which would quote it.
    throw new CscError('CONFIG_INVALID', 'that is no join token: give what csc ca token has printed, whole');
  }
}

/** What a CA keeps of a token: it cannot be made of it again. Lower-case hex. */
export function hashJoinToken(text: string): string {
  return createHash('sha256').update(`csc join token\n${text}`).digest('hex');
}

/** What the certificate requests of whoever joins are made for. */
export function joinPurpose(token: string): string {
  return `join ${hashJoinToken(token)}`;
}

/** What those of a renewal are made for: the SHA-256 of the certificate that asks. */
export function renewPurpose(fingerprint: string): string {
  return `renew ${fingerprint}`;
}
