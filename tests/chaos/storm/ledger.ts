import type { Manner, Place } from './work.ts';

/** What a client writes down of one call, a line of JSON each. */
export interface Entry {
  readonly key: string;
  readonly principal: string;
  readonly manner: Manner;
  /** `asked again`: after the storm, with the same key. */
  readonly when: 'in the storm' | 'asked again';
  readonly beganMs: number;
  readonly endedMs: number;
  readonly end: Ended | Failed;
}

/** The call ended with a receipt, which the client has verified. */
export interface Ended {
  readonly kind: 'receipt';
  readonly executionId: string;
  readonly status: string;
  readonly ended: string;
  readonly exitCode: number | undefined;
  /** Of the receipt; empty: none. */
  readonly error: string;
  readonly signedBy: string;
  readonly receiptSha256: string;
  /** Of what the handlers were given. */
  readonly stdoutBytes: number;
  readonly stderrBytes: number;
  /** What was wrong with the bytes; empty: nothing. */
  readonly wrong: string;
}

/** The call ended with an error. */
export interface Failed {
  readonly kind: 'error';
  readonly executionId: string | undefined;
  readonly code: string;
  readonly message: string;
  readonly idempotencyKey: string | undefined;
}

/** What the parent tells a process of clients. */
export interface ClientsConfig {
  readonly address: string;
  /** The gate's own address, for what is asked after the storm. */
  readonly tls: Readonly<Record<string, { ca: string; cert: string; key: string }>>;
  readonly seed: string;
  /** Calls at once, of each principal. */
  readonly width: number;
  readonly ledger: string;
  readonly place: Place;
  /** Of this process: keys of two processes are never the same. */
  readonly name: string;
}
