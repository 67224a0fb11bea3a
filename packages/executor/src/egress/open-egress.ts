import { CscError } from '@csc-fleet/common/errors';
import type { EgressHost } from '@csc-fleet/common/schema';
import { parseEgressLists } from './allow-list.ts';
import { type ProxyProcess, type ProxyWorkshop, startProxy } from './proxy-process.ts';
import type { ProxyWord } from './proxy-words.ts';
import { type HeldListener, listenInNamespace, proxyPort } from './sandbox-side.ts';
import { type EgressSummary, VerdictCounts } from './verdicts.ts';

/** The one way out of a command's sandbox. */
export interface Egress {
  /** Closes it and says what was asked of it. */
  finish(): Promise<EgressSummary>;
}

/**
 * Opens the way out while the command is still held. Throws SANDBOX_UNAVAILABLE; nothing stays open then.
 * @param inits the sandboxes, in whose network namespaces the proxy listens
 * @param hosts lists that must all name where a request goes
 * @param onFault told of faults of the proxy, each of which has cost one connection, and of its end before the command's,
 *   which has cost all that were open
 */
export type OpenEgress = (
  inits: Promise<readonly number[]>,
  hosts: readonly (readonly EgressHost[])[],
  onFault: (error: unknown) => void,
) => Promise<Egress>;

/** The way out of a host that has none. */
export const noEgress: OpenEgress = async () => {
  throw new CscError('SANDBOX_UNAVAILABLE', 'without a sandbox there is no way out of one', {
    isLasting: true,
  });
};

/** Every command has a proxy of its own, in a process of its own, which ends with it. */
export function createEgress(workshop: ProxyWorkshop): OpenEgress {
  return async (inits, hosts, onFault) => {
    const lists = parseEgressLists(hosts);
    const listeners = await listen(await inits);
    const way = new WayOut((hear) => startProxy(workshop, { lists, listeners }, hear), onFault);
    const close = (): void => {
      for (const listener of listeners) listener.close();
    };
    try {
      await way.open();
    } catch (error) {
      close();
      throw error;
    }
    return {
      async finish() {
        const summary = await way.finish();
        close();
        return summary;
      },
    };
  };
}

// All are waited for, whatever becomes of the first: a listener keeps its network namespace alive until it is closed.
async function listen(pids: readonly number[]): Promise<HeldListener[]> {
  if (pids.length === 0) throw new CscError('SANDBOX_UNAVAILABLE', 'its sandbox was not built');
  const results = await Promise.allSettled(pids.map((pid) => listenInNamespace({ pid, port: proxyPort })));
  const listening = results.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
  const failed = results.find((result) => result.status === 'rejected');
  if (failed === undefined) return listening;
  for (const listener of listening) listener.close();
  throw failed.reason;
}

// A proxy that a job can bring down at once would keep a host busy with starting others.
const mostStarts = 16;
// Of one command, by all of its proxies: one that is taken over would fill this host's log with what it likes.
const mostFaults = 64;

/** A proxy, and the next one where it ends before its command: the sockets are held here, so that a job finds it again. */
class WayOut {
  readonly #start: (hear: (word: ProxyWord) => void) => ProxyProcess;
  readonly #onFault: (error: unknown) => void;
  readonly #counts = new VerdictCounts();
  #starts = 0;
  #faults = 0;
  #isOver = false;
  #proxy: ProxyProcess | undefined;

  constructor(start: (hear: (word: ProxyWord) => void) => ProxyProcess, onFault: (error: unknown) => void) {
    this.#start = start;
    this.#onFault = onFault;
  }

  async open(): Promise<void> {
    const proxy = this.#begin();
    await proxy.ready;
    void this.#follow(proxy);
  }

  async finish(): Promise<EgressSummary> {
    this.#isOver = true;
    await this.#proxy?.stop();
    return this.#counts.summary();
  }

  #begin(): ProxyProcess {
    this.#starts += 1;
    this.#proxy = this.#start((word) => {
      if ('fault' in word) this.#fault(word.fault);
      else if ('host' in word)
        this.#counts.add({ ...word, verdict: word.reason === undefined ? 'allowed' : 'denied' });
    });
    return this.#proxy;
  }

  #fault(text: string): void {
    this.#faults += 1;
    if (this.#faults <= mostFaults) this.#onFault(new Error(text));
  }

  // Out of descriptors, for example: the command goes on without a way out.
  #beginAgain(): ProxyProcess | undefined {
    try {
      return this.#begin();
    } catch (error) {
      this.#onFault(error);
      return undefined;
    }
  }

  async #follow(first: ProxyProcess): Promise<void> {
    for (let proxy: ProxyProcess | undefined = first; proxy !== undefined; proxy = this.#beginAgain()) {
      const why = await proxy.ended;
      if (this.#isOver) return;
      // What it had let through and not said by then cannot be known.
      this.#counts.lose();
      this.#onFault(new Error(`the process of the proxy ended before its command: ${why}`));
      if (this.#starts >= mostStarts) return;
    }
  }
}
