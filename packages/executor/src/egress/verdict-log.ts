import { parseAuthority } from './host-name.ts';
import type { DenialReason } from './refusal.ts';
import { VerdictCounts } from './summary.ts';
import type { EgressProtocol, EgressSummary, EgressVerdict } from './verdict.ts';

/** What a request asked for, as far as it is known. */
export interface Asked {
  readonly protocol: EgressProtocol;
  /** Whatever the requester wrote; empty where it did not come that far. */
  readonly host: string;
  /** 0 where it did not come that far. */
  readonly port: number;
}

/** Takes down what becomes of every request. */
export interface VerdictLog {
  allow(asked: Asked): void;
  deny(asked: Asked, reason: DenialReason): void;
  summary(): EgressSummary;
}

/** @param onVerdict called for each, in order; must not throw */
export function createVerdictLog(onVerdict: (verdict: EgressVerdict) => void = () => {}): VerdictLog {
  const counts = new VerdictCounts();
  const add = ({ protocol, host, port }: Asked, reason?: DenialReason): void => {
    const common = { at: new Date(), protocol, host: printableHost(host), port };
    const verdict: EgressVerdict =
      reason === undefined ? { ...common, verdict: 'allowed' } : { ...common, verdict: 'denied', reason };
    counts.add(verdict);
    onVerdict(verdict);
  };
  return { allow: (asked) => add(asked), deny: add, summary: () => counts.summary() };
}

/** What an authority that may be anything is logged as: its name and port, or its text and port 0. */
export function describeAuthority(text: string, defaultPort?: number): Pick<Asked, 'host' | 'port'> {
  const authority = parseAuthority(text, defaultPort);
  if (authority.ok) return { host: authority.name, port: authority.port };
  // A user's name and password are nobody's business in a receipt.
  const bare = text.replace(/^.*@/s, '*@');
  const [, host = bare, port = '0'] = /^(.*):(\d{1,5})$/s.exec(bare) ?? [];
  return Number(port) <= 65_535 ? { host, port: Number(port) } : { host: bare, port: 0 };
}

/** What goes into receipts, logs and answers can neither fill them nor act on a terminal. */
export function printableHost(host: string): string {
  const shown = host.slice(0, 253).replace(/[^\x21-\x7e]/g, '?');
  return shown === '' ? '(none)' : shown;
}
