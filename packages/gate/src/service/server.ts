import { CscError } from '@csc-fleet/common/errors';
import {
  type ErrorLog,
  type Identity,
  identityOfCertificate,
  maxMessageBytes,
  readServerCredentials,
  serverOptions,
  type TlsFiles,
  TlsSource,
} from '@csc-fleet/common/rpc';
import type { Log } from '@csc-fleet/common/service';
import type { Tracing } from '@csc-fleet/common/tracing';
import { Server } from '@grpc/grpc-js';
import {
  approvalsService,
  fleetService,
  gateService,
  serveApprovals,
  serveFleet,
  serveGate,
} from '../rpc/gate-service.ts';
import { HealthService } from '../rpc/health-service.ts';
import { linkService, serveLink } from '../rpc/link-service.ts';
import { servePlainCalls, unaryPaths } from '../rpc/plain-calls.ts';
import { addReflection } from '../rpc/reflection.ts';
import { Unread } from '../rpc/writing.ts';
import { type GuardedServer, guardServer } from '../traffic/guard-server.ts';
import { createTokenCallers } from '../traffic/token-caller.ts';
import type { Gate } from './compose.ts';
import type { GateLimits } from './config.ts';

export interface ServerSettings {
  /** `HOST:PORT`; port 0 takes a free one. */
  readonly listen: string;
  readonly tls: TlsFiles | TlsSource;
  /** Whether clients may come with an OIDC token instead of a certificate. Absent: they may not. */
  readonly acceptTokens?: boolean;
  readonly limits: GateLimits;
  readonly heartbeatIntervalSec: number;
  readonly log: ErrorLog;
  /** Absent: nothing is traced. */
  readonly tracing?: Tracing | undefined;
  /** Told who is not let in. Absent: nobody is. */
  readonly peers?: Log;
}

export interface GateServer {
  readonly port: number;
  /** What waits in memory for clients that do not read it. */
  readonly unread: Pick<Unread, 'bytes' | 'most'>;
  /** Takes no new calls, ends streams with DRAINING, waits for calls, and cuts off what is still open after `graceMs`. */
  stop(graceMs: number): Promise<void>;
}

// Missed heartbeats before an executor counts as gone.
const silentHeartbeats = 4;

/** Serves a gate over gRPC with mutual TLS: Gate, ExecutorLink, health and reflection. Throws CONFIG_INVALID. */
export async function startServer(gate: Gate, settings: ServerSettings): Promise<GateServer> {
  const { limits, log } = settings;
  // What executors push is not for the clients' limit to stop; a client's own is checked call by call.
  const longest = Math.max(maxMessageBytes, limits.maxMessageBytes);
  const server = new Server({ ...serverOptions, 'grpc.max_receive_message_length': longest });
  const health = new HealthService(() => gate.health());
  const stopping = new AbortController();
  const tls = settings.tls instanceof TlsSource ? settings.tls : new TlsSource(settings.tls);
  const { trustDomain } = identityOf(tls);
  const unread = new Unread();
  const { acceptTokens = false } = settings;
  const tokenCallers = acceptTokens ? createTokenCallers(gate.tokens, trustDomain) : undefined;
  const rules = {
    trustDomain,
    tokenCallers,
    log,
    stopping: stopping.signal,
    tracing: settings.tracing,
    unread,
  };
  const forClients = [
    [gateService, serveGate(gate.methods, { ...rules, ...limits })],
    [fleetService, serveFleet(gate.fleet, { ...rules, ...limits })],
    [approvalsService, serveApprovals(gate.approvals, { ...rules, ...limits })],
  ] as const;
  for (const [definition, handlers] of forClients) server.addService(definition, handlers);
  const silenceMs = settings.heartbeatIntervalSec * silentHeartbeats * 1000;
  server.addService(linkService, serveLink({ ...gate, silenceMs }, rules));
  health.addTo(server);
  addReflection(server);
  const guarded = guardServer(server, {
    credentials: readServerCredentials(
      tls,
      limits.traffic.connections.handshakeTimeoutSec,
      acceptTokens ? 'in' : 'out',
    ),
    tokens: acceptTokens ? 'taken' : 'refused',
    limits,
    trustDomain,
    log,
    serve: servePlainCalls(forClients),
    oneAnswer: unaryPaths([...forClients.map(([definition]) => definition), linkService]),
    ...(settings.peers === undefined ? {} : { peers: settings.peers }),
  });
  const port = await bind(guarded, settings.listen);
  return {
    port,
    unread,
    stop: async (graceMs) => {
      health.stop();
      stopping.abort();
      await shutDown(server, guarded, graceMs);
    },
  };
}

function identityOf({ material: { own } }: TlsSource): Identity {
  const identity = identityOfCertificate(own.certificate.raw);
  if (identity.role === 'gate') return identity;
  const message = `${own.name} is the certificate of the role ${identity.role}; one of the role gate is due`;
  throw new CscError('CONFIG_INVALID', message);
}

async function bind(server: GuardedServer, listen: string): Promise<number> {
  const { host, port } = hostAndPort(listen);
  try {
    return await server.listen(host, port);
  } catch (cause) {
    throw new CscError('CONFIG_INVALID', `cannot listen on ${listen}: is something else listening there?`, {
      cause,
    });
  }
}

/** The two parts of `HOST:PORT`, the host without the brackets of an IPv6 address. */
export function hostAndPort(listen: string): { readonly host: string; readonly port: number } {
  const at = listen.lastIndexOf(':');
  return { host: listen.slice(0, at).replace(/^\[(.*)\]$/, '$1'), port: Number(listen.slice(at + 1)) };
}

/** `HOST:PORT` of a listen address, with the port that was really bound. */
export function toAddress(listen: string, port: number): string {
  return `${listen.slice(0, listen.lastIndexOf(':'))}:${port}`;
}

async function shutDown(server: Server, guarded: GuardedServer, graceMs: number): Promise<void> {
  // Not forceShutdown: without channelz, grpc-js 1.14 does not know its sessions there, and leaves them open. Nor is
  // tryShutdown enough: it waits for no session that is being closed already.
  await guarded.drain(graceMs);
  await new Promise<void>((resolve) => {
    server.tryShutdown(() => resolve());
  });
}
