/** Milliseconds that a host is passed over after its first fault, and at most. */
const firstMs = 5_000;
const longestMs = 60_000;
/** How long one execution may take to show whether the host is well again; then the next one does. */
const probeMs = 30_000;
/** Principals whose faults on one host are remembered. */
const mostPrincipals = 1_000;

/** What a host had to refuse, although nothing was wrong with what it was given. */
export interface Fault {
  /** Of the reasons table, in words for people. */
  readonly why: string;
}

interface Breaker {
  faults: number;
  why: string;
  /** Until then it is passed over; milliseconds of the monotonic clock. */
  until: number;
  /** Something went there since it was passed over last. */
  isTried: boolean;
}

/**
 * Circuit breakers: a host that refuses what it was given for a fault of its own (sandbox, descriptors, memory, disk,
 * policy version) would take the whole queue, as it is always the least loaded. It is passed over for a while, the longer
 * the more often in a row, and then shown one execution at a time until it has started one. Counted by principal: nobody can
 * take a host from others with contracts that make it fail.
 */
export class Breakers {
  readonly #breakers = new Map<string, Map<string, Breaker>>();
  readonly #monotonicMs: () => number;
  readonly #onHalfOpen: () => void;

  /** @param onHalfOpen when a host may be tried again */
  constructor(monotonicMs: () => number, onHalfOpen: () => void) {
    this.#monotonicMs = monotonicMs;
    this.#onHalfOpen = onHalfOpen;
  }

  /** The host had to refuse something of this principal's. Gives for how many milliseconds it is passed over. */
  trip(executorId: string, principal: string, { why }: Fault): number {
    const breaker = this.#breaker(executorId, principal);
    breaker.why = why;
    // It had this before the one that it is passed over for came back: all that a host has at a time fails of one fault.
    const leftMs = breaker.until - this.#monotonicMs();
    if (leftMs > 0 && !breaker.isTried) return leftMs;
    breaker.faults += 1;
    breaker.isTried = false;
    const ms = Math.min(firstMs * 2 ** (breaker.faults - 1), longestMs);
    breaker.until = this.#monotonicMs() + ms;
    setTimeout(this.#onHalfOpen, ms).unref();
    return ms;
  }

  /** True where it has had to refuse something of this principal's, and has started nothing of theirs since. */
  isStanding(executorId: string, principal: string): boolean {
    return this.#breakers.get(executorId)?.has(principal) === true;
  }

  /** True where the principal's executions pass this host over now. */
  isOpen(executorId: string, principal: string): boolean {
    const until = this.#breakers.get(executorId)?.get(principal)?.until;
    return until !== undefined && until > this.#monotonicMs();
  }

  /** Something of this principal's goes to the host: where that had failed, it is the one that shows whether it is well. */
  tried(executorId: string, principal: string): void {
    const breaker = this.#breakers.get(executorId)?.get(principal);
    if (breaker === undefined) return;
    breaker.until = this.#monotonicMs() + probeMs;
    breaker.isTried = true;
    setTimeout(this.#onHalfOpen, probeMs).unref();
  }

  /** It has started something of this principal's: it is well. */
  close(executorId: string, principal: string): void {
    const ofHost = this.#breakers.get(executorId);
    if (ofHost?.delete(principal) === true && ofHost.size === 0) this.#breakers.delete(executorId);
  }

  /** It has connected anew, so that somebody may have mended it: it is tried at once. */
  reconnected(executorId: string): void {
    for (const breaker of this.#breakers.get(executorId)?.values() ?? []) breaker.until = 0;
  }

  /** Why the host is passed over, of the principals that it is passed over for. Empty where it is well. */
  faultsOf(executorId: string): readonly { readonly principal: string; readonly why: string }[] {
    const ofHost = this.#breakers.get(executorId) ?? new Map<string, Breaker>();
    return [...ofHost].map(([principal, { why }]) => ({ principal, why }));
  }

  #breaker(executorId: string, principal: string): Breaker {
    const ofHost = this.#breakers.get(executorId) ?? new Map<string, Breaker>();
    this.#breakers.set(executorId, ofHost);
    const known = ofHost.get(principal);
    if (known !== undefined) return known;
    const [oldest] = ofHost.keys();
    if (ofHost.size >= mostPrincipals && oldest !== undefined) ofHost.delete(oldest);
    const breaker = { faults: 0, why: '', until: 0, isTried: false };
    ofHost.set(principal, breaker);
    return breaker;
  }
}
