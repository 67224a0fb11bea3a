import { createHash, type KeyObject, X509Certificate } from 'node:crypto';
import { connect, type DetailedPeerCertificate } from 'node:tls';
import { Metadata, makeGenericClientConstructor, status } from '@grpc/grpc-js';
import { CscError, isCscError, openings } from '../errors/index.ts';
import {
  CertificateAuthorityService,
  type CertificateAuthorityClient as Client,
  type JoinResponse,
  type RenewResponse,
} from '../gen/csc/ca/v1/ca.ts';
import {
  type ChannelCredentials,
  channelOptions,
  channelTo,
  fromServiceError,
  identityOfCertificate,
  type Role,
  readCaChannelCredentials,
  type TlsSource,
} from '../rpc/index.ts';
import { type JoinToken, joinPurpose, renewPurpose } from './token.ts';

const CertificateAuthorityClient = makeGenericClientConstructor(
  CertificateAuthorityService,
  'csc.ca.v1.CertificateAuthority',
) as unknown as new (
  ...args: ConstructorParameters<ReturnType<typeof makeGenericClientConstructor>>
) => Client;

/** The largest answer of a CA: root.json and the gate's keys are in it. */
const maxAnswerBytes = 2 * 1024 * 1024;

/** How long a CA may take for all of a join or a renewal, in milliseconds: one that can has answered within two seconds. */
export const caAnswerMs = 10_000;

/** The keys that are certified; their private halves stay here. */
export interface JoinKeys {
  /** EC P-256. */
  readonly tls: KeyObject;
  /** Ed25519; of an executor. */
  readonly receipts?: KeyObject;
}

/** What whoever joins says of itself. */
export interface Joining {
  /** A token of any other is refused, unused. */
  readonly role: Role;
  /** Whose certificates there are already: a token of anybody else is refused, unused. Empty: of nobody. */
  readonly identity: string;
  /** By its clock: where what is issued would not be good then, the token stays unused. */
  readonly at: Date;
}

/**
 * Joins a fleet: has the CA that the token names certify these keys. The same token with the same keys may be given again
 * while it lasts. Throws CA_UNREACHABLE, CREDENTIALS_INVALID where it is another CA that answers, JOIN_REFUSED,
 * REQUEST_INVALID, RATE_LIMITED.
 * @param address `HOST:PORT`
 * @param withinMs for all of it
 */
export async function joinFleet(
  address: string,
  token: JoinToken,
  keys: JoinKeys,
  { role, identity, at }: Joining,
  withinMs = caAnswerMs,
): Promise<JoinResponse> {
  const patience = { withinMs, until: Date.now() + withinMs };
  const root = await fetchRoot(address, token.caSha256, patience);
  const credentials = readCaChannelCredentials({ root }, token.trustDomain);
  const request = {
    token: token.text,
    identity,
    role,
    at,
    ...(await requestsOf(keys, joinPurpose(token.text))),
  };
  const answer = await call<JoinResponse>(address, credentials, patience, (client, options, done) =>
    client.join(request, options.metadata, options.call, done),
  );
  if (answer.certificates?.ca !== undefined && sha256OfPem(answer.certificates.ca) === token.caSha256)
    return answer;
  throw new CscError('CREDENTIALS_INVALID', 'the CA answers with the certificate of another CA');
}

/**
 * Has the CA renew the certificate that `tls` holds, and the receipt certificate. Throws CA_UNREACHABLE, JOIN_REFUSED,
 * NOT_PERMITTED where it is revoked, CREDENTIALS_INVALID, RATE_LIMITED.
 */
export async function renewCertificate(
  address: string,
  tls: TlsSource,
  keys: JoinKeys,
  withinMs = caAnswerMs,
): Promise<RenewResponse> {
  const { raw } = tls.material.own.certificate;
  const { trustDomain } = identityOfCertificate(raw);
  const credentials = readCaChannelCredentials(tls, trustDomain);
  const request = await requestsOf(keys, renewPurpose(createHash('sha256').update(raw).digest('hex')));
  const patience = { withinMs, until: Date.now() + withinMs };
  return call<RenewResponse>(address, credentials, patience, (client, options, done) =>
    client.renew(request, options.metadata, options.call, done),
  );
}

async function requestsOf({ tls, receipts }: JoinKeys, purpose: string) {
  // Loaded here: it takes as long as all else of a start, and is needed once a day.
  const { createRequest } = await import('../pki/index.ts');
  return {
    tlsRequest: await createRequest(tls, purpose),
    receiptRequest: receipts === undefined ? Buffer.alloc(0) : await createRequest(receipts, purpose),
  };
}

/** How long is waited: until when, of how many milliseconds. */
interface Patience {
  readonly withinMs: number;
  readonly until: number;
}

type Done<T> = (error: unknown, answer: T) => void;

async function call<T>(
  address: string,
  credentials: ChannelCredentials,
  patience: Patience,
  send: (
    client: Client,
    options: {
      readonly metadata: Metadata;
      readonly call: { readonly deadline: number };
    },
    done: Done<T>,
  ) => unknown,
): Promise<T> {
  const channel = channelTo(address, credentials, {
    ...channelOptions,
    'grpc.max_receive_message_length': maxAnswerBytes,
    'grpc.use_local_subchannel_pool': 1,
  });
  const client = new CertificateAuthorityClient(channel.address, channel.credentials, channel.options);
  try {
    return await new Promise((resolve, reject) => {
      const options = { metadata: new Metadata(), call: { deadline: patience.until } };
      send(client, options, (error, answer) => (error === null ? resolve(answer) : reject(error)));
    });
  } catch (error) {
    throw inWords(error, address, patience);
  } finally {
    client.close();
  }
}

// What gRPC says where the other side has not said anything is about gates.
function inWords(error: unknown, address: string, { withinMs }: Patience): CscError {
  const told = fromServiceError(error);
  if (told.code === 'DEADLINE_EXCEEDED') return silent(address, withinMs, error);
  if (told.code !== 'GATE_UNREACHABLE') return told;
  if (typeof error === 'object' && error !== null && 'code' in error && error.code === status.UNIMPLEMENTED)
    return new CscError('CA_UNREACHABLE', `what answers at ${address} is no CA of a fleet`, { cause: error });
  return unreachable(address, told.message.replaceAll('the gate', 'the CA'), error);
}

function unreachable(address: string, why: string, cause: unknown): CscError {
  return new CscError('CA_UNREACHABLE', `the CA at ${address} cannot be reached: ${why}`, { cause });
}

function silent(address: string, withinMs: number, cause?: unknown): CscError {
  const message = `the CA at ${address} does not answer; it was waited for ${withinMs / 1000} s. See that csc ca serve runs there, and that nothing between (a firewall, another service at that port) swallows what it is sent; then try again`;
  return new CscError('CA_UNREACHABLE', message, { cause });
}

/**
 * The root's certificate, as the server at an address shows it in its handshake: by its hash it is known to be the one that
 * is meant, so that nothing else need be trusted. Nothing is sent. Gives PEM. Throws CA_UNREACHABLE, CREDENTIALS_INVALID.
 */
async function fetchRoot(address: string, sha256: string, patience: Patience): Promise<string> {
  const at = address.lastIndexOf(':');
  const host = address.slice(0, at).replace(/^\[(.*)\]$/, '$1');
  const port = Number(address.slice(at + 1));
  if (at < 1 || !Number.isInteger(port) || port < 1 || port > 65_535)
    throw new CscError('CONFIG_INVALID', 'the CA’s address must be HOST:PORT');
  const shown = await showChain(host, port, silent(address, patience.withinMs), patience.until).catch(
    (cause: unknown) => {
      if (isCscError(cause)) throw cause;
      const told = cause instanceof Error ? cause.message : String(cause);
      const isReset = cause instanceof Error && 'code' in cause && cause.code === 'ECONNRESET';
      const why = isReset
        ? 'it ended the connection; where it has too many, try again in some seconds'
        : told;
      throw unreachable(address, why, cause);
    },
  );
  const root = shown.find((der) => createHash('sha256').update(der).digest('hex') === sha256);
  if (root !== undefined) return new X509Certificate(root).toString();
  const message = `${openings.otherCa}that answers at ${address}, and nothing was sent to it: is the address right? If so, somebody stands between`;
  throw new CscError('CREDENTIALS_INVALID', message);
}

const maxChain = 8;

function showChain(host: string, port: number, late: CscError, until: number): Promise<Buffer[]> {
  return new Promise((resolve, reject) => {
    const socket = connect({
      host,
      port,
      minVersion: 'TLSv1.3',
      ALPNProtocols: ['h2'],
      // Who it is says the hash alone; and then the handshake that the call is made with, which is verified in full.
      rejectUnauthorized: false,
    });
    const timer = setTimeout(() => socket.destroy(late), Math.max(0, until - Date.now()));
    socket.once('error', reject);
    socket.once('close', () => {
      clearTimeout(timer);
      reject(new Error('it ended the connection'));
    });
    socket.once('secureConnect', () => {
      resolve(chainOf(socket.getPeerCertificate(true)));
      socket.destroy();
    });
  });
}

function chainOf(leaf: DetailedPeerCertificate): Buffer[] {
  const chain: Buffer[] = [];
  let next: DetailedPeerCertificate | undefined = leaf;
  // Of a root, Node gives itself as its issuer.
  while (next?.raw !== undefined && chain.length < maxChain) {
    chain.push(next.raw);
    if (next.issuerCertificate === next) break;
    next = next.issuerCertificate;
  }
  return chain;
}

function sha256OfPem(pem: string): string {
  return createHash('sha256').update(new X509Certificate(pem).raw).digest('hex');
}
