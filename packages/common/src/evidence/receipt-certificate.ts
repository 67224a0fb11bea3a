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

const pem = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g;

/** The certificates of a PEM text, in order. Throws CONFIG_INVALID where there is none, or one cannot be read. */
export function parseCertificates(text: string | Uint8Array, what: string): X509Certificate[] {
  const blocks = Buffer.from(text).toString('latin1').match(pem) ?? [];
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
  const { receiptJson, originalJson } = texts;
  // A v0.1 receipt has no member for them: its original has.
  const hasOriginal = originalJson !== undefined && originalJson.length > 0;
  const { receipt_certificates: listed, signature } = readReceiptJson(
    hasOriginal ? originalJson : receiptJson,
  );
  if (!Array.isArray(listed)) return undefined;
  const signed = isJsonObject(signature) ? signature : {};
  const [keyId, signedAt] = [signed['key_id'], signed['signed_at']];
  const at = typeof signedAt === 'string' ? parseTimestamp(signedAt) : undefined;
  if (typeof keyId !== 'string' || at === undefined) throw invalid('the receipt is not signed');
  if (listed.length > maxReceiptCertificates) throw invalid('it has too many of them');
  return { keyId, ...verifyCertificates(listed.map(readDer), ca, at) };
}

function readDer(listed: unknown): X509Certificate {
  try {
    return new X509Certificate(Buffer.from(String(listed), 'base64'));
  } catch (cause) {
    throw invalid('one cannot be read', cause);
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
  if (leaf === undefined) throw invalid('there is none');
  const issuers = chain.map((certificate, index) => checkIssued(certificate, chain[index + 1], ca, at));
  const key = readReceiptLeaf(leaf);
  for (const issuer of issuers) checkTrustDomain(issuer, key.owner);
  for (const issuer of issuers) checkNames(issuer.raw, leaf.raw);
  return key;
}

// X509-SVID §4.1: a CA that says its trust domain certifies for no other. Node does not read name constraints, which bound
// the same CA in handshakes.
function checkTrustDomain(issuer: X509Certificate, owner: string): void {
  for (const uri of uriNamesOf(issuer))
    if (uri.startsWith('spiffe://') && !owner.startsWith(`${uri}/`))
      throw invalid(`a CA of ${uri} has certified ${owner}`);
}

/** An issuer's name constraints, which Node does not read but in handshakes. Throws RECEIPT_INVALID. */
export function checkNames(issuer: Uint8Array, leaf: Uint8Array): void {
  let why: string | undefined;
  try {
    why = whyLeftOut(issuer, leaf);
  } catch (cause) {
    throw invalid('the name constraints of a CA cannot be read', cause);
  }
  if (why !== undefined) throw invalid(`by the name constraints of a CA, ${why}`);
}

function uriNamesOf(issuer: X509Certificate): string[] {
  try {
    return uriNames(issuer.raw);
  } catch (cause) {
    throw invalid('the names of a CA cannot be read', cause);
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
  if (issuer === undefined) throw invalid('they do not lead to the CA that is pinned');
  for (const one of [certificate, issuer]) {
    if (at >= new Date(one.validFrom) && at <= new Date(one.validTo)) continue;
    throw invalid(`one was not valid at ${at.toISOString()}, when the receipt was signed`);
  }
  return issuer;
}

/** What a leaf says by itself: that it is of a receipt key of an executor. Throws RECEIPT_INVALID. */
export function readReceiptLeaf(leaf: X509Certificate): CertifiedKey {
  // Node gives the purposes of an extended key usage here. A TLS certificate has others: it signs no receipts.
  if (leaf.ca || !leaf.keyUsage?.includes(receiptSigning)) throw invalid('the first is not of a receipt key');
  const { x } = leaf.publicKey.export({ format: 'jwk' });
  if (leaf.publicKey.asymmetricKeyType !== 'ed25519' || x === undefined)
    throw invalid('the first is not of an Ed25519 key');
  try {
    const { uri, role } = identityOfCertificate(leaf.raw);
    if (role === 'executor') return { publicKey: Buffer.from(x, 'base64url'), owner: uri };
  } catch (cause) {
    throw invalid('the first names nobody', cause);
  }
  throw invalid('the first does not name an executor');
}

function invalid(why: string, cause?: unknown): CscError {
  const message = `the receipt's certificates do not prove whose key it is signed with: ${why}`;
  return new CscError('RECEIPT_INVALID', message, cause === undefined ? {} : { cause });
}
