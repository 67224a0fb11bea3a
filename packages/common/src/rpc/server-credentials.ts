import type { SecureContextOptions } from 'node:tls';
import { ServerCredentials } from '@grpc/grpc-js';
import { maxConcurrentStreams, streamWindow } from './options.ts';
import { minTlsVersion, readTlsFiles, type TlsFiles } from './tls-files.ts';

/** TLS 1.3 with a client certificate required. Throws FILE_UNREADABLE or CONFIG_INVALID. */
export function readServerCredentials(files: TlsFiles): ServerCredentials {
  return new MutualTlsServerCredentials(readTlsFiles(files));
}

// ServerCredentials.createSsl can be told neither a TLS version nor HTTP/2 settings.
class MutualTlsServerCredentials extends ServerCredentials {
  private readonly context: SecureContextOptions;

  constructor(context: SecureContextOptions) {
    const settings = { initialWindowSize: streamWindow, maxConcurrentStreams };
    super({ requestCert: true, rejectUnauthorized: true, minVersion: minTlsVersion, settings }, context);
    this.context = context;
  }

  override _equals(other: ServerCredentials): boolean {
    return other instanceof MutualTlsServerCredentials && other.context === this.context;
  }
}
