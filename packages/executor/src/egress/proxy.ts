import type { Server, Socket } from 'node:net';
import { CscError, guarded } from '@csc-fleet/common/errors';
import type { EgressHost } from '@csc-fleet/common/schema';
import { type AllowList, createAllowList } from './allow-list.ts';
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
import { listenInNamespace, proxyPort } from './sandbox-side.ts';
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

/** The one way out of a command's sandbox. */
export interface Egress {
  /** Closes it and says what was asked of it. */
  finish(): Promise<EgressSummary>;
}

/**
 * Opens the way out while the command is still held: a proxy of this process, which listens in the network namespace of
 * each of its sandboxes. Throws SANDBOX_UNAVAILABLE; nothing stays open then.
 * @param hosts lists that must all name where a request goes
 * @param onFault told of faults of the proxy itself, each of which has cost one connection
 */
export async function openEgress(
  inits: Promise<readonly number[]>,
  hosts: readonly (readonly EgressHost[])[],
  onFault: (error: unknown) => void,
): Promise<Egress> {
  const proxy = createEgressProxy({ allow: createAllowList(hosts), onFault });
  try {
    await listen(proxy, await inits);
  } catch (error) {
    await proxy.close();
    throw error;
  }
  return {
    async finish() {
      await proxy.close();
      return proxy.summary();
    },
  };
}

// All are waited for, whatever becomes of the first: a listener keeps its network namespace alive until it is closed.
async function listen(proxy: EgressProxy, pids: readonly number[]): Promise<void> {
  if (pids.length === 0) throw new CscError('SANDBOX_UNAVAILABLE', 'its sandbox was not built');
  const listening = await Promise.allSettled(
    pids.map((pid) => listenInNamespace({ pid, port: proxyPort }).then((server) => proxy.serve(server))),
  );
  const failed = listening.find((result) => result.status === 'rejected');
  if (failed !== undefined) throw failed.reason;
}
