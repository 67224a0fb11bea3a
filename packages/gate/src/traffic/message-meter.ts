const prefixBytes = 5;
// A chunk keeps the whole piece of memory that it was read into. A byte that came alone can so hold sixteen thousand.
const smallChunk = 1024;

/**
 * Follows the messages of one gRPC stream (a flag, a length of four bytes, the message:
 * https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md) without keeping any of it.
 */
export class MessageMeter {
  /** Memory that is held of what is waited for: the rest of a message or, of a call of one message, its end. */
  held = 0;
  /** Bytes that it will have; 0 where the length is not known yet, or nothing is waited for. */
  announced = 0;
  /** Messages that are whole. */
  whole = 0;
  /** Bytes of those. */
  wholeBytes = 0;
  /** True once a message came compressed. */
  compressed = false;
  readonly #untilEnd: boolean;
  #prefixHave = 0;
  #missing = 0;
  #length = 0;

  /** @param untilEnd true for a call of one message, which is kept until its caller has ended: a whole one is held, too */
  constructor(untilEnd: boolean) {
    this.#untilEnd = untilEnd;
  }

  /** True while a message has begun and is not whole. */
  get partial(): boolean {
    return this.#prefixHave > 0;
  }

  /** Whether it waits for more from its caller. */
  get isOpen(): boolean {
    return this.partial || this.announced > 0;
  }

  /** Its caller sends no more. */
  end(): void {
    this.held = 0;
    this.announced = 0;
  }

  take(chunk: Buffer): void {
    for (let at = 0; at < chunk.length; ) {
      at += this.#prefixHave < prefixBytes ? this.#takePrefix(chunk, at) : this.#takeBody(chunk, at);
    }
    if (this.isOpen) this.held += chunk.length < smallChunk ? chunk.buffer.byteLength : chunk.length;
  }

  #takePrefix(chunk: Buffer, at: number): number {
    const taken = Math.min(prefixBytes - this.#prefixHave, chunk.length - at);
    for (let next = at; next < at + taken; next++) this.#takePrefixByte(chunk[next] ?? 0);
    if (this.#prefixHave < prefixBytes) return taken;
    this.announced = this.#untilEnd ? this.announced + this.#length : this.#length;
    this.#missing = this.#length;
    if (this.#missing === 0) this.#finish();
    return taken;
  }

  // Not kept in a Buffer: there is one of these for as long as a stream is open, and a Buffer's memory is twenty times
  // its five bytes.
  #takePrefixByte(byte: number): void {
    if (this.#prefixHave === 0) {
      this.compressed ||= byte !== 0;
      this.#length = 0;
    } else this.#length = this.#length * 256 + byte;
    this.#prefixHave += 1;
  }

  #takeBody(chunk: Buffer, at: number): number {
    const taken = Math.min(this.#missing, chunk.length - at);
    this.#missing -= taken;
    if (this.#missing === 0) this.#finish();
    return taken;
  }

  #finish(): void {
    this.whole += 1;
    this.wholeBytes += this.#length;
    this.#prefixHave = 0;
    if (!this.#untilEnd) this.end();
  }
}
