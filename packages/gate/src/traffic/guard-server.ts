import type {
  Http2SecureServer,
  IncomingHttpHeaders,
  ServerHttp2Session,
  ServerHttp2Stream,
} from 'node:http2';
import { type TLSSocket, Server as TlsServer } from 'node:tls';
import { Doorway } from '@csc-fleet/common/doorway';
import { CscError } from '@csc-fleet/common/errors';
import { type ErrorLog, identityOfSession, presentedKeyOfSession } from '@csc-fleet/common/rpc';
import { type Log, silentLog } from '@csc-fleet/common/service';
import type { ConnectionInjector, Server, ServerCredentials } from '@grpc/grpc-js';
import { HandshakeLog } from './handshakes.ts';
import type { CallRate, TrafficLimits } from './limits.ts';
import { Parties } from './parties.ts';
import { SessionGuard } from './session-guard.ts';
import { StreamGuard, type Watch } from './stream-guard.ts';

export interface GuardOptions {
  readonly credentials: ServerCredentials;
  readonly limits: CallRate & {
    /** Of a client's message. */
    readonly maxMessageBytes: number;
    readonly traffic: TrafficLimits;
  };
  /** The gate's own. */
  readonly trustDomain: string;
  /** Whether who has no certificate of ours may show a token. */
  readonly tokens: 'taken' | 'refused';
  readonly log: ErrorLog;
  /** Told who is not let in. Default: nobody is. */
  readonly peers?: Log;
  /** Given each stream that is let in before gRPC is: true where it serves it, and tells `watch` what comes. */
  readonly serve: (stream: ServerHttp2Stream, headers: IncomingHttpHeaders, watch: Watch) => boolean;
  /** Paths of the methods with one answer. */
  readonly oneAnswer: ReadonlySet<string>;
}

/** The guarded ways into a gRPC server. */
export interface GuardedServer {
  /** Resolves to the port. */
  listen(host: string, port: number): Promise<number>;
  /** Takes nobody new, lets calls end, and cuts off what is open after `graceMs`. Resolves when no connection is open. */
  drain(graceMs: number): Promise<void>;
}

const lookEveryMs = 1_000;

/**
 * Puts doorway and guards before a gRPC server, at the only places where they see everything and before it costs:
 *
 * - Sockets are accepted by a server of our own and handed over with grpc-js's connection injector, its public way for
 *   that: bindAsync would begin a TLS handshake with every socket at once.
 * - Streams are looked at before grpc-js's own listener: a server interceptor is called only for methods that exist, and
 *   after the call's objects are made. The listeners are those of Node's HTTP/2 server, which grpc-js has no public way
 *   to; a version that keeps it elsewhere fails the start.
 */
export function guardServer(
  server: Server,
  { credentials, limits, trustDomain, tokens, log, peers = silentLog, serve, oneAnswer }: GuardOptions,
): GuardedServer {
  const injector: ConnectionInjector = server.createConnectionInjector(credentials);
  const http2 = http2ServerOf(server);
  const { traffic, maxMessageBytes } = limits;
  const parties = new Parties(limits, traffic, tokens);
  const handshakes = new HandshakeLog(peers);
  const sessions = new SessionGuard(parties, ({ socket }) =>
    handshakes.refused(
      socket.remoteAddress ?? 'unknown',
      'its certificate has ended, and its connection with it',
      'CERT_HAS_EXPIRED',
    ),
  );
  const streams = new StreamGuard({
    parties,
    sessions,
    limits: traffic,
    maxMessageBytes,
    trustDomain,
    log,
    oneAnswer,
  });
  http2.on('tlsClientError', (error: Error, socket: TLSSocket) => handshakes.failed(error, socket));
  http2.prependListener('session', (session: ServerHttp2Session) => {
    if (tokens === 'refused' || presentedKeyOfSession(session) === undefined)
      noteStranger(session, trustDomain, handshakes);
    sessions.enter(session);
  });
  const rest = http2.listeners('stream');
  http2.removeAllListeners('stream');
  http2.on('stream', (stream: ServerHttp2Stream, headers: IncomingHttpHeaders, ...more: unknown[]) => {
    const watch = streams.admit(stream, headers);
    if (watch === undefined || serve(stream, headers, watch)) return;
    stream.on('data', watch.took);
    stream.on('end', watch.ended);
    for (const listener of rest) Reflect.apply(listener, http2, [stream, headers, ...more]);
  });
  const doorway = new Doorway(traffic.connections, (socket) => injector.injectConnection(socket));
  const timer = setInterval(() => {
    sessions.look();
    streams.look();
  }, lookEveryMs).unref();
  return {
    listen: (host, port) => doorway.listen(host, port),
    drain: async (graceMs) => {
      clearInterval(timer);
      doorway.close();
      const over = sessions.over();
      injector.drain(graceMs);
      await over;
    },
  };
}

// It gets its answer call by call; the gate's owner hears of it here.
function noteStranger(session: ServerHttp2Session, trustDomain: string, handshakes: HandshakeLog): void {
  try {
    const { uri, trustDomain: theirs } = identityOfSession(session);
    if (theirs === trustDomain) return;
    throw new CscError(
      'CREDENTIALS_INVALID',
      `its certificate is of ${uri}, and this gate's trust domain is ${trustDomain}`,
    );
  } catch (error) {
    if (!(error instanceof CscError)) throw error;
    handshakes.refused(session.socket.remoteAddress ?? 'unknown', error.message, error.code);
  }
}

function http2ServerOf(server: Server): Http2SecureServer {
  const servers: unknown = server['http2Servers'];
  for (const it of servers instanceof Map ? servers.keys() : []) if (isHttp2Server(it)) return it;
  throw new CscError('INTERNAL', 'this version of @grpc/grpc-js keeps its HTTP/2 server elsewhere');
}

function isHttp2Server(value: unknown): value is Http2SecureServer {
  return value instanceof TlsServer;
}
