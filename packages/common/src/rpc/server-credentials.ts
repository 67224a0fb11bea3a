import type { SecureContextOptions } from 'node:tls';
import { ServerCredentials } from '@grpc/grpc-js';
import { maxConcurrentStreams, streamWindow } from './options.ts';
import { minTlsVersion, type TlsFiles, TlsSource } from './tls-files.ts';

// Bytes of a call's headers, and how many: gRPC's own and some metadata. nghttp2 ends a stream that has more, which
// also bounds CONTINUATION frames (CVE-2024-27316) and what HPACK makes of a few bytes.
const headers = { bytes: 16 * 1024, count: 64 };
// Streams that a peer may open and reset (CVE-2023-44487): as many as it may have open, and then so many a second.
const resets = { burst: 1024, perSec: 100 };

// What Node hands to nghttp2 and to TLS for every connection (node:http2, createSecureServer).
const connectionLimits = {
  maxHeaderListPairs: headers.count,
  streamResetBurst: resets.burst,
  streamResetRate: resets.perSec,
  // Frames that make no sense, and streams beyond maxConcurrentStreams, until the connection is ended.
  maxSessionInvalidFrames: 100,
  maxSessionRejectedStreams: 100,
  maxSettings: 16,
  // Megabytes of one connection; beyond it no new streams.
  maxSessionMemory: 16,
  // Who speaks TLS with us, but not HTTP/2.
  unknownProtocolTimeout: 1_000,
} as const;

/**
 * TLS 1.3 with a client certificate required, and bounds on what one connection may cost before it is known who is at
 * its other end. What a source takes up later holds for handshakes from then on. Throws FILE_UNREADABLE,
 * CREDENTIALS_INVALID or CONFIG_INVALID.
 * @param handshakeTimeoutSec default: 10
 * @param strangers `in`: whoever has a certificate of another CA, or none, comes in, and is nobody: identityOfCall and
 *   identityOfSession throw for them as they do for whoever has none. For servers that tell them apart otherwise
 */
export function readServerCredentials(
  files: TlsFiles | TlsSource,
  handshakeTimeoutSec = 10,
  strangers: 'in' | 'out' = 'out',
): ServerCredentials {
  const source = files instanceof TlsSource ? files : new TlsSource(files);
  const credentials = new MutualTlsServerCredentials(
    source.material.options,
    handshakeTimeoutSec * 1000,
    strangers === 'out',
  );
  source.onReplaced(({ options }) => credentials.rotate(options));
  return credentials;
}

/** Server credentials that can be given other certificates while a server has them. */
export type RotatingServerCredentials = ServerCredentials & { rotate(context: SecureContextOptions): void };

/**
 * The same where whoever has no certificate yet is let in, too: a call then has no identity, and one that comes with a
 * certificate of another CA has none either.
 */
export function createJoinServerCredentials(
  context: SecureContextOptions,
  handshakeTimeoutSec = 10,
): RotatingServerCredentials {
  return new MutualTlsServerCredentials(context, handshakeTimeoutSec * 1000, false);
}

// ServerCredentials.createSsl can be told neither a TLS version nor HTTP/2 settings.
class MutualTlsServerCredentials extends ServerCredentials {
  private context: SecureContextOptions;

  constructor(context: SecureContextOptions, handshakeTimeout: number, rejectUnauthorized: boolean) {
    const settings = {
      initialWindowSize: streamWindow,
      maxConcurrentStreams,
      maxHeaderListSize: headers.bytes,
    };
    const tls = { requestCert: true, rejectUnauthorized, handshakeTimeout };
    super({ ...tls, minVersion: minTlsVersion, ...connectionLimits, settings }, context);
    this.context = context;
  }

  /** Every server that has these credentials gives its next handshake the new context; open connections stay. */
  rotate(context: SecureContextOptions): void {
    this.context = context;
    this.updateSecureContextOptions(context);
  }

  override _equals(other: ServerCredentials): boolean {
    return other instanceof MutualTlsServerCredentials && other.context === this.context;
  }
}
