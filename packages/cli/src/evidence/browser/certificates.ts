import 'reflect-metadata';
import { createCertifiedRing, type KeyEntry, type KeyRing } from '@csc-fleet/common/crypto';
import {
  checkNames,
  checkTrustDomain,
  pemBlocks,
  type ReceiptTexts,
  readListed,
  unproven,
} from '@csc-fleet/common/evidence';
import { parseIdentity, receiptSigning } from '@csc-fleet/common/identity';
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
  return pemBlocks(text).map((block) => new X509Certificate(block));
}

/**
 * The key that a receipt is signed with, where certificates in it lead to the CA: what certifiedKey of common says with Node's
 * X.509, by Web Crypto, in a ring as createCertifiedRing makes it. Undefined where it brings none. Throws RECEIPT_INVALID.
 */
export async function certifiedRing(
  texts: ReceiptTexts,
  ca: readonly X509Certificate[],
  pinned: readonly KeyEntry[] = [],
): Promise<KeyRing | undefined> {
  const listed = readListed(texts);
  if (listed === undefined) return undefined;
  const { keyId, at, certificates } = listed;
  const chain = certificates.map(readDer);
  const [leaf] = chain;
  if (leaf === undefined) throw unproven('there is none');
  const issuers: X509Certificate[] = [];
  for (const [index, certificate] of chain.entries())
    issuers.push(await checkIssued(certificate, chain[index + 1], ca, at));
  const key = readLeaf(leaf);
  for (const issuer of issuers) checkTrustDomain(uriNamesOf(issuer), key.owner);
  for (const issuer of issuers) checkNames(new Uint8Array(issuer.rawData), new Uint8Array(leaf.rawData));
  return createCertifiedRing({ keyId, ...key }, pinned);
}

function uriNamesOf(certificate: X509Certificate): string[] {
  const names = certificate.getExtension(SubjectAlternativeNameExtension)?.names.toJSON() ?? [];
  return names.flatMap(({ type, value }) => (type === 'url' ? value : []));
}

function readDer(listed: string): X509Certificate {
  try {
    return new X509Certificate(listed);
  } catch {
    throw unproven('one cannot be read');
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
        throw unproven(`one was not valid at ${at.toISOString()}, when the receipt was signed`);
    return issuer;
  }
  throw unproven('they do not lead to the CA that is pinned');
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
    throw unproven('the first is not of a receipt key');
  const spki = new Uint8Array(leaf.publicKey.rawData);
  if (spki.length !== 44 || !ed25519Spki.every((byte, at) => byte === spki[at]))
    throw unproven('the first is not of an Ed25519 key');
  const uris = uriNamesOf(leaf);
  const [owner = ''] = uris;
  if (uris.length !== 1 || parseIdentity(owner)?.role !== 'executor')
    throw unproven('the first does not name an executor');
  return { publicKey: spki.slice(ed25519Spki.length), owner };
}
