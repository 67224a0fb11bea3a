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
export const defaultLimits: EgressLimits = {
  connections: 256,
  headerMs: 30_000,
  idleMs: 600_000,
  connectMs: 10_000,
  lookups: 2,
  headerBytes: 16_384,
};
