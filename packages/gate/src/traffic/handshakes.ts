import type { Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import type { Log } from '@csc-fleet/common/service';

const reasons: Readonly<Record<string, string>> = {
  CERT_HAS_EXPIRED: 'its certificate, or its CA’s, has ended',
  CERT_NOT_YET_VALID: 'its certificate is not valid yet by the clock of this host',
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: 'its certificate is of another CA',
  UNABLE_TO_GET_ISSUER_CERT: 'its certificate is of another CA',
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: 'its certificate is of another CA',
  SELF_SIGNED_CERT_IN_CHAIN: 'its certificate is of another CA',
  DEPTH_ZERO_SELF_SIGNED_CERT: 'its certificate is signed by itself',
  CERT_SIGNATURE_FAILURE: 'its certificate is not signed by the CA that it names',
  INVALID_PURPOSE: 'its certificate is not for clients (extended key usage)',
  CERT_REVOKED: 'its certificate is revoked',
  ERR_SSL_PEER_DID_NOT_RETURN_A_CERTIFICATE: 'it brought no certificate',
  ERR_TLS_HANDSHAKE_TIMEOUT: 'it did not finish its handshake in time',
  ERR_SSL_TLSV1_ALERT_UNKNOWN_CA: 'it does not take this gate’s certificate: its ca is another one',
  ERR_SSL_SSLV3_ALERT_BAD_CERTIFICATE: 'it does not take this gate’s certificate',
  ERR_SSL_SSLV3_ALERT_CERTIFICATE_EXPIRED: 'it says that this gate’s certificate has ended',
  ERR_SSL_UNSUPPORTED_PROTOCOL: 'it does not speak TLS 1.3',
  ECONNRESET: 'it went away within its handshake',
};

// Of one address and reason; and lines in a minute, whoever they are about.
const againMs = 60_000;
const mostAMinute = 60;

/**
 * Says who was not let in and why: TLS itself ends such connections without a word, so that whoever was turned away knows no
 * more than that. Of one address and reason a line a minute, with how many there were since the last one.
 */
export class HandshakeLog {
  readonly #log: Log;
  /** By address and reason; how many were not written since. */
  readonly #counts = new Map<string, number>();
  /** Milliseconds that never go back. */
  #since = performance.now();
  #lines = 0;
  #leftOut = 0;

  constructor(log: Log) {
    this.#log = log;
  }

  /** A handshake that failed, as node:tls tells it. */
  failed(error: Error, socket: TLSSocket): void {
    // Where it is the certificate, Node says so at the socket; the error is that it ended the connection.
    const code = String(socket.authorizationError ?? ('code' in error ? error.code : error.message));
    this.refused(addressOf(socket), reasons[code] ?? code, code);
  }

  /** A peer that TLS lets in, and the gate does not. */
  refused(address: string, reason: string, code: string): void {
    this.#begin();
    const key = `${address} ${code}`;
    const known = this.#counts.get(key);
    if (known !== undefined || this.#lines >= mostAMinute) {
      if (known === undefined) this.#leftOut += 1;
      else this.#counts.set(key, known + 1);
      return;
    }
    this.#lines += 1;
    this.#counts.set(key, 0);
    this.#log.warn({ address, reason, code }, 'a peer was not let in');
  }

  #begin(): void {
    const now = performance.now();
    if (now - this.#since < againMs) return;
    const again = [...this.#counts.values()].reduce((sum, count) => sum + count, 0);
    if (again + this.#leftOut > 0)
      this.#log.warn({ again, others: this.#leftOut }, 'more peers were not let in within the last minute');
    this.#counts.clear();
    this.#since = now;
    this.#lines = 0;
    this.#leftOut = 0;
  }
}

// A TLS socket that was ended has forgotten it; the one below it was asked when it came in (doorway.ts).
function addressOf(socket: TLSSocket): string {
  const below: unknown = Reflect.get(socket, '_parent');
  return socket.remoteAddress ?? (isSocket(below) ? below.remoteAddress : undefined) ?? 'unknown';
}

function isSocket(value: unknown): value is Socket {
  return typeof value === 'object' && value !== null && 'remoteAddress' in value;
}
