import { isIP } from 'node:net';
import { checkServerIdentity, createSecureContext, type PeerCertificate } from 'node:tls';
import { ChannelCredentials } from '@grpc/grpc-js';
import { CscError } from '../errors/index.ts';
import type { Role } from '../identity/index.ts';
import { identityOfCertificate } from '../identity/index.ts';
import { readTlsFiles, type TlsFiles } from './tls-files.ts';

/**
 * TLS 1.3 with our own certificate. The server's must be for the host name dialled *and* say that it is of the
 * expected role: another party's certificate from the same CA cannot stand in for the gate. Throws FILE_UNREADABLE or
 * CONFIG_INVALID.
 */
export function readChannelCredentials(
  files: TlsFiles,
  expected: { readonly role: Role } = { role: 'gate' },
): ChannelCredentials {
  const secureContext = createSecureContext(readTlsFiles(files));
  return new MutualTlsChannelCredentials(
    ChannelCredentials.createFromSecureContext(secureContext, {
      checkServerIdentity: (host, certificate) => judgeServer(host, certificate, expected.role),
    }),
  );
}

function judgeServer(host: string, certificate: PeerCertificate, role: Role): Error | undefined {
  const mismatch = checkServerIdentity(host, certificate);
  if (mismatch !== undefined) return mismatch;
  try {
    const identity = identityOfCertificate(certificate.raw);
    if (identity.role === role) return undefined;
    return new CscError(
      'CREDENTIALS_INVALID',
      `the server's certificate is of the role ${identity.role}, not ${role}`,
    );
  } catch (error) {
    return error instanceof Error ? error : new Error('the certificate cannot be read');
  }
}

type ConnectorArguments = Parameters<ChannelCredentials['_createSecureConnector']>;
type Connector = ReturnType<ChannelCredentials['_createSecureConnector']>;

// grpc-js sends the host as the TLS server name even where it is an IP address, which RFC 6066 §3 forbids and Node.js
// warns of (DEP0123) on the standard error of whoever uses the client.
class MutualTlsChannelCredentials extends ChannelCredentials {
  private readonly inner: ChannelCredentials;

  constructor(inner: ChannelCredentials) {
    super();
    this.inner = inner;
  }

  override _isSecure(): boolean {
    return true;
  }

  override _equals(other: ChannelCredentials): boolean {
    return other instanceof MutualTlsChannelCredentials && other.inner === this.inner;
  }

  override _createSecureConnector(...args: ConnectorArguments): Connector {
    const connector = this.inner._createSecureConnector(...args);
    dropAddressAsServerName(connector);
    return connector;
  }
}

// Without a server name, the certificate is checked for `host`, which grpc-js sets to the same address.
function dropAddressAsServerName(connector: object): void {
  const options: unknown = 'connectionOptions' in connector ? connector.connectionOptions : undefined;
  if (typeof options !== 'object' || options === null || !('servername' in options) || !('host' in options))
    return;
  if (options.servername === options.host && isIP(String(options.host)) !== 0) options.servername = '';
}
