import type { ConnectResponse, Hello } from '@csc-fleet/common/messages';

/** An executor that is connected, as placement sees it. */
export class Peer {
  readonly id: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly slots: number;
  readonly executionMode: string;
  readonly receiptKeyId: string;
  /** Executions offered to it or running on it. */
  readonly assigned = new Set<string>();
  readonly #policies: ReadonlySet<string>;
  readonly #send: (message: ConnectResponse) => void;
  /** Takes nothing now: it is stopping, or has no room. */
  resting = false;

  constructor(id: string, hello: Hello, send: (message: ConnectResponse) => void) {
    this.id = id;
    this.labels = hello.labels;
    this.slots = Math.max(0, hello.slots);
    this.executionMode = hello.executionMode;
    this.receiptKeyId = hello.receiptKeyId;
    this.#policies = new Set(hello.policySha256s);
    this.#send = send;
  }

  get free(): number {
    return this.resting ? 0 : this.slots - this.assigned.size;
  }

  /** True where it has every label asked for and holds the policy. */
  fits(selector: Readonly<Record<string, string>>, policySha256: string): boolean {
    return (
      this.#policies.has(policySha256) &&
      Object.entries(selector).every(([name, value]) => this.labels[name] === value)
    );
  }

  send(message: NonNullable<ConnectResponse['message']>): void {
    this.#send({ message });
  }
}
