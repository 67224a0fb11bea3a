import { createPrivateKey, type X509Certificate } from 'node:crypto';
import { createSecureContext, type SecureContext, type SecureContextOptions } from 'node:tls';
import { CscError } from '../errors/index.ts';
import { checkPemHolds, type GivenPem, looksOfFile, type PemSource, readPem } from '../files/index.ts';
import { certificatesIn, checkValidNow, type NamedCertificate } from '../identity/index.ts';

/** Paths of PEM files, or the PEM texts themselves. */
export interface TlsFiles {
  /** The certificates that the other side's must chain to; nothing else is trusted. */
  readonly ca: PemSource;
  /** Our own certificate, and what lies between it and the CA. */
  readonly cert: PemSource;
  /** The private key of `cert`. */
  readonly key: PemSource;
}

/** A TlsFiles of paths alone. */
export type TlsPaths = Readonly<Record<keyof TlsFiles, string>>;

/** Nothing older is spoken. */
export const minTlsVersion = 'TLSv1.3';

const maxPemBytes = 1024 * 1024;

/** What the files of a TlsFiles hold, read and held against each other. */
export interface TlsMaterial {
  /** For node:tls. */
  readonly options: SecureContextOptions;
  /** Our own certificate. */
  readonly own: NamedCertificate;
  /** What lies between it and the CA. */
  readonly chain: readonly NamedCertificate[];
  readonly ca: readonly NamedCertificate[];
}

/**
 * Throws FILE_UNREADABLE, CREDENTIALS_INVALID where our own certificate has ended or not begun, or CONFIG_INVALID where they
 * do not hold what they should, the key is not the certificate's, or everyone may read it.
 */
export function readTlsMaterial(files: TlsFiles, now = new Date()): TlsMaterial {
  const key = readPem(files.key, 'key', maxPemBytes);
  checkPemHolds(key, 'PRIVATE KEY', 'key');
  if (((key.permissions ?? 0) & 0o007) !== 0) {
    const { origin } = key;
    throw new CscError('CONFIG_INVALID', `${origin} may be read by everyone: run chmod 600 ${origin}`);
  }
  const ca = readCertificates(files.ca, 'ca');
  const cert = readCertificates(files.cert, 'cert');
  const [own, ...chain] = cert.certificates;
  if (own === undefined) throw new CscError('CONFIG_INVALID', `${cert.pem.origin} holds no certificate`);
  checkPair(own.certificate, cert.pem, key);
  checkValidNow(own, now);
  const options = { ca: [ca.pem.bytes], cert: [cert.pem.bytes], key: [key.bytes], minVersion: minTlsVersion };
  return {
    options: checked(options as SecureContextOptions, cert.pem, key),
    own,
    chain,
    ca: ca.certificates,
  };
}

function readCertificates(source: PemSource, what: string) {
  const pem = readPem(source, what, maxPemBytes);
  checkPemHolds(pem, 'CERTIFICATE', what);
  return { pem, certificates: certificatesIn(pem.bytes, pem.origin) };
}

function checkPair(certificate: X509Certificate, cert: GivenPem, key: GivenPem): void {
  let fits: boolean;
  try {
    fits = certificate.checkPrivateKey(createPrivateKey(key.bytes));
  } catch (cause) {
    throw new CscError('CONFIG_INVALID', `${key.origin} holds no private key that can be read`, { cause });
  }
  if (!fits)
    throw new CscError(
      'CONFIG_INVALID',
      `${key.origin} is not the private key of ${cert.origin}: give the two that belong together`,
    );
}

// grpc-js would only log what is wrong here, and refuse every connection.
function checked(options: SecureContextOptions, cert: GivenPem, key: GivenPem): SecureContextOptions {
  try {
    createSecureContext(options);
    return options;
  } catch (cause) {
    const message = `${cert.origin} and ${key.origin} must hold a PEM certificate and its private key`;
    throw new CscError('CONFIG_INVALID', message, { cause });
  }
}

/**
 * Certificates and key of a process, which may be replaced while it runs: whoever makes a connection takes what holds
 * then, and connections that are there stay.
 */
export class TlsSource {
  /** As config files call it. */
  readonly name = 'tls';
  readonly #files: TlsFiles;
  readonly #check: (next: TlsMaterial) => void;
  readonly #listeners: ((material: TlsMaterial) => void)[] = [];
  #material: TlsMaterial;
  #context: SecureContext;
  #looks: string;

  /**
   * Throws as readTlsMaterial does.
   * @param check throws for what must not be taken up
   */
  constructor(files: TlsFiles, check: (next: TlsMaterial) => void = () => undefined) {
    this.#files = files;
    this.#check = check;
    this.#looks = looksOf(files);
    this.#material = this.#read();
    this.#context = createSecureContext(this.#material.options);
  }

  get material(): TlsMaterial {
    return this.#material;
  }

  /** For the next connection. */
  get context(): SecureContext {
    return this.#context;
  }

  /** Called with what is taken up. */
  onReplaced(listener: (material: TlsMaterial) => void): void {
    this.#listeners.push(listener);
  }

  /** What the files look like now, as looksOfFile has it. */
  looks(): string {
    return looksOf(this.#files);
  }

  /** Our own certificate, and those that it and the other side's are held against. */
  certificates(): readonly NamedCertificate[] {
    const { own, chain, ca } = this.#material;
    return [own, ...chain, ...ca];
  }

  /** Whether the files look otherwise than when they were last read, whatever came of that. */
  get looksChanged(): boolean {
    return looksOf(this.#files) !== this.#looks;
  }

  /**
   * Reads what the files hold now. Gives what takes it up, which cannot fail, or undefined where it is what holds already.
   * Throws as readTlsMaterial does; nothing has changed then.
   */
  prepare(): (() => void) | undefined {
    this.#looks = looksOf(this.#files);
    const next = this.#read();
    if (isSame(next, this.#material)) return undefined;
    const context = createSecureContext(next.options);
    return () => {
      this.#material = next;
      this.#context = context;
      for (const listener of this.#listeners) listener(next);
    };
  }

  #read(): TlsMaterial {
    const next = readTlsMaterial(this.#files, new Date());
    this.#check(next);
    return next;
  }
}

function isSame({ options: one }: TlsMaterial, { options: other }: TlsMaterial): boolean {
  return (['ca', 'cert', 'key'] as const).every((name) => String(one[name]) === String(other[name]));
}

function looksOf({ ca, cert, key }: TlsFiles): string {
  return [ca, cert, key].map(looksOfFile).join(' ');
}
