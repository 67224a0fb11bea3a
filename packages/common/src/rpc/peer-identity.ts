import type { KeyObject } from 'node:crypto';
import type { ServerHttp2Session } from 'node:http2';
import { type PeerCertificate, TLSSocket } from 'node:tls';
import { BoundedCache } from '../crypto/bounded-cache.ts';
import { keyLength } from '../crypto/index.ts';
import { CscError } from '../errors/index.ts';
import { type Identity, identityOfCertificate, labelsInUnits } from '../identity/index.ts';
import { type ServerCallLike, sessionOf } from './session.ts';

// By the SHA-256 of the certificate: what was verified is what was read.
const byFingerprint = new BoundedCache<Identity>(4096);

// TLS 1.3 has no renegotiation, so that a connection keeps its certificate; asking for it costs 40 µs a call.
const bySession = new WeakMap<object, Identity>();

/**
 * Who makes a call, by the client certificate that the TLS handshake verified. Throws NO_CREDENTIALS where there is
 * none, CREDENTIALS_INVALID where it names no party of ours. The role is for the caller to check.
 */
export function identityOfCall(call: ServerCallLike): Identity {
  const session = sessionOf(call);
  const known = session === undefined ? undefined : bySession.get(session);
  if (known !== undefined) return known;
  const identity = identityOfContext(call);
  if (session !== undefined) bySession.set(session, identity);
  return identity;
}

/**
 * Who is at the other end of a connection, as identityOfCall has it for each of its calls. Throws likewise.
 * @param session of a server that demands a client certificate and verifies it
 */
export function identityOfSession(session: ServerHttp2Session): Identity {
  const known = bySession.get(session);
  if (known !== undefined) return known;
  const { socket } = session;
  const certificate =
    socket instanceof TLSSocket && socket.authorized ? socket.getPeerCertificate() : undefined;
  const identity = identityOfPeer(certificate);
  bySession.set(session, identity);
  return identity;
}

/**
 * When the client certificate of a connection ends, in milliseconds since 1970; undefined where it has shown none that our CA
 * has issued. TLS asks that once, in the handshake.
 */
export function certificateEndOf({ socket }: ServerHttp2Session): number | undefined {
  if (!(socket instanceof TLSSocket) || !socket.authorized) return undefined;
  const certificate = socket.getPeerX509Certificate();
  return certificate === undefined ? undefined : Date.parse(certificate.validTo);
}

/**
 * The Ed25519 key (32 bytes) of a client certificate that is of no CA of ours, as one has that signs itself: TLS has proved
 * that its private half is there, and the certificate proves nothing else. Undefined for any other.
 * @param session of a server that asks for a client certificate and lets others in, too
 */
export function presentedKeyOfSession(session: ServerHttp2Session): Uint8Array | undefined {
  const { socket } = session;
  if (!(socket instanceof TLSSocket) || socket.authorized) return undefined;
  return toRawKey(socket.getPeerX509Certificate()?.publicKey);
}

/** The same of a call. */
export function presentedKeyOf(call: ServerCallLike): Uint8Array | undefined {
  const session = sessionOf(call);
  return session !== undefined && isServerSession(session) ? presentedKeyOfSession(session) : undefined;
}

function isServerSession(session: object): session is ServerHttp2Session {
  return 'socket' in session && 'remoteSettings' in session;
}

function toRawKey(key: KeyObject | undefined): Uint8Array | undefined {
  if (key?.asymmetricKeyType !== 'ed25519') return undefined;
  const raw = Buffer.from(key.export({ format: 'jwk' }).x ?? '', 'base64url');
  return raw.length === keyLength ? raw : undefined;
}

function identityOfContext(call: ServerCallLike): Identity {
  // grpc-js gives a certificate only where the socket is authorized.
  return identityOfPeer(call.getAuthContext().sslPeerCertificate);
}

function identityOfPeer(certificate: Partial<PeerCertificate> | undefined): Identity {
  if (certificate?.raw === undefined || certificate.fingerprint256 === undefined) {
    throw new CscError('NO_CREDENTIALS', 'a client certificate is required');
  }
  const { raw, fingerprint256 } = certificate;
  return byFingerprint.get(fingerprint256, () => identityOfCertificate(raw));
}

/** When the client certificate of a call counts; undefined where it has none. */
export function validityOfCall(call: ServerCallLike): { notBefore: Date; notAfter: Date } | undefined {
  const certificate = call.getAuthContext().sslPeerCertificate;
  if (certificate === undefined) return undefined;
  return { notBefore: new Date(certificate.valid_from), notAfter: new Date(certificate.valid_to) };
}

/** The client certificate of a call in DER; undefined where none came that our CA has issued. */
export function certificateOfCall(call: ServerCallLike): Buffer | undefined {
  return call.getAuthContext().sslPeerCertificate?.raw;
}

/** The labels that the client certificate of a call certifies for its host; undefined where it says nothing of labels. */
export function labelsOfCall(call: ServerCallLike): Record<string, string> | undefined {
  return labelsInUnits(call.getAuthContext().sslPeerCertificate?.subject?.OU);
}
