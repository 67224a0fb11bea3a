import { createHash, type KeyObject, X509Certificate } from 'node:crypto';
import { CscError } from '../errors/index.ts';
import { labelUnits, type Role } from '../identity/index.ts';
import { generateTlsKey, type Issuer, issueCertificate, toCertificate } from './certificate.ts';
import type { PermittedNames } from './constraints.ts';

const day = 24 * 60 * 60 * 1000;
const rootDays = 3650;
const issuingDays = 1095;
// Of an authority: it is made on one machine, and counts on others at once.
const earlierMs = 60 * 60 * 1000;

/** PEM of a CA's certificate, and its key. */
export interface MadeAuthority {
  readonly pem: string;
  readonly key: KeyObject;
}

/** A root that certifies issuing CAs of a fleet, and below them these names alone. */
export async function makeRoot(permitted: PermittedNames, now: Date): Promise<MadeAuthority> {
  const key = generateTlsKey();
  const life = lifeOf(now, rootDays);
  const commonName = `${permitted.trustDomain} root CA`;
  const pem = await issueCertificate({ commonName, use: 'ca', pathLength: 1, permitted, ...life }, key);
  return { pem, key };
}

/** A CA below a root, for a machine that is reached from the net; it certifies parties, and no further CAs. */
export async function makeIssuing(
  root: MadeAuthority,
  permitted: PermittedNames,
  now: Date,
): Promise<MadeAuthority> {
  const key = generateTlsKey();
  const commonName = `${permitted.trustDomain} issuing CA`;
  const request = { commonName, use: 'ca', pathLength: 0, permitted, ...lifeOf(now, issuingDays) } as const;
  const issuer = { certificate: toCertificate(root.pem), key: root.key };
  return { pem: await issueCertificate(request, key, issuer), key };
}

function lifeOf(now: Date, days: number): { notBefore: Date; notAfter: Date } {
  return {
    notBefore: new Date(now.getTime() - earlierMs),
    notAfter: new Date(now.getTime() + days * day),
  };
}

/** Whom a CA certifies. Nothing of it comes from the party itself. */
export interface Subject {
  readonly trustDomain: string;
  readonly role: Role | 'ca';
  readonly name: string;
  /** Of an executor. */
  readonly labels: Readonly<Record<string, string>>;
  /** DNS names and addresses that a gate or a CA is dialled by. */
  readonly hosts: readonly string[];
}

// A gate renews its certificate as a client of the CA; as a client of a gate it is nobody, by its role.
const tlsUse = { gate: 'server and client', ca: 'server', executor: 'client', client: 'client' } as const;

/** What was issued, with what is kept of it. */
export interface Issued {
  readonly pem: string;
  /** SHA-256 of the certificate, lower-case hex. */
  readonly fingerprint: string;
  /** Upper-case hex. */
  readonly serial: string;
  readonly notBefore: Date;
  readonly notAfter: Date;
}

/** Clocks of hosts differ a little; of a short life a tenth, so that it stays as short as it is meant to be. */
export function backdateMs(lifeMs: number): number {
  return Math.min(5 * 60 * 1000, Math.floor(lifeMs / 10));
}

/**
 * Certifies a key of a party. Throws CONFIG_INVALID where the CA's own certificate has ended, or ends before.
 * @param key its public half
 */
export async function certify(
  { trustDomain, role, name, labels, hosts }: Subject,
  use: 'tls' | 'receipts',
  key: KeyObject,
  issuer: Issuer,
  { now, lifeMs }: { readonly now: Date; readonly lifeMs: number },
): Promise<Issued> {
  const uri = `spiffe://${trustDomain}/${role}/${name}`;
  // No DNS name by its look: verifiers take a common name that looks like one for one (OpenSSL, NAME_CONSTRAINTS_check_CN).
  const commonName = `${role}/${name}${use === 'receipts' ? ' (receipts)' : ''}`;
  const ends = Math.min(now.getTime() + lifeMs, issuer.certificate.notAfter.getTime());
  if (ends <= now.getTime())
    throw new CscError(
      'CONFIG_INVALID',
      'the CA’s issuing certificate has ended: make another (csc ca init)',
    );
  const purpose = use === 'receipts' ? use : tlsUse[role];
  const isServer = use === 'tls' && (role === 'gate' || role === 'ca');
  const pem = await issueCertificate(
    {
      commonName,
      use: purpose,
      uri,
      ...(isServer ? { hosts } : {}),
      ...(role === 'executor' ? { units: labelUnits(labels) } : {}),
      notBefore: new Date(now.getTime() - backdateMs(lifeMs)),
      notAfter: new Date(ends),
    },
    key,
    issuer,
  );
  const certificate = new X509Certificate(pem);
  return {
    pem,
    fingerprint: fingerprintOf(certificate.raw),
    serial: certificate.serialNumber,
    notBefore: new Date(certificate.validFrom),
    notAfter: new Date(certificate.validTo),
  };
}

/** SHA-256 of a certificate in DER, lower-case hex. */
export function fingerprintOf(der: Uint8Array): string {
  return createHash('sha256').update(der).digest('hex');
}
