/** Which of the parties a certificate speaks for. */
export type Role = 'client' | 'gate' | 'executor';

/** Who is at the other end of a connection, as its certificate says. */
export interface Identity {
  /** `spiffe://TRUST_DOMAIN/ROLE/NAME`. */
  readonly uri: string;
  readonly role: Role;
  readonly name: string;
  readonly trustDomain: string;
}

// SPIFFE-ID §2: the trust domain's and the path's characters; `.` and `..` are no segments.
const identityUri =
  /^spiffe:\/\/([a-z0-9._-]{1,255})\/(client|gate|executor)\/(?!\.{1,2}$)([A-Za-z0-9._-]{1,255})$/;

/** Undefined where the URI does not name a party of ours. */
export function parseIdentity(uri: string): Identity | undefined {
  const [, trustDomain, role, name] = identityUri.exec(uri) ?? [];
  if (trustDomain === undefined || name === undefined || !isRole(role)) return undefined;
  return { uri, role, name, trustDomain };
}

function isRole(text: string | undefined): text is Role {
  return text === 'client' || text === 'gate' || text === 'executor';
}

/** The URI of a party; the inverse of parseIdentity. */
export function toIdentityUri(trustDomain: string, role: Role, name: string): string {
  return `spiffe://${trustDomain}/${role}/${name}`;
}

/**
 * The extended key usage of a certificate of an executor's receipt key (RFC 5280 §4.2.1.12): a UUID of this project's own
 * below 2.25 (ITU-T X.667). No TLS certificate has it, and one that has it is for nothing else.
 */
export const receiptSigning = '2.25.239707728925585921525910546819001133752';
