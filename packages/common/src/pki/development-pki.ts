import { createPublicKey, type KeyObject } from 'node:crypto';
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Clock, systemClock } from '../encoding/index.ts';
import { CscError, withoutSecrets } from '../errors/index.ts';
import { explainFileError, makeDirectory, readBoundedFile, replaceFile } from '../files/index.ts';
import { parseIdentity, type Role, toIdentityUri } from '../identity/index.ts';
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
 * `client-NAME`, each a `.pem` and a `.key` (mode 0600). Run again it adds what is missing and overwrites nothing.
 * The CA's key stays in the directory: keep it from the hosts. Throws CONFIG_INVALID for a name that no identity can
 * have, FILE_UNWRITABLE, or FILE_UNREADABLE where a file that is there cannot be used.
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
