import type { Socket } from 'node:net';
import type { HostPort } from './http-head.ts';
import type { EgressProtocol } from './refusal.ts';
import type { Dialled, Route, RouteResult } from './route.ts';
import type { VerdictLog } from './verdicts.ts';

/** What the parts of one proxy share. */
export interface FrontPorts {
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
interface Connection {
  destroy(): unknown;
}

/** A tunnel whose client speaks HTTP: every request in it goes to this host. */
export interface HttpTunnel {
  /** How the tunnel was asked for. */
  readonly protocol: EgressProtocol;
  readonly target: HostPort;
  /** Connects to the addresses that were checked as the tunnel was made. */
  dial(): Promise<Dialled>;
  /** Lets go of what was connected and never used. */
  close(): void;
}

/** Takes over a connection whose client speaks HTTP; `first` is what it has sent already. */
export type ServeHttp = (socket: Socket, first: Buffer, tunnel?: HttpTunnel) => void;

/** What one proxy gives its clients at most. */
export interface EgressLimits {
  /** Connections of clients at once. */
  readonly connections: number;
  /** Until a connection has said all of what it wants, and between two requests of it. Milliseconds. */
  readonly headerMs: number;
  /** Without a byte in either direction. Milliseconds. */
  readonly idleMs: number;
  /** Until a name is resolved, and until an address of it has answered. Milliseconds. */
  readonly connectMs: number;
  /** Names resolved at once: each may hold a thread of the process. */
  readonly lookups: number;
  /** Of an HTTP request's head. */
  readonly headerBytes: number;
}

/** Unless the caller says otherwise. */
export const defaultEgressLimits: EgressLimits = {
  connections: 256,
  headerMs: 30_000,
  idleMs: 600_000,
  connectMs: 10_000,
  lookups: 2,
  headerBytes: 16_384,
};
