import type { Socket } from 'node:net';
import { isIP } from 'node:net';
import {
  type ConnectionOptions,
  checkServerIdentity,
  connect,
  createSecureContext,
  type PeerCertificate,
  type SecureContext,
  type TLSSocket,
} from 'node:tls';
import { CallCredentials, ChannelCredentials, Metadata } from '@grpc/grpc-js';
import { CscError } from '../errors/index.ts';
import type { Role } from '../identity/index.ts';
import { identityOfCertificate, uriNames } from '../identity/index.ts';
import { refusePush } from './refuse-push.ts';
import { minTlsVersion, type TlsFiles, TlsSource } from './tls-files.ts';

/**
 * TLS 1.3 with our own certificate. The server's must be for the host name dialled *and* say that it is of the
 * expected role: another party's certificate from the same CA cannot stand in for the gate. Files that have changed
 * are read again for the next connection; where they cannot be used, what was read before goes on. Throws
 * FILE_UNREADABLE, CREDENTIALS_INVALID or CONFIG_INVALID.
 */
export function readChannelCredentials(
  files: TlsFiles | TlsSource,
  expected: ExpectedServer = { role: 'gate' },
): ChannelCredentials {
  const source = files instanceof TlsSource ? files : new TlsSource(files);
  const { role, bearer, silentMs } = expected;
  return new MutualTlsChannelCredentials({
    source,
    expects: role,
    bearer,
    silentMs,
    judge: (it) => judgeRole(it, role),
  });
}

/** Whom to find at the other end, and what to tell it. */
export interface ExpectedServer {
  readonly role: Role;
  /** Gives the token that goes with each call, for a server of this trust domain. Absent: none does. */
  readonly bearer?: ((trustDomain: string) => Promise<string>) | undefined;
  /** How long a connection may take from TCP's end of connecting to HTTP/2's first word, in milliseconds. Absent: 20 s. */
  readonly silentMs?: number | undefined;
}

/**
 * The same to a fleet's CA of a trust domain: a gate's certificate does not stand in for it.
 * @param files of our own; or only the CA's certificate, PEM, where we have no certificate yet
 */
export function readCaChannelCredentials(
  files: TlsSource | { readonly root: string },
  trustDomain: string,
): ChannelCredentials {
  const source =
    files instanceof TlsSource
      ? files
      : { context: createSecureContext({ ca: [files.root], minVersion: minTlsVersion }) };
  const expects = `ca ${trustDomain}`;
  return new MutualTlsChannelCredentials({ source, expects, judge: (it) => judgeCa(it, trustDomain) });
}

function judgeCa(certificate: PeerCertificate, trustDomain: string): Error | undefined {
  try {
    const [uri = 'nobody', ...more] = uriNames(certificate.raw);
    if (more.length === 0 && uri.startsWith(`spiffe://${trustDomain}/ca/`)) return undefined;
    return new CscError(
      'CREDENTIALS_INVALID',
      `it is no CA of ${trustDomain} that answers there: it is ${uri}`,
    );
  } catch (error) {
    return error instanceof Error ? error : new Error('the certificate cannot be read');
  }
}

function judgeRole(certificate: PeerCertificate, role: Role): Error | undefined {
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

/** What the next handshake is made with. */
type ContextSource = TlsSource | { readonly context: SecureContext };

interface ServerRules {
  readonly source: ContextSource;
  /** Two credentials that expect the same may share a connection. */
  readonly expects: string;
  /** As ExpectedServer has it. */
  readonly bearer?: ExpectedServer['bearer'];
  /** As ExpectedServer has it. */
  readonly silentMs?: number | undefined;
  /** What is wrong with the certificate of a server, whose name has been checked. */
  readonly judge: (certificate: PeerCertificate) => Error | undefined;
}

// grpc-js's own keeps the certificates that it began with, and sends the host as the TLS server name even where it is
// an IP address, which RFC 6066 §3 forbids and Node.js warns of (DEP0123) on the user's standard error.
class MutualTlsChannelCredentials extends ChannelCredentials {
  readonly #rules: ServerRules;

  constructor(rules: ServerRules) {
    super();
    this.#rules = rules;
  }

  override _isSecure(): boolean {
    return true;
  }

  override _equals(other: ChannelCredentials): boolean {
    return (
      other instanceof MutualTlsChannelCredentials &&
      other.#rules.source === this.#rules.source &&
      other.#rules.expects === this.#rules.expects &&
      other.#rules.bearer === this.#rules.bearer
    );
  }

  override _createSecureConnector(...[target, , callCredentials]: ConnectorArguments): Connector {
    const host = hostOf(target.path);
    let trustDomain = '';
    return {
      connect: async (socket) => {
        takeUpChanges(this.#rules.source);
        const secured = await this.#handshake(socket, host);
        refusePush(secured);
        if (this.#rules.bearer !== undefined)
          trustDomain = identityOfCertificate(secured.getPeerCertificate().raw).trustDomain;
        return { socket: secured, secure: true };
      },
      waitForReady: () => Promise.resolve(),
      getCallCredentials: () =>
        withBearer(callCredentials ?? CallCredentials.createEmpty(), this.#rules, () => trustDomain),
      destroy: () => undefined,
    };
  }

  #handshake(socket: Socket, host: string): Promise<TLSSocket> {
    const options: ConnectionOptions = {
      socket,
      secureContext: this.#rules.source.context,
      host,
      // Without a server name, the certificate is checked for `host`.
      servername: isIP(host) === 0 ? host : '',
      checkServerIdentity: (_host, certificate) =>
        checkServerIdentity(host, certificate) ?? this.#rules.judge(certificate),
      // Whatever NODE_TLS_REJECT_UNAUTHORIZED says.
      rejectUnauthorized: true,
      ALPNProtocols: ['h2'],
    };
    return new Promise((resolve, reject) => {
      const secured = connect(options, () => resolve(secured));
      secured.on('error', (error) => reject(inWords(error)));
      // grpc-js dials no other as long as this one is neither made nor lost.
      secured.on('close', () => reject(new Error('the connection ended within its handshake')));
      limitSilence(secured, this.#rules.silentMs ?? mostSilentMs);
    });
  }
}

const mostSilentMs = 20_000;

// What answers TCP and then says nothing, as a link does whose other end is gone, would otherwise be waited for for ever: by
// us within TLS, and after it by grpc-js, which waits for HTTP/2's SETTINGS. They are what a server says first.
function limitSilence(secured: TLSSocket, silentMs: number): void {
  const late = setTimeout(() => {
    if (secured.bytesRead > 0) return;
    const what = secured.authorized
      ? 'accepted the connection and said nothing'
      : 'did not finish its handshake';
    secured.destroy(new Error(`the other end ${what} within ${silentMs / 1000} s`));
  }, silentMs).unref();
  secured.once('close', () => clearTimeout(late));
}

function withBearer(
  others: CallCredentials,
  { bearer }: Pick<ServerRules, 'bearer'>,
  trustDomain: () => string,
): CallCredentials {
  if (bearer === undefined) return others;
  const token = CallCredentials.createFromMetadataGenerator((_options, done) => {
    bearer(trustDomain()).then(
      (text) => {
        const metadata = new Metadata();
        metadata.set('authorization', `Bearer ${text}`);
        done(null, metadata);
      },
      (error: unknown) => done(error instanceof Error ? error : new Error('there is no token')),
    );
  });
  return others.compose(token);
}

// Nobody else is there to be told: a service that looks after its files says so itself (watchTls).
function takeUpChanges(source: ContextSource): void {
  if (!(source instanceof TlsSource) || !source.looksChanged) return;
  try {
    source.prepare()?.();
  } catch (error) {
    if (!(error instanceof CscError)) throw error;
  }
}

/** The host of a gRPC target's path: `HOST:PORT`, `[ADDRESS]:PORT`, a host alone. */
function hostOf(path: string): string {
  const target = path.replace(/^\/+/, '');
  return (
    /^\[([^\]]+)\](?::\d+)?$/.exec(target)?.[1] ?? (isIP(target) === 6 ? target : target.replace(/:\d+$/, ''))
  );
}

const notOfOurCa =
  "the gate's certificate is not of the CA that was given (ca): is it the right gate, and the right CA?";
const words: Readonly<Record<string, string>> = {
  CERT_HAS_EXPIRED: "the gate's certificate, or its CA's, has ended: the gate's owner has to renew it",
  CERT_NOT_YET_VALID: "the gate's certificate is not valid yet by the clock of this host",
  SELF_SIGNED_CERT_IN_CHAIN: notOfOurCa,
  DEPTH_ZERO_SELF_SIGNED_CERT: notOfOurCa,
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: notOfOurCa,
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: notOfOurCa,
  UNABLE_TO_GET_ISSUER_CERT: notOfOurCa,
  CERT_SIGNATURE_FAILURE: notOfOurCa,
};

// What OpenSSL says of the other side's certificate does not say that it is the other side's.
function inWords(error: Error): Error {
  const code = 'code' in error ? String(error.code) : '';
  const said = words[code];
  if (said !== undefined) return new Error(said, { cause: error });
  if (code !== 'ERR_TLS_CERT_ALTNAME_INVALID') return error;
  const about = error.message.replace(/^Hostname\/IP does not match certificate's altnames: /, '');
  return new Error(`the gate's certificate is for another name: ${about}`, { cause: error });
}
