const prefixBytes = 5;
// A chunk keeps the whole piece of memory that it was read into. A byte that came alone can so hold sixteen thousand.
const smallChunk = 1024;

/**
 * Follows the messages of one gRPC stream (a flag, a length of four bytes, the message:
 * https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md) without keeping any of it.
 */
export class MessageMeter {
  /** Memory that is held of the message that is not whole yet. */
  held = 0;
  /** Bytes that it will have; 0 where its length is not known yet, or no message has begun. */
  announced = 0;
  /** Messages that are whole. */
  whole = 0;
  /** Bytes of those. */
  wholeBytes = 0;
  /** True once a message came compressed. */
  compressed = false;
  readonly #prefix = Buffer.alloc(prefixBytes);
  #prefixHave = 0;
  #missing = 0;

  /** True while a message has begun and is not whole. */
  get partial(): boolean {
    return this.#prefixHave > 0;
  }

  take(chunk: Buffer): void {
    for (let at = 0; at < chunk.length; ) {
      at += this.#prefixHave < prefixBytes ? this.#takePrefix(chunk, at) : this.#takeBody(chunk, at);
    }
    if (this.partial) this.held += chunk.length < smallChunk ? chunk.buffer.byteLength : chunk.length;
  }

  #takePrefix(chunk: Buffer, at: number): number {
    const copied = chunk.copy(this.#prefix, this.#prefixHave, at, at + prefixBytes - this.#prefixHave);
    this.#prefixHave += copied;
    if (this.#prefixHave < prefixBytes) return copied;
    this.compressed ||= this.#prefix[0] !== 0;
    this.announced = this.#prefix.readUInt32BE(1);
    this.#missing = this.announced;
    if (this.#missing === 0) this.#finish();
    return copied;
  }

  #takeBody(chunk: Buffer, at: number): number {
    const taken = Math.min(this.#missing, chunk.length - at);
    this.#missing -= taken;
    if (this.#missing === 0) this.#finish();
    return taken;
  }

  #finish(): void {
    this.whole += 1;
    this.wholeBytes += this.announced;
    this.held = 0;
    this.announced = 0;
    this.#prefixHave = 0;
  }
}
