import type { X509Certificate } from 'node:crypto';
import { CscError } from '../errors/index.ts';
import { type NamedCertificate, uriNames, validityOf, whyNotValid } from '../identity/index.ts';
import type { TlsMaterial } from './tls-files.ts';

// What grpc-js makes of a connection that the other side ends without a word, as TLS servers do with a client whose
// certificate does not count: in TLS 1.3 the client has finished its handshake by then.
const dropped = /Failed to connect|ECONNRESET|EPIPE|hang up|dropped|[Cc]losed|before secure TLS/;

/** True where a connection was ended without a word: for our certificate, or as the gate is on its way out. */
export function isDropped({ message }: CscError): boolean {
  return dropped.test(message);
}

/**
 * A connection that did not come about, in words, where it may be for our certificate: CREDENTIALS_INVALID where that
 * cannot be accepted, else the error with what is worth a look. Other errors are given back as they are.
 * @param error GATE_UNREACHABLE
 */
export function explainDrop(error: CscError, material: TlsMaterial): CscError {
  if (error.code !== 'GATE_UNREACHABLE' || !dropped.test(error.message)) return error;
  const { name, certificate } = material.own;
  const why = whyNotAccepted(material, new Date());
  const options = { cause: error.cause };
  if (why !== undefined) {
    const message = `the gate ended the connection, as it does not accept the certificate ${name}: it ${why}`;
    return new CscError('CREDENTIALS_INVALID', message, options);
  }
  const message = `${error.message}: it ended the connection, as a gate does that does not accept a certificate; ${name} is ${describe(certificate)}, and the gate's log says why`;
  const retry = error.retryAfterMs === undefined ? {} : { retryAfterMs: error.retryAfterMs };
  return new CscError('GATE_UNREACHABLE', message, { ...options, ...retry });
}

// RFC 5280 §4.2.1.12.
const serverAuth = '1.3.6.1.5.5.7.3.1';
const clientAuth = '1.3.6.1.5.5.7.3.2';

/** Throws CONFIG_INVALID where a certificate's extended key usage is for the other side of a connection. */
export function checkPurpose({ name, certificate }: NamedCertificate, side: 'server' | 'client'): void {
  const purposes = certificate.keyUsage;
  if (purposes === undefined || purposes.includes(side === 'server' ? serverAuth : clientAuth)) return;
  const message = `${name} is not for TLS ${side}s, as its extended key usage says: nobody would accept it`;
  throw new CscError('CONFIG_INVALID', message);
}

/** Why no gate that has a certificate of `ca` takes ours; undefined where nothing speaks against it from here. */
function whyNotAccepted({ own, chain, ca }: TlsMaterial, now: Date): string | undefined {
  const { certificate } = own;
  const dates = whyNotValid(certificate, now);
  if (dates !== undefined) return dates;
  const purposes = certificate.keyUsage;
  if (purposes !== undefined && !purposes.includes(clientAuth))
    return 'is not for clients, as its extended key usage says';
  const authorities = ca.map((it) => it.certificate);
  const issuers = [...chain.map((it) => it.certificate), ...authorities];
  if (issuers.some((it) => hasIssued(it, certificate))) return undefined;
  const names = authorities.map(({ subject }) => oneLine(subject)).join(', ');
  return `is of another CA (${oneLine(certificate.issuer)}) than the gate (${names}): get one of the gate's CA, or name that one's gate`;
}

function hasIssued(issuer: X509Certificate, certificate: X509Certificate): boolean {
  return certificate.checkIssued(issuer) && certificate.verify(issuer.publicKey);
}

function describe(certificate: X509Certificate): string {
  const who = uriNames(certificate.raw).join(' ') || 'of nobody that it names';
  const { until } = validityOf(certificate);
  return `${who}, of ${oneLine(certificate.issuer)}, until ${until.toISOString().slice(0, 10)}`;
}

function oneLine(name: string): string {
  return name.replaceAll('\n', ', ');
}
