import { ConnectRequest } from '@csc-fleet/common/messages';

/** What is said to the gate. */
export type LinkMessage = NonNullable<ConnectRequest['message']>;
/**
 * The way to the gate while there is one. Gives false where it has taken the message and wants to be spared more until it
 * says that it has drained; anything else means that more may come.
 */
export type Send = (message: ConnectRequest) => unknown;

interface Waiting {
  readonly message: LinkMessage;
  readonly bytes: number;
}

/** Bytes that may wait for the gate. A gate that does not read is no reason to fill this host's memory. */
export const maxWaitingBytes = 8 * 1024 * 1024;
// What a message costs in memory beside its text.
const messageCost = 256;
// How long what nobody waits for is held for company, in milliseconds: a person does not see it, and a short command is
// over by then.
const heldMs = 5;

/** Keeps what cannot be said now until it can, within bounds. */
export class Outbox {
  #send: Send | undefined;
  #isFull = false;
  #queue: Waiting[] = [];
  #bytes = 0;
  /** Said with what is said next; empty unless there is room. */
  #held: LinkMessage[] = [];
  #holding: NodeJS.Timeout | undefined;
  #timesOpened = 0;
  #openedAt = 0;
  #openMs = 0;
  #onOverflow: (() => void) | undefined;
  #onRoom: () => void = () => undefined;

  /** False: the gate does not hear us now. */
  get isOpen(): boolean {
    return this.#send !== undefined;
  }

  /** How often the gate was there, or there again. */
  get timesOpened(): number {
    return this.#timesOpened;
  }

  /** How long the gate has been there, in all connections together, in milliseconds. */
  get openMs(): number {
    return this.#openMs + (this.isOpen ? performance.now() - this.#openedAt : 0);
  }

  /** Whether the next message goes out at once. */
  get hasRoom(): boolean {
    return this.isOpen && !this.#isFull;
  }

  /** Called whenever there is room again, and nothing that waits for it here. */
  onRoom(listener: () => void): void {
    this.#onRoom = listener;
  }

  /** Bytes that wait. */
  get waitingBytes(): number {
    return this.#bytes;
  }

  /**
   * A connection begins with a Hello, which tells by itself of every offer that was refused until now.
   * @param onOverflow called where more waits than may: the connection has to end
   */
  begin(onOverflow: () => void): void {
    this.#onOverflow = onOverflow;
    this.#forget(({ $case }) => $case === 'refused');
  }

  /** Says what has waited, as far as the way takes it. */
  open(send: Send): void {
    this.#openMs = this.openMs;
    this.#openedAt = performance.now();
    this.#send = send;
    this.#timesOpened += 1;
    this.#isFull = false;
    this.#sayWaiting();
  }

  /** The way takes more. */
  drained(): void {
    this.#isFull = false;
    this.#sayWaiting();
    if (this.hasRoom) this.#onRoom();
  }

  close(): void {
    for (const message of this.#takeHeld()) this.#wait(message);
    this.#openMs = this.openMs;
    this.#send = undefined;
    this.#onOverflow = undefined;
  }

  /** Now, or once the link is open again. */
  post(message: LinkMessage): void {
    this.#sayHeld();
    this.#sayOrWait(message);
  }

  /**
   * The same for what nobody waits for: it goes out just before the next message, or after a moment. A message that
   * goes out alone costs the gate and this host more than what it says.
   */
  postSoon(message: LinkMessage): void {
    this.#held.push(message);
    if (this.hasRoom) this.#holding ??= setTimeout(() => this.#sayHeld(), heldMs);
    else this.#sayHeld();
  }

  #sayHeld(): void {
    for (const message of this.#takeHeld()) this.#sayOrWait(message);
  }

  #takeHeld(): readonly LinkMessage[] {
    clearTimeout(this.#holding);
    this.#holding = undefined;
    return this.#held.splice(0);
  }

  #sayOrWait(message: LinkMessage): void {
    if (this.hasRoom) this.#say(message);
    // With no connection, the next one's Hello tells of it.
    else if (this.#onOverflow !== undefined || message.$case !== 'refused') this.#wait(message);
  }

  #sayWaiting(): void {
    let said = 0;
    for (const { message, bytes } of this.#queue) {
      if (!this.hasRoom) break;
      said += 1;
      this.#bytes -= bytes;
      this.#say(message);
    }
    this.#queue.splice(0, said);
  }

  #wait(message: LinkMessage): void {
    const bytes = ConnectRequest.encode({ message }).finish().length + messageCost;
    this.#queue.push({ message, bytes });
    this.#bytes += bytes;
    if (this.#bytes > maxWaitingBytes) this.#overflow();
  }

  #say(message: LinkMessage): void {
    this.#isFull = this.#send?.({ message }) === false;
  }

  // A Hello tells of refusals; of the rest the newest counts most, and the receipt says it all.
  #overflow(): void {
    this.#forget(({ $case }) => $case === 'refused');
    while (this.#bytes > maxWaitingBytes) this.#bytes -= this.#queue.shift()?.bytes ?? 0;
    this.#onOverflow?.();
  }

  #forget(goes: (message: LinkMessage) => boolean): void {
    this.#queue = this.#queue.filter(({ message }) => !goes(message));
    this.#bytes = this.#queue.reduce((sum, { bytes }) => sum + bytes, 0);
  }
}
