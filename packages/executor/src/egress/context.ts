import type { Socket } from 'node:net';
import type { Dialled } from './dial.ts';
import type { HostPort } from './http-target.ts';
import type { EgressLimits } from './limits.ts';
import type { Route, RouteResult } from './route.ts';
import type { VerdictLog } from './verdict-log.ts';

/** What the parts of one proxy share. */
export interface ProxyContext {
  readonly log: VerdictLog;
  readonly limits: EgressLimits;
  /** Judges a request, and resolves what it asks for. */
  findRoute(target: HostPort): Promise<RouteResult>;
  /** Connects to what was judged. */
  dial(route: Route): Promise<Dialled>;
  /**
   * The error boundary that every handler of this proxy has: what it throws, or rejects with, is reported and ends these
   * connections, and no others.
   */
  guard<Given extends readonly unknown[]>(
    connections: readonly Connection[],
    handler: (...given: Given) => unknown,
  ): (...given: Given) => void;
}

/** What a fault ends. */
export interface Connection {
  destroy(): unknown;
}

/** A tunnel whose client speaks HTTP: every request in it goes to this host. */
export interface HttpTunnel {
  readonly target: HostPort;
  /** Connects to the addresses that were checked as the tunnel was made. */
  dial(): Promise<Dialled>;
  /** Lets go of what was connected and never used. */
  close(): void;
}

/** Takes over a connection whose client speaks HTTP; `first` is what it has sent already. */
export type ServeHttp = (socket: Socket, first: Buffer, tunnel?: HttpTunnel) => void;
