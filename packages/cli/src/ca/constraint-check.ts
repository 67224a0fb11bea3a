import type { KeyObject } from 'node:crypto';
import { duplexPair } from 'node:stream';
import { connect, createSecureContext, TLSSocket } from 'node:tls';
import { CscError } from '@csc-fleet/common/errors';

/** A server's certificate, as the server would show it. */
interface Server {
  /** PEM: the certificate, and what lies between it and the root. */
  readonly pem: string;
  readonly key: KeyObject;
  /** PEM. */
  readonly root: string;
  readonly hosts: readonly string[];
}

/**
 * Throws CONFIG_INVALID where no client would take the certificate, as for a host that the CA's name constraints leave out:
 * tried by a handshake in memory, with the OpenSSL that all parties verify by.
 */
export async function checkServerName({ pem, key, root, hosts }: Server): Promise<void> {
  const [here, there] = duplexPair();
  const server = new TLSSocket(here, {
    isServer: true,
    secureContext: createSecureContext({ cert: pem, key: key.export({ type: 'pkcs8', format: 'pem' }) }),
  });
  server.on('error', () => undefined);
  const client = connect({
    socket: there,
    ca: root,
    rejectUnauthorized: false,
    checkServerIdentity: () => undefined,
  });
  try {
    await new Promise((resolve, reject) => {
      client.once('secureConnect', resolve);
      client.once('error', reject);
    });
    if (client.authorized) return;
  } finally {
    client.destroy();
    server.destroy();
  }
  const why = `the name constraints of this CA leave it out: csc ca init --permit names what it may certify`;
  throw new CscError('CONFIG_INVALID', `--host ${hosts.join(' --host ')}: ${why}`);
}
