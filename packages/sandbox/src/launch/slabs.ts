/** The most that is read at once, in bytes: what a pipe of csc-launcher's holds (serve.c, PIPE_BYTES). */
const readBytes = 256 * 1024;
const slabBytes = 2 * readBytes;
// Most commands say little: their memory should be small change as well.
const firstSlabBytes = 16 * 1024;
// A read of less than this is not worth its system call.
const leastBytes = 8 * 1024;
const spareSlabs = 4;

interface Slab {
  readonly memory: Buffer;
  used: number;
  /** Chunks that were not given back yet. */
  lent: number;
}

/**
 * Memory for what is read, cut from larger pieces: a chunk takes what it holds and no more, and pieces whose chunks have
 * all been given back are used again. Fresh memory for each read would be collected only when tens of megabytes of it
 * have gathered.
 */
export class Slabs {
  readonly #spare: Slab[] = [];
  readonly #byMemory = new WeakMap<ArrayBufferLike, Slab>();
  #current: Slab = this.#make(firstSlabBytes);

  /** Where the next read may put its bytes: 8 to 256 KiB. */
  room(): Buffer {
    if (this.#current.memory.length - this.#current.used < leastBytes) this.#current = this.#next();
    const { memory, used } = this.#current;
    return memory.subarray(used, used + readBytes);
  }

  /** The first `length` bytes of the room, which were read. */
  take(length: number): Buffer {
    const slab = this.#current;
    const chunk = slab.memory.subarray(slab.used, slab.used + length);
    slab.used += length;
    slab.lent += 1;
    return chunk;
  }

  /** Gives a chunk back, at most once. Who does not, leaves it to the garbage collector. */
  giveBack(chunk: Buffer): void {
    const slab = this.#byMemory.get(chunk.buffer);
    if (slab === undefined) return;
    slab.lent -= 1;
    // The current one is being read into.
    if (slab.lent > 0 || slab === this.#current || slab.memory.length < slabBytes) return;
    if (this.#spare.length < spareSlabs) this.#spare.push(slab);
  }

  #next(): Slab {
    const { memory, lent } = this.#current;
    const isFree = lent === 0 && memory.length === slabBytes;
    const slab = isFree ? this.#current : (this.#spare.pop() ?? this.#make(slabBytes));
    slab.used = 0;
    return slab;
  }

  #make(bytes: number): Slab {
    const slab: Slab = { memory: Buffer.allocUnsafeSlow(bytes), used: 0, lent: 0 };
    this.#byMemory.set(slab.memory.buffer, slab);
    return slab;
  }
}
