import type { ConnectRequest } from '@csc-fleet/common/messages';

/** What is said to the gate. */
export type LinkMessage = NonNullable<ConnectRequest['message']>;
/** The way to the gate while there is one. */
export type Send = (message: ConnectRequest) => void;

/** Keeps what cannot be said now until it can. */
export class Outbox {
  #send: Send | undefined;
  #queue: LinkMessage[] = [];

  /** False: the gate does not hear us now. */
  get isOpen(): boolean {
    return this.#send !== undefined;
  }

  /** Says at once what has waited. */
  open(send: Send): void {
    this.#send = send;
    const queue = this.#queue;
    this.#queue = [];
    for (const message of queue) send({ message });
  }

  close(): void {
    this.#send = undefined;
  }

  /** A Hello is about to be said: it tells by itself of every offer that was refused until now. */
  forgetRefusals(): void {
    this.#queue = this.#queue.filter(({ $case }) => $case !== 'refused');
  }

  /** Now, or once the link is open again. */
  post(message: LinkMessage): void {
    if (this.#send === undefined) this.#queue.push(message);
    else this.#send({ message });
  }
}
