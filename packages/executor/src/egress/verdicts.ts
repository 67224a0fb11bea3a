import { type Asked, type DenialReason, type EgressProtocol, printableHost } from './refusal.ts';

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

const shownHosts = 64;
// A job can ask for as many names as it likes: of more than these, of each verdict, only the number is keptHosts.
const keptHosts = 2048;

/** Counts verdicts. Its memory is bounded, whatever is asked for. */
export class VerdictCounts {
  // Apart, so that no number of denied requests leaves no room for one that was let through.
  readonly #counts = {
    allowed: new Map<string, EgressHostCount>(),
    denied: new Map<string, EgressHostCount>(),
  };
  readonly #totals = { allowed: 0, denied: 0 };
  #omitted = 0;

  add({ host, port, verdict, reason }: Omit<EgressVerdict, 'at' | 'protocol'>): void {
    this.#totals[verdict] += 1;
    this.#count({ host, port, verdict, ...(reason === undefined ? {} : { reason }), count: 1 });
  }

  /** Says that a proxy ended before its time: what it had let through last may be missing. */
  lose(): void {
    this.add({ host: '(proxy)', port: 0, verdict: 'denied', reason: 'proxy_lost' });
  }

  /** Adds what another proxy has counted. */
  merge({ allowed, denied, hosts, omitted = 0 }: EgressSummary): void {
    this.#totals.allowed += allowed;
    this.#totals.denied += denied;
    this.#omitted += omitted;
    for (const entry of hosts) this.#count(entry);
  }

  summary(): EgressSummary {
    const { allowed, denied } = this.#counts;
    const all = [...allowed.values(), ...denied.values()].sort(compare);
    const omitted = this.#omitted + Math.max(0, all.length - shownHosts);
    const totals = { ...this.#totals, hosts: all.slice(0, shownHosts) };
    return omitted === 0 ? totals : { ...totals, omitted };
  }

  #count(entry: EgressHostCount): void {
    const counts = this.#counts[entry.verdict];
    const key = JSON.stringify([entry.host, entry.port, entry.reason]);
    const before = counts.get(key);
    if (before !== undefined) counts.set(key, { ...before, count: before.count + entry.count });
    else if (counts.size < keptHosts) counts.set(key, entry);
    else this.#omitted += 1;
  }
}

/** One summary of several proxies, as the segments of a pipeline have. */
export function mergeSummaries(summaries: readonly EgressSummary[]): EgressSummary {
  const counts = new VerdictCounts();
  for (const summary of summaries) counts.merge(summary);
  return counts.summary();
}

// Nothing that was denied, in whatever number, pushes out what was let through.
function compare(a: EgressHostCount, b: EgressHostCount): number {
  if (a.verdict !== b.verdict) return a.verdict === 'allowed' ? -1 : 1;
  if (a.count !== b.count) return b.count - a.count;
  return compareText(a.host, b.host) || a.port - b.port || compareText(a.reason ?? '', b.reason ?? '');
}

function compareText(a: string, b: string): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}
