import type { DenialReason } from './refusal.ts';

/** How a request came. */
export type EgressProtocol = 'connect' | 'http' | 'socks5';

/** What became of one request. */
export interface EgressVerdict {
  readonly at: Date;
  readonly protocol: EgressProtocol;
  /** As it was asked for, where that is no name; at most 253 characters, all of them printable ASCII. */
  readonly host: string;
  /** 0 where none was asked for. */
  readonly port: number;
  readonly verdict: 'allowed' | 'denied';
  /** Absent where it was allowed. */
  readonly reason?: DenialReason;
}

/** Equal verdicts, counted. */
export interface EgressHostCount {
  readonly host: string;
  readonly port: number;
  readonly verdict: 'allowed' | 'denied';
  readonly reason?: string;
  readonly count: number;
}

/** What was asked of a proxy, for the receipt. */
export interface EgressSummary {
  readonly allowed: number;
  readonly denied: number;
  /** At most 64: what was allowed first, then the most frequent. */
  readonly hosts: EgressHostCount[];
  /** What `hosts` has no room for. Absent: nothing. */
  readonly omitted?: number;
}
