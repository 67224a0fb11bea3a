import type { Server, Socket } from 'node:net';
import { guarded } from '@csc-fleet/common/errors';
import type { AllowList } from './allow-list.ts';
import { defaultEgressLimits, type EgressLimits, type FrontPorts, type ServeHttp } from './front.ts';
import { createHttpFront } from './http-front.ts';
import {
  type Connect,
  connectOnHost,
  dial,
  findRoute,
  limitResolve,
  type ResolveHost,
  resolveOnHost,
} from './route.ts';
import { gather, SocketSet } from './sockets.ts';
import { serveSocks, socksVersion } from './socks.ts';
import { createVerdictLog, type EgressSummary, type EgressVerdict, type VerdictLog } from './verdicts.ts';

export interface EgressProxyOptions {
  readonly allow: AllowList;
  /** Default: as every program of this host resolves, /etc/hosts included. */
  readonly resolve?: ResolveHost;
  /** Default: over this host's network. */
  readonly connect?: Connect;
  readonly limits?: Partial<EgressLimits>;
  /** Called for every verdict, in order; must not throw. */
  readonly onVerdict?: (verdict: EgressVerdict) => void;
  /** Told of faults of this proxy, which no input should bring about; of the first 16 only, so that no log is filled. */
  readonly onFault?: (error: unknown) => void;
}

/** The one way out of a sandbox. */
export interface EgressProxy {
  /** Takes every connection of a listening server, which it closes with itself. */
  serve(server: Server): void;
  /** What was asked so far. */
  summary(): EgressSummary;
  /** Ends everything at once, servers and connections. May be called again. */
  close(): Promise<void>;
}

/**
 * A proxy that lets through what the lists name, and nothing else: HTTP/1.1 by absolute URI, TLS through CONNECT, both
 * through SOCKS5, all on one port. No bytes of a request go anywhere before it has been judged.
 */
export function createEgressProxy(options: EgressProxyOptions): EgressProxy {
  const limits: EgressLimits = { ...defaultEgressLimits, ...options.limits };
  const log = createVerdictLog(options.onVerdict);
  const servers = new Set<Server>();
  const clients = new SocketSet();
  const upstreams = new SocketSet();
  const ports = createPorts(options, { log, limits }, upstreams);
  const serveHttp = createHttpFront(ports);
  const onConnection = (client: Socket): void => {
    clients.add(client);
    if (clients.size > limits.connections) {
      log.deny({ protocol: 'http', host: '', port: 0 }, 'too_many_connections');
      client.destroy();
      return;
    }
    ports.guard([client], () => serveClient(client, ports, serveHttp))();
  };
  return {
    serve(server) {
      servers.add(server);
      server.on('connection', onConnection);
      // It could not accept one (EMFILE, ENFILE): that client is refused, and no other.
      server.on('error', () => undefined);
    },
    summary: () => log.summary(),
    async close() {
      const closed = [...servers].map(closeServer);
      clients.close();
      upstreams.close();
      await Promise.all(closed);
    },
  };
}

function createPorts(
  { allow, resolve = resolveOnHost, connect = connectOnHost, onFault = () => {} }: EgressProxyOptions,
  { log, limits }: Pick<FrontPorts, 'log' | 'limits'>,
  upstreams: SocketSet,
): FrontPorts {
  const timeoutMs = limits.connectMs;
  const judgement = { allow, resolve: limitResolve(resolve, { atOnce: limits.lookups, timeoutMs }) };
  const tracked: Connect = (target) => upstreams.add(connect(target));
  return {
    log,
    limits,
    findRoute: (target) => findRoute(target, judgement),
    dial: (route) => dial(route, { timeoutMs, connect: tracked }),
    guard: createGuard(log, onFault),
  };
}

const reportedFaults = 16;

function createGuard(log: VerdictLog, onFault: (error: unknown) => void): FrontPorts['guard'] {
  let reported = 0;
  return (connections, handler) =>
    guarded(handler, (error) => {
      for (const connection of connections) connection.destroy();
      log.deny({ protocol: 'http', host: '', port: 0 }, 'internal_error');
      reported += 1;
      if (reported <= reportedFaults) onFault(error);
    });
}

// Which protocol a client speaks shows in its first byte.
async function serveClient(client: Socket, ports: FrontPorts, serveHttp: ServeHttp): Promise<void> {
  const { headerMs, idleMs } = ports.limits;
  // Each direction ends by itself, whatever the server that accepted it does by default.
  client.allowHalfOpen = true;
  client.setNoDelay(true);
  client.setTimeout(idleMs, () => client.destroy());
  const sniffed = await gather(client, ([byte]) => byte, { timeoutMs: headerMs });
  if (sniffed === undefined) client.destroy();
  else if (sniffed.value === socksVersion) {
    await serveSocks({ socket: client, first: sniffed.bytes }, ports, serveHttp);
  } else serveHttp(client, sniffed.bytes);
}

function closeServer(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
  });
}
