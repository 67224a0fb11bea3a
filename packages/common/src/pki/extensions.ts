import { isIP } from 'node:net';
import { receiptSigning } from '../identity/index.ts';
import { nameConstraints, type PermittedNames } from './constraints.ts';
import {
  AuthorityKeyIdentifierExtension,
  BasicConstraintsExtension,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  type Extension,
  KeyUsageFlags,
  KeyUsagesExtension,
  type PublicKey,
  SubjectAlternativeNameExtension,
  SubjectKeyIdentifierExtension,
  type X509Certificate,
} from './x509.ts';

/** What a certificate may be used for; TLS refuses any other use of it. */
export type CertificateUse = 'ca' | 'server' | 'server and client' | 'client' | 'receipts';

/** What the extensions are made of. */
export interface ExtensionInput {
  readonly use: CertificateUse;
  readonly uri?: string;
  readonly hosts?: readonly string[];
  readonly pathLength?: number;
  readonly permitted?: PermittedNames;
  readonly publicKey: PublicKey;
  /** Undefined: the certificate signs itself. */
  readonly issuer: X509Certificate | undefined;
}

/** The extensions of a certificate (RFC 5280 §4.2), those that limit it marked critical. */
export async function certificateExtensions(input: ExtensionInput): Promise<Extension[]> {
  const isCa = input.use === 'ca';
  const usage = isCa ? KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign : KeyUsageFlags.digitalSignature;
  const ownKeyId = await keyId(input.publicKey);
  return [
    new BasicConstraintsExtension(isCa, isCa ? (input.pathLength ?? 0) : undefined, true),
    new KeyUsagesExtension(usage, true),
    new SubjectKeyIdentifierExtension(ownKeyId),
    new AuthorityKeyIdentifierExtension(
      input.issuer === undefined ? ownKeyId : await issuerKeyId(input.issuer),
    ),
    ...(isCa ? constraintsOf(input) : endEntityExtensions(input)),
  ];
}

function constraintsOf({ permitted }: ExtensionInput): Extension[] {
  if (permitted === undefined) return [];
  // X509-SVID §4.1: a signing certificate says its trust domain, which receipts' certificates are held against, too.
  const own = [{ type: 'url' as const, value: `spiffe://${permitted.trustDomain}` }];
  return [nameConstraints(permitted), new SubjectAlternativeNameExtension(own)];
}

const purposes: Readonly<Record<CertificateUse, string[]>> = {
  ca: [],
  server: [ExtendedKeyUsage.serverAuth],
  'server and client': [ExtendedKeyUsage.serverAuth, ExtendedKeyUsage.clientAuth],
  client: [ExtendedKeyUsage.clientAuth],
  receipts: [receiptSigning],
};

function endEntityExtensions({ use, uri, hosts = [] }: ExtensionInput): Extension[] {
  const names = [
    ...(uri === undefined ? [] : [{ type: 'url' as const, value: uri }]),
    ...hosts.map((value) => ({ type: isIP(value) === 0 ? ('dns' as const) : ('ip' as const), value })),
  ];
  return [new ExtendedKeyUsageExtension(purposes[use]), new SubjectAlternativeNameExtension(names)];
}

// What the CA calls its own key, however it made that up: verifiers find the CA by it (RFC 5280 §4.2.1.1).
async function issuerKeyId(issuer: X509Certificate): Promise<string> {
  return issuer.getExtension(SubjectKeyIdentifierExtension)?.keyId ?? (await keyId(issuer.publicKey));
}

// RFC 7093 §2, method 1: the first 160 bits of SHA-256 over the key's bits.
async function keyId(key: PublicKey): Promise<string> {
  return Buffer.from(await key.getKeyIdentifier('SHA-256'))
    .subarray(0, 20)
    .toString('hex');
}
