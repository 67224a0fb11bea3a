import { createPrivateKey, X509Certificate } from 'node:crypto';
import { dirname } from 'node:path';
import { CscError, isCscError } from '../errors/index.ts';
import { checkWritableDirectory, isPemText, type PemSource, readPem, replaceFile } from '../files/index.ts';
import { identityOfCertificate, validityOf } from '../identity/index.ts';
import type { TlsFiles, TlsSource } from '../rpc/index.ts';
import type { Log } from '../service/index.ts';
import { renewCertificate } from './client.ts';

/** Whose certificates are renewed while it runs. */
export interface RenewalOptions {
  /** `HOST:PORT` of the CA. */
  readonly address: string;
  readonly tls: TlsSource;
  /** Where `tls` is read from. */
  readonly files: TlsFiles;
  /** Of an executor: its receipt key, and where that one's certificates are. */
  readonly receipts?: { readonly key: PemSource; readonly certificate: string };
  readonly log: Log;
}

const longestWaitMs = 60 * 60 * 1000;
const shortestWaitMs = 1000;

/** The certificates of a process, as they are renewed. */
export interface Renewal {
  /** Attempts that have failed since the last that worked. */
  readonly failures: number;
  stop(): void;
}

/**
 * When a certificate is renewed: at two thirds of its life, and up to a tenth of it earlier.
 * @param random from 0 to 1
 */
export function renewalTime(certificate: X509Certificate, random: number): Date {
  const { from, until } = validityOf(certificate);
  const lifeMs = until.getTime() - from.getTime();
  return new Date(until.getTime() - lifeMs / 3 - (random * lifeMs) / 10);
}

/** How long to wait after the nth attempt that failed, in milliseconds: at most a tenth of the life, at least a second. */
export function retryWait(certificate: X509Certificate, failures: number, random: number): number {
  const { from, until } = validityOf(certificate);
  const most = Math.min(longestWaitMs, (until.getTime() - from.getTime()) / 10);
  const wait = Math.min(most, shortestWaitMs * 2 ** Math.min(failures, 20));
  return Math.max(shortestWaitMs, wait * (0.5 + random / 2));
}

/**
 * Renews the certificates of a process before they end, until it is stopped: the files are replaced, whole, and
 * are taken up as any that are replaced. What fails is logged, and tried again. Throws CONFIG_INVALID where the certificate
 * is given as a text.
 */
export function startRenewal(options: RenewalOptions): Renewal {
  const { tls, log, files } = options;
  checkIsFile(files.cert);
  // So that a fleet does not come all at once.
  const jitter = Math.random();
  let failures = 0;
  let notBefore = 0;
  let timer: NodeJS.Timeout | undefined;
  let isStopped = false;
  // What was written last is planned by, also where it is not taken up yet, or cannot be.
  let written: X509Certificate | undefined;
  const own = (): X509Certificate => {
    const { certificate } = tls.material.own;
    if (written === undefined) return certificate;
    return validityOf(written).until > validityOf(certificate).until ? written : certificate;
  };
  const plan = (): void => {
    if (isStopped) return;
    const at = Math.max(renewalTime(own(), jitter).getTime(), notBefore);
    // In steps: clocks are set, and machines sleep.
    const waitMs = Math.min(60_000, Math.max(0, at - Date.now()));
    timer = setTimeout(look, waitMs).unref();
  };
  const look = (): void => {
    if (Date.now() < Math.max(renewalTime(own(), jitter).getTime(), notBefore)) {
      plan();
      return;
    }
    renewOnce(options).then(
      (certificate) => {
        failures = 0;
        written = certificate;
        const until = validityOf(certificate).until.toISOString();
        log.info({ until }, 'the CA has renewed the certificate');
        plan();
      },
      (error: unknown) => {
        failures += 1;
        const waitMs = Math.round(retryWait(own(), failures, Math.random()));
        notBefore = Date.now() + waitMs;
        const until = validityOf(own()).until.toISOString();
        const told = isCscError(error) ? `${error.code}: ${error.message}` : error;
        const isFinal = isCscError(error, 'JOIN_REFUSED') || isCscError(error, 'NOT_PERMITTED');
        if (isFinal || isCscError(error, 'NO_CREDENTIALS'))
          log.error({ error: told, until, waitMs }, refusedNote);
        else log.warn({ error: told, until, waitMs }, 'the certificate could not be renewed; trying again');
        plan();
      },
    );
  };
  plan();
  return {
    get failures() {
      return failures;
    },
    stop: () => {
      isStopped = true;
      clearTimeout(timer);
    },
  };
}

/**
 * Tries whether certificates can be replaced where they are, and leaves nothing behind: found out at their renewal, it
 * would leave their owner a third of their life. Throws CONFIG_INVALID where one is given as a text, FILE_UNWRITABLE.
 */
export function checkRenewable(cert: PemSource, receiptCertificate?: string): void {
  checkIsFile(cert);
  for (const path of [String(cert), ...(receiptCertificate === undefined ? [] : [receiptCertificate])])
    checkWritableDirectory(dirname(path), `${dirname(path)}, where the CA renews ${path},`);
}

function checkIsFile(cert: PemSource): void {
  if (isPemText(cert))
    throw new CscError('CONFIG_INVALID', 'ca: tls.cert must be the path of a file, which is then replaced');
}

const refusedNote = 'the CA does not renew the certificate';
const maxPemBytes = 64 * 1024;

/**
 * Renews now. Gives the new certificate, which is in its file. Throws as renewCertificate does, FILE_UNREADABLE, FILE_UNWRITABLE.
 * @param options `withinMs`: how long the CA may take to answer. Default: as renewCertificate has it
 */
export async function renewOnce({
  address,
  tls,
  files,
  receipts,
  withinMs,
}: Omit<RenewalOptions, 'log'> & { readonly withinMs?: number }): Promise<X509Certificate> {
  // Before the CA is asked, which would write down what it has issued for nobody.
  checkRenewable(files.cert, receipts?.certificate);
  const key = createPrivateKey(readPem(files.key, 'key', maxPemBytes).bytes);
  const receiptKey =
    receipts === undefined
      ? undefined
      : createPrivateKey(readPem(receipts.key, 'signing_key', maxPemBytes).bytes);
  const keys = { tls: key, ...(receiptKey === undefined ? {} : { receipts: receiptKey }) };
  const { certificates } = await renewCertificate(address, tls, keys, withinMs);
  const pem = certificates?.tls ?? '';
  const next = new X509Certificate(pem);
  const own = identityOfCertificate(tls.material.own.certificate.raw).uri;
  if (!next.checkPrivateKey(key) || identityOfCertificate(next.raw).uri !== own)
    throw new CscError('CREDENTIALS_INVALID', 'the CA has answered with a certificate of another');
  // Receipts first: what the TLS certificate says last is that all is done.
  if (receipts !== undefined && certificates?.receipt)
    replaceFile(receipts.certificate, certificates.receipt, 0o644);
  replaceFile(String(files.cert), pem, 0o644);
  return next;
}
