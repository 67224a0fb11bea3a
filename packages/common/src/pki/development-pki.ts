import { createPublicKey, type KeyObject, X509Certificate as NodeCertificate } from 'node:crypto';
import { existsSync, readdirSync, writeFileSync } from 'node:fs';
import { isIP } from 'node:net';
import { basename, dirname, join } from 'node:path';
import { type Clock, systemClock } from '../encoding/index.ts';
import { CscError, withoutSecrets } from '../errors/index.ts';
import { explainFileError, makeDirectory, readBoundedFile, replaceFile } from '../files/index.ts';
import {
  certificatesIn,
  endingSoon,
  parseIdentity,
  type Role,
  receiptSigning,
  toIdentityUri,
  uriNames,
} from '../identity/index.ts';
import {
  type CertificateRequest,
  generateTlsKey,
  type Issuer,
  issueCertificate,
  toCertificate,
  toTlsKey,
} from './certificate.ts';

const maxPemBytes = 1024 * 1024;

/** Which certificates a development PKI is to have. */
export interface DevelopmentPkiOptions {
  /** DNS names and IP addresses that the gate is dialled by. Default: localhost, 127.0.0.1 and ::1. */
  readonly hosts?: readonly string[];
  /** Names of clients. Default: none. */
  readonly clients?: readonly string[];
  /** Names of executors. Default: none. */
  readonly executors?: readonly string[];
  /** The gate's name. Default: gate. */
  readonly gate?: string;
  /** Default: csc.local. */
  readonly trustDomain?: string;
  readonly clock?: Clock;
}

/** Where the files are, and which of them are new. */
export interface DevelopmentPki {
  readonly ca: string;
  /** Paths of the files that were written; those that were there are as they were. */
  readonly created: readonly string[];
}

/** The trust domain where none is named. */
export const defaultTrustDomain = 'csc.local';

const day = 24 * 60 * 60 * 1000;
const caDays = 3650;
const leafDays = 825;

/**
 * Makes what a fleet needs for mutual TLS, for development and small installations: `ca`, `gate`, `executor-NAME` and
 * `client-NAME`, each a `.pem` and a `.key` (mode 0600). Run again it adds what is missing and overwrites nothing. The
 * CA's key stays in the directory: keep it from the hosts. Throws CONFIG_INVALID for a name that no identity can have,
 * or where the gate's certificate was there and is not for one of `hosts`, FILE_UNWRITABLE, or FILE_UNREADABLE where a
 * file that is there cannot be used.
 */
export async function createDevelopmentPki(
  dir: string,
  options: DevelopmentPkiOptions = {},
): Promise<DevelopmentPki> {
  const trustDomain = options.trustDomain ?? defaultTrustDomain;
  const hosts = options.hosts ?? ['localhost', '127.0.0.1', '::1'];
  const leaves = [
    leaf('gate', toUri(trustDomain, 'gate', options.gate ?? 'gate'), 'server', hosts),
    ...(options.executors ?? []).map((name) =>
      leaf(`executor-${name}`, toUri(trustDomain, 'executor', name), 'client'),
    ),
    ...(options.clients ?? []).map((name) =>
      leaf(`client-${name}`, toUri(trustDomain, 'client', name), 'client'),
    ),
  ];
  const writer = new PkiWriter(dir, options.clock ?? systemClock);
  const ca = await writer.authority(trustDomain);
  for (const { file, ...request } of leaves) await writer.leaf(file, request, ca);
  if (options.hosts !== undefined) checkHosts(join(dir, 'gate.pem'), options.hosts);
  return { ca: join(dir, 'ca.pem'), created: writer.created };
}

/**
 * Certifies the receipt key of an executor with the CA of a directory, as `receipt-NAME.pem` beside it; a certificate that
 * is there is replaced. Gives its path. Throws CONFIG_INVALID for a name that no executor has or where there is no CA,
 * FILE_UNREADABLE or FILE_UNWRITABLE.
 * @param owner the executor's SPIFFE id
 * @param publicKey 32 bytes
 */
export async function certifyReceiptKey(
  dir: string,
  owner: string,
  publicKey: Uint8Array,
  clock: Clock = systemClock,
): Promise<string> {
  const identity = parseIdentity(owner);
  if (identity?.role !== 'executor')
    throw new CscError('CONFIG_INVALID', `${JSON.stringify(owner)} is no executor's identity`);
  if (!existsSync(join(dir, 'ca.key')))
    throw new CscError('CONFIG_INVALID', `there is no CA in ${dir}: run csc pki init ${dir} first`);
  const ca = await new PkiWriter(dir, clock).authority(identity.trustDomain);
  const x = Buffer.from(publicKey).toString('base64url');
  const key = createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x }, format: 'jwk' });
  const path = join(dir, `receipt-${identity.name}.pem`);
  const request = { commonName: `receipts of ${identity.name}`, uri: owner, use: 'receipts' } as const;
  replaceFile(
    path,
    await issueCertificate({ ...request, ...validity(clock.now(), leafDays) }, key, ca),
    0o644,
  );
  return path;
}

/** A certificate that was made anew. */
export interface Renewed {
  readonly path: string;
  readonly until: Date;
}

/** Which certificates are renewed. */
export interface RenewOptions {
  /** Files of the directory without `.pem`. Absent: all that end within 30 days. */
  readonly names?: readonly string[];
  /** DNS names and IP addresses that the gate is dialled by from now on. Absent: those of its certificate. */
  readonly hosts?: readonly string[];
  readonly clock?: Clock;
}

/**
 * Makes certificates of a directory anew, for the same names and keys, so that a file alone is replaced and whoever runs
 * with it takes it up. Throws CONFIG_INVALID where there is no CA or no such certificate, FILE_UNREADABLE or
 * FILE_UNWRITABLE.
 */
export async function renewCertificates(dir: string, options: RenewOptions = {}): Promise<Renewed[]> {
  const { hosts, clock = systemClock } = options;
  const now = clock.now();
  if (!existsSync(join(dir, 'ca.key')))
    throw new CscError('CONFIG_INVALID', `there is no CA in ${dir}: run csc pki init ${dir} first`);
  const names = options.names ?? (hosts === undefined ? dueNames(dir, now) : ['gate']);
  const certificates = names.map((name) => ({ name, old: readOld(dir, name) }));
  // What they say, all of them, before any is written.
  const requests = certificates.map(({ name, old }) => ({ name, old, request: requestOf(name, old, hosts) }));
  const renewed: Renewed[] = [];
  // The CA first, as it signs the others.
  for (const { name, old, request } of requests.sort((one) => (one.name === 'ca' ? -1 : 1))) {
    const ca = await new PkiWriter(dir, clock).authority('');
    const life = validity(now, name === 'ca' ? caDays : leafDays);
    const key = name === 'ca' ? ca.key : old.publicKey;
    const pem = await issueCertificate({ ...request, ...life }, key, name === 'ca' ? undefined : ca);
    const path = join(dir, `${name}.pem`);
    replaceFile(path, pem, 0o644);
    renewed.push({ path, until: life.notAfter });
  }
  return renewed;
}

function dueNames(dir: string, now: Date): string[] {
  const names = readdirSync(dir).flatMap((file) => (file.endsWith('.pem') ? [file.slice(0, -4)] : []));
  return names.filter((name) => {
    const [certificate] = certificatesIn(readPemFile(join(dir, `${name}.pem`)), name);
    return certificate !== undefined && endingSoon([certificate], now).length > 0;
  });
}

function readOld(dir: string, name: string): NodeCertificate {
  const path = join(dir, `${name}.pem`);
  if (basename(name) !== name || !existsSync(path)) {
    const names = readdirSync(dir).flatMap((file) => (file.endsWith('.pem') ? [file.slice(0, -4)] : []));
    throw new CscError('CONFIG_INVALID', `there is no certificate ${path}: ${dir} has ${names.join(', ')}`);
  }
  return readAs(path, () => new NodeCertificate(readPemFile(path)));
}

function readPemFile(path: string): Buffer {
  return readBoundedFile(path, { maxBytes: maxPemBytes }).bytes;
}

const serverAuth = '1.3.6.1.5.5.7.3.1';

function requestOf(name: string, old: NodeCertificate, hosts: readonly string[] | undefined): LeafRequest {
  const commonName = /^CN=(.*)$/m.exec(old.subject)?.[1] ?? name;
  if (old.ca) return { commonName, use: 'ca' };
  const [uri] = uriNames(old.raw);
  if (uri === undefined)
    throw new CscError('CONFIG_INVALID', `${name}.pem names nobody: csc pki issue makes one`);
  const purposes = old.keyUsage ?? [];
  if (purposes.includes(serverAuth)) return { commonName, uri, use: 'server', hosts: hosts ?? hostsOf(old) };
  if (hosts !== undefined)
    throw new CscError('CONFIG_INVALID', `hosts are of the gate's certificate, and ${name}.pem is not that`);
  return { commonName, uri, use: purposes.includes(receiptSigning) ? 'receipts' : 'client' };
}

// In the reading of the same OpenSSL, which uriNames has refused what is ambiguous for.
function hostsOf({ subjectAltName = '' }: NodeCertificate): string[] {
  return subjectAltName.split(', ').flatMap((name) => {
    const [, kind, value = ''] = /^(DNS|IP Address):(.*)$/.exec(name) ?? [];
    return kind === undefined ? [] : [value];
  });
}

function checkHosts(path: string, hosts: readonly string[]): void {
  const certificate = readAs(path, () => new NodeCertificate(readPemFile(path)));
  const missing = hosts.filter((host) =>
    isIP(host) === 0 ? certificate.checkHost(host) === undefined : certificate.checkIP(host) === undefined,
  );
  if (missing.length === 0) return;
  const all = [...new Set([...hostsOf(certificate), ...hosts])].map((host) => `--host ${host}`).join(' ');
  throw new CscError(
    'CONFIG_INVALID',
    `${path} was there and is not for ${missing.join(', ')}: csc pki renew gate --dir ${dirname(path)} ${all}`,
  );
}

type LeafRequest = Omit<CertificateRequest, 'notBefore' | 'notAfter'>;

function leaf(
  file: string,
  uri: string,
  use: 'server' | 'client',
  hosts: readonly string[] = [],
): LeafRequest & { readonly file: string } {
  return { file, commonName: file, uri, use, hosts };
}

function toUri(trustDomain: string, role: Role, name: string): string {
  if (withoutSecrets(name) !== name)
    throw new CscError('CONFIG_INVALID', 'a name looks like a key, and certificates are shown to everybody');
  const uri = toIdentityUri(trustDomain, role, name);
  if (parseIdentity(uri) !== undefined) return uri;
  const rule = 'names take letters, digits, ".", "_" and "-"; a trust domain takes lower-case letters';
  throw new CscError('CONFIG_INVALID', `${JSON.stringify(uri)} is no identity: ${rule}`);
}

class PkiWriter {
  readonly created: string[] = [];
  private readonly dir: string;
  private readonly now: Date;

  constructor(dir: string, clock: Clock) {
    this.dir = dir;
    this.now = clock.now();
    makeDirectory(dir, { mode: 0o700 });
  }

  async authority(trustDomain: string): Promise<Issuer> {
    const key = await this.key('ca');
    const pem = await this.certificate('ca', () =>
      issueCertificate({ commonName: `${trustDomain} CA`, use: 'ca', ...this.validity(caDays) }, key),
    );
    return { certificate: readAs(join(this.dir, 'ca.pem'), () => toCertificate(pem)), key };
  }

  async leaf(name: string, request: LeafRequest, ca: Issuer): Promise<void> {
    const key = await this.key(name);
    await this.certificate(name, () => issueCertificate({ ...request, ...this.validity(leafDays) }, key, ca));
  }

  private validity(days: number): { notBefore: Date; notAfter: Date } {
    return validity(this.now, days);
  }

  // A key without its certificate is what a run that was interrupted leaves: the next one goes on from there.
  private async key(name: string): Promise<KeyObject> {
    const path = join(this.dir, `${name}.key`);
    const fresh = async (): Promise<string> => {
      if (existsSync(join(this.dir, `${name}.pem`))) {
        throw new CscError(
          'FILE_UNREADABLE',
          `${path} is missing, and ${name}.pem is of no use without it: remove that`,
        );
      }
      return generateTlsKey().export({ type: 'pkcs8', format: 'pem' }).toString();
    };
    const pem = await this.keep(path, 0o600, fresh);
    return readAs(path, () => toTlsKey(pem));
  }

  private certificate(name: string, issue: () => Promise<string>): Promise<string> {
    return this.keep(join(this.dir, `${name}.pem`), 0o644, issue);
  }

  /** The file's text; it is made only where there is no such file. */
  private async keep(path: string, mode: number, make: () => Promise<string>): Promise<string> {
    if (existsSync(path)) return readBoundedFile(path, { maxBytes: maxPemBytes }).bytes.toString('utf8');
    const text = await make();
    guard(path, () => writeFileSync(path, text, { flag: 'wx', mode }));
    this.created.push(path);
    return text;
  }
}

// Clocks of hosts differ a little.
function validity(now: Date, days: number): { notBefore: Date; notAfter: Date } {
  return {
    notBefore: new Date(now.getTime() - 60 * 60 * 1000),
    notAfter: new Date(now.getTime() + days * day),
  };
}

function readAs<T>(path: string, read: () => T): T {
  try {
    return read();
  } catch (cause) {
    throw new CscError(
      'FILE_UNREADABLE',
      `${path} does not hold what it should: remove it to have it made anew`,
      { cause },
    );
  }
}

function guard<T>(path: string, write: () => T): T {
  try {
    return write();
  } catch (cause) {
    throw new CscError('FILE_UNWRITABLE', `failed to write ${path}: ${explainFileError(cause)}`, { cause });
  }
}
