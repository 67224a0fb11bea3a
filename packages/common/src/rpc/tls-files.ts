import { createSecureContext, type SecureContextOptions } from 'node:tls';
import { CscError } from '../errors/index.ts';
import { readBoundedFile } from '../files/index.ts';

/** Paths of PEM files. */
export interface TlsFiles {
  /** The certificates that the other side's must chain to; nothing else is trusted. */
  readonly ca: string;
  /** Our own certificate, and what lies between it and the CA. */
  readonly cert: string;
  /** The private key of `cert`. */
  readonly key: string;
}

/** Nothing older is spoken. */
export const minTlsVersion = 'TLSv1.3';

const maxPemBytes = 1024 * 1024;

/**
 * What node:tls needs of the files. Throws FILE_UNREADABLE, or CONFIG_INVALID where they do not hold what they
 * should, the key is not the certificate's, or everyone may read it.
 */
export function readTlsFiles(files: TlsFiles): SecureContextOptions {
  const { bytes: key, permissions } = readBoundedFile(files.key, { maxBytes: maxPemBytes });
  if ((permissions & 0o007) !== 0) {
    throw new CscError('CONFIG_INVALID', `${files.key} may be read by everyone: run chmod 600 ${files.key}`);
  }
  const ca = readBoundedFile(files.ca, { maxBytes: maxPemBytes }).bytes;
  const cert = readBoundedFile(files.cert, { maxBytes: maxPemBytes }).bytes;
  if (!ca.includes('-----BEGIN CERTIFICATE-----')) {
    throw new CscError('CONFIG_INVALID', `${files.ca} holds no PEM certificate`);
  }
  return checked({ ca: [ca], cert: [cert], key: [key], minVersion: minTlsVersion }, files);
}

// grpc-js would only log what is wrong here, and refuse every connection.
function checked(options: SecureContextOptions, files: TlsFiles): SecureContextOptions {
  try {
    createSecureContext(options);
    return options;
  } catch (cause) {
    const message = `${files.cert} and ${files.key} must hold a PEM certificate and its private key`;
    throw new CscError('CONFIG_INVALID', message, { cause });
  }
}
