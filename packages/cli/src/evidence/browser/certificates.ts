import 'reflect-metadata';
import { createKeyRing, type KeyRing } from '@csc-fleet/common/crypto';
import { isJsonObject, parseTimestamp } from '@csc-fleet/common/encoding';
import { CscError } from '@csc-fleet/common/errors';
import { checkNames, type ReceiptTexts, readReceiptJson } from '@csc-fleet/common/evidence';
import { parseIdentity, receiptSigning } from '@csc-fleet/common/identity';
import { maxReceiptCertificates } from '@csc-fleet/common/receipt';
import {
  BasicConstraintsExtension,
  ExtendedKeyUsageExtension,
  KeyUsageFlags,
  KeyUsagesExtension,
  SubjectAlternativeNameExtension,
  X509Certificate,
} from '@peculiar/x509';

/** The certificates of a PEM text. */
export function parsePem(text: string): X509Certificate[] {
  const blocks = text.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
  return blocks.map((block) => new X509Certificate(block));
}

/**
 * The key that a receipt is signed with, where certificates in it lead to the CA: what certifiedKey of common says with Node's
 * X.509, by Web Crypto. Undefined where it brings none. Throws RECEIPT_INVALID.
 */
export async function certifiedRing(
  { receiptJson, originalJson }: ReceiptTexts,
  ca: readonly X509Certificate[],
): Promise<KeyRing | undefined> {
  const { receipt_certificates: listed, signature } = readReceiptJson(originalJson ?? receiptJson);
  if (!Array.isArray(listed)) return undefined;
  const signed = isJsonObject(signature) ? signature : {};
  const [keyId, signedAt] = [signed['key_id'], signed['signed_at']];
  const at = typeof signedAt === 'string' ? parseTimestamp(signedAt) : undefined;
  if (typeof keyId !== 'string' || at === undefined) throw invalid('the receipt is not signed');
  if (listed.length > maxReceiptCertificates) throw invalid('it has too many of them');
  const chain = listed.map((it) => readDer(String(it)));
  const [leaf] = chain;
  if (leaf === undefined) throw invalid('there is none');
  const issuers: X509Certificate[] = [];
  for (const [index, certificate] of chain.entries())
    issuers.push(await checkIssued(certificate, chain[index + 1], ca, at));
  const key = readLeaf(leaf);
  for (const issuer of issuers) checkTrustDomain(issuer, key.owner);
  for (const issuer of issuers) checkNames(new Uint8Array(issuer.rawData), new Uint8Array(leaf.rawData));
  return createKeyRing([{ keyId, ...key }]);
}

// X509-SVID §4.1, as csc does it.
function checkTrustDomain(issuer: X509Certificate, owner: string): void {
  for (const uri of uriNamesOf(issuer))
    if (uri.startsWith('spiffe://') && !owner.startsWith(`${uri}/`))
      throw invalid(`a CA of ${uri} has certified ${owner}`);
}

function uriNamesOf(certificate: X509Certificate): string[] {
  const names = certificate.getExtension(SubjectAlternativeNameExtension)?.names.toJSON() ?? [];
  return names.flatMap(({ type, value }) => (type === 'url' ? value : []));
}

function readDer(listed: string): X509Certificate {
  try {
    return new X509Certificate(listed);
  } catch {
    throw invalid('one cannot be read');
  }
}

async function checkIssued(
  certificate: X509Certificate,
  next: X509Certificate | undefined,
  ca: readonly X509Certificate[],
  at: Date,
): Promise<X509Certificate> {
  for (const issuer of next === undefined ? ca : [next]) {
    if (!isCa(issuer) || issuer.subject !== certificate.issuer || !(await isSignedBy(certificate, issuer)))
      continue;
    for (const one of [certificate, issuer])
      if (at < one.notBefore || at > one.notAfter)
        throw invalid(`one was not valid at ${at.toISOString()}, when the receipt was signed`);
    return issuer;
  }
  throw invalid('they do not lead to the CA that is pinned');
}

const signatures = new Map<string, Promise<boolean>>();

// Each receipt of a host brings the same.
function isSignedBy(certificate: X509Certificate, issuer: X509Certificate): Promise<boolean> {
  const id = `${certificate.toString('base64')} ${issuer.toString('base64')}`;
  const known = signatures.get(id);
  if (known !== undefined) return known;
  const found = certificate.verify({ publicKey: issuer.publicKey, signatureOnly: true }).catch(() => false);
  signatures.set(id, found);
  return found;
}

function isCa(certificate: X509Certificate): boolean {
  const usage = certificate.getExtension(KeyUsagesExtension);
  const mayIssue = usage === null || (usage.usages & KeyUsageFlags.keyCertSign) !== 0;
  return certificate.getExtension(BasicConstraintsExtension)?.ca === true && mayIssue;
}

// Arcs of 128 bits the library shows otherwise than they are written: as what it makes of our own.
const purposesOf = (extension: ExtendedKeyUsageExtension): string[] =>
  new ExtendedKeyUsageExtension(extension.rawData).usages.map(String);
const [receiptPurpose] = purposesOf(new ExtendedKeyUsageExtension([receiptSigning]));

// RFC 8410: the key is the last 32 bytes of such a SPKI, which is 44 long.
const ed25519Spki = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

function readLeaf(leaf: X509Certificate): { readonly publicKey: Uint8Array; readonly owner: string } {
  const usage = leaf.getExtension(ExtendedKeyUsageExtension);
  if (
    isCa(leaf) ||
    usage === null ||
    receiptPurpose === undefined ||
    !purposesOf(usage).includes(receiptPurpose)
  )
    throw invalid('the first is not of a receipt key');
  const spki = new Uint8Array(leaf.publicKey.rawData);
  if (spki.length !== 44 || !ed25519Spki.every((byte, at) => byte === spki[at]))
    throw invalid('the first is not of an Ed25519 key');
  const uris = uriNamesOf(leaf);
  const [owner = ''] = uris;
  if (uris.length !== 1 || parseIdentity(owner)?.role !== 'executor')
    throw invalid('the first does not name an executor');
  return { publicKey: spki.slice(ed25519Spki.length), owner };
}

function invalid(why: string): CscError {
  const message = `the receipt's certificates do not prove whose key it is signed with: ${why}`;
  return new CscError('RECEIPT_INVALID', message);
}
