import type { Identity } from '@csc-fleet/common/identity';
import type { ConnectResponse, Hello } from '@csc-fleet/common/messages';

/** How a peer is reached. */
export interface PeerWay {
  readonly send: (message: ConnectResponse) => void;
  readonly ask: () => void;
}

/** An executor that is connected, as placement sees it. */
export class Peer {
  /** Its whole SPIFFE id: what it is known by wherever it is compared or stored. */
  readonly id: string;
  /** The NAME in it: for people, and what tickets and receipts call it, as it does itself. */
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly slots: number;
  readonly executionMode: string;
  readonly receiptKeyId: string;
  /** Executions offered to it or running on it. */
  readonly assigned = new Set<string>();
  readonly #policies: ReadonlySet<string>;
  readonly #way: PeerWay;
  /** Offers that it has left without an answer for too long: it gets no others before it gives one. */
  readonly unanswered = new Set<string>();
  /** When it was last heard, with all that it had said before being taken; milliseconds of the monotonic clock. */
  heardAt = 0;
  /** It is stopping, and takes nothing more over this connection. */
  draining = false;
  /** Is left alone for a while, over whichever connection: see Rests. */
  paused = false;

  constructor({ uri, name }: Identity, hello: Hello, way: PeerWay) {
    this.id = uri;
    this.name = name;
    this.labels = hello.labels;
    this.slots = Math.max(0, hello.slots);
    this.executionMode = hello.executionMode;
    this.receiptKeyId = hello.receiptKeyId;
    this.#policies = new Set(hello.policySha256s);
    this.#way = way;
  }

  /** Takes nothing now. */
  get resting(): boolean {
    return this.draining || this.paused;
  }

  get free(): number {
    return this.resting || this.unanswered.size > 0 ? 0 : this.slots - this.assigned.size;
  }

  /** True where it has every label asked for and holds the policy. */
  fits(selector: Readonly<Record<string, string>>, policySha256: string): boolean {
    return (
      this.#policies.has(policySha256) &&
      Object.entries(selector).every(([name, value]) => this.labels[name] === value)
    );
  }

  send(message: NonNullable<ConnectResponse['message']>): void {
    this.#way.send({ message });
  }

  /** Has it heard, where the transport can, and sets `heardAt` when that has worked. */
  ask(): void {
    this.#way.ask();
  }
}
