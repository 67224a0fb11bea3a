import { X509Certificate } from 'node:crypto';
import type { KeyEntry } from '../crypto/index.ts';
import { isJsonObject, parseTimestamp } from '../encoding/index.ts';
import { CscError } from '../errors/index.ts';
import { identityOfCertificate, receiptSigning, uriNames } from '../identity/index.ts';
import { maxReceiptCertificates } from '../receipt/index.ts';
import { whyLeftOut } from './name-constraints.ts';
import { readReceiptJson } from './receipt-json.ts';
import type { ReceiptTexts } from './verify-receipt.ts';

/** The CA certificates of a fleet, pinned: whoever they certify as an executor's receipt key is believed to be it. */
export type FleetCa = readonly X509Certificate[];

/** Whose a receipt key is, as its certificates say. */
export interface CertifiedKey {
  /** 32 bytes. */
  readonly publicKey: Uint8Array;
  /** The executor's SPIFFE id. */
  readonly owner: string;
}

/** The blocks of a PEM text that are certificates, each whole, in order; none where there are none. */
export function pemBlocks(text: string): readonly string[] {
  return text.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
}

/** The certificates of a PEM text, in order. Throws CONFIG_INVALID where there is none, or one cannot be read. */
export function parseCertificates(text: string | Uint8Array, what: string): X509Certificate[] {
  const blocks = pemBlocks(Buffer.from(text).toString('latin1'));
  if (blocks.length === 0) throw new CscError('CONFIG_INVALID', `${what} holds no certificate in PEM`);
  try {
    return blocks.map((block) => new X509Certificate(block));
  } catch (cause) {
    throw new CscError('CONFIG_INVALID', `${what} holds a certificate that cannot be read`, { cause });
  }
}

/**
 * The key that a receipt is signed with, where certificates in it lead to the fleet's CA; the receipt's signature is not
 * verified. Undefined where it carries none, as a gate's own. Throws RECEIPT_INVALID where they do not prove it.
 */
export function certifiedKey(texts: ReceiptTexts, ca: FleetCa): KeyEntry | undefined {
  const listed = readListed(texts);
  if (listed === undefined) return undefined;
  const { keyId, at, certificates } = listed;
  return { keyId, ...verifyCertificates(certificates.map(readDer), ca, at) };
}

/** The certificates that a receipt lists, unread, with what its signature says of itself. */
export interface ListedCertificates {
  readonly keyId: string;
  /** When the key signed. */
  readonly at: Date;
  /** DER, in base64. */
  readonly certificates: readonly string[];
}

/** Undefined where it lists none. Throws RECEIPT_INVALID. */
export function readListed({ receiptJson, originalJson }: ReceiptTexts): ListedCertificates | undefined {
  // A v0.1 receipt has no member for them: its original has.
  const hasOriginal = originalJson !== undefined && originalJson.length > 0;
  const { receipt_certificates: listed, signature } = readReceiptJson(
    hasOriginal ? originalJson : receiptJson,
  );
  if (!Array.isArray(listed)) return undefined;
  const signed = isJsonObject(signature) ? signature : {};
  const [keyId, signedAt] = [signed['key_id'], signed['signed_at']];
  const at = typeof signedAt === 'string' ? parseTimestamp(signedAt) : undefined;
  if (typeof keyId !== 'string' || at === undefined) throw unproven('the receipt is not signed');
  if (listed.length > maxReceiptCertificates) throw unproven('it has too many of them');
  return { keyId, at, certificates: listed.map(String) };
}

function readDer(listed: string): X509Certificate {
  try {
    return new X509Certificate(Buffer.from(listed, 'base64'));
  } catch (cause) {
    throw unproven('one cannot be read', cause);
  }
}

/**
 * Whose receipt key the first of these certificates is (RFC 5280 §6 as far as this fleet's certificates go: signatures,
 * names of issuers, CA flags, dates, the purpose of the leaf). Throws RECEIPT_INVALID.
 * @param chain the leaf first, without the CA's own
 * @param at when the key signed: a certificate that has ended since still says whose the key was
 */
export function verifyCertificates(chain: readonly X509Certificate[], ca: FleetCa, at: Date): CertifiedKey {
  const [leaf] = chain;
  if (leaf === undefined) throw unproven('there is none');
  const issuers = chain.map((certificate, index) => checkIssued(certificate, chain[index + 1], ca, at));
  const key = readReceiptLeaf(leaf);
  for (const issuer of issuers) checkTrustDomain(uriNamesOf(issuer), key.owner);
  for (const issuer of issuers) checkNames(issuer.raw, leaf.raw);
  return key;
}

/**
 * X509-SVID §4.1: a CA that says its trust domain certifies for no other. Node does not read name constraints, which bound the
 * same CA in handshakes. Throws RECEIPT_INVALID.
 * @param uris of the CA's certificate
 */
export function checkTrustDomain(uris: readonly string[], owner: string): void {
  for (const uri of uris)
    if (uri.startsWith('spiffe://') && !owner.startsWith(`${uri}/`))
      throw unproven(`a CA of ${uri} has certified ${owner}`);
}

/** An issuer's name constraints, which Node does not read but in handshakes. Throws RECEIPT_INVALID. */
export function checkNames(issuer: Uint8Array, leaf: Uint8Array): void {
  let why: string | undefined;
  try {
    why = whyLeftOut(issuer, leaf);
  } catch (cause) {
    throw unproven('the name constraints of a CA cannot be read', cause);
  }
  if (why !== undefined) throw unproven(`by the name constraints of a CA, ${why}`);
}

function uriNamesOf(issuer: X509Certificate): string[] {
  try {
    return uriNames(issuer.raw);
  } catch (cause) {
    throw unproven('the names of a CA cannot be read', cause);
  }
}

/** Gives the issuer. */
function checkIssued(
  certificate: X509Certificate,
  next: X509Certificate | undefined,
  ca: FleetCa,
  at: Date,
): X509Certificate {
  const issuers = next === undefined ? ca : [next];
  const issuer = issuers.find(
    (it) => it.ca && certificate.checkIssued(it) && certificate.verify(it.publicKey),
  );
  if (issuer === undefined) throw unproven('they do not lead to the CA that is pinned');
  for (const one of [certificate, issuer]) {
    if (at >= new Date(one.validFrom) && at <= new Date(one.validTo)) continue;
    throw unproven(`one was not valid at ${at.toISOString()}, when the receipt was signed`);
  }
  return issuer;
}

/** What a leaf says by itself: that it is of a receipt key of an executor. Throws RECEIPT_INVALID. */
export function readReceiptLeaf(leaf: X509Certificate): CertifiedKey {
  // Node gives the purposes of an extended key usage here. A TLS certificate has others: it signs no receipts.
  if (leaf.ca || !leaf.keyUsage?.includes(receiptSigning))
    throw unproven('the first is not of a receipt key');
  const { x } = leaf.publicKey.export({ format: 'jwk' });
  if (leaf.publicKey.asymmetricKeyType !== 'ed25519' || x === undefined)
    throw unproven('the first is not of an Ed25519 key');
  try {
    const { uri, role } = identityOfCertificate(leaf.raw);
    if (role === 'executor') return { publicKey: Buffer.from(x, 'base64url'), owner: uri };
  } catch (cause) {
    throw unproven('the first names nobody', cause);
  }
  throw unproven('the first does not name an executor');
}

/** Why a receipt's certificates do not count. */
export function unproven(why: string, cause?: unknown): CscError {
  const message = `the receipt's certificates do not prove whose key it is signed with: ${why}`;
  return new CscError('RECEIPT_INVALID', message, cause === undefined ? {} : { cause });
}
