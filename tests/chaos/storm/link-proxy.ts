import { once } from 'node:events';
import { connect as connectTcp, createServer, type Server, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

interface Pair {
  readonly near: Socket;
  readonly far: Socket;
}

/** A way between two parties that can be made as bad as networks are. It reads nothing of what passes. */
export class LinkProxy implements AsyncDisposable {
  readonly #server: Server;
  readonly #target: number;
  readonly #pairs = new Set<Pair>();
  #port = 0;
  #isStalled = false;
  #isRefusing = false;
  /** Bytes a second; 0: as they come. */
  #rate = 0;

  private constructor(target: number) {
    this.#target = target;
    // Half-open connections are one of the faults: nothing is ended here by itself.
    this.#server = createServer({ allowHalfOpen: true }, (near) => this.#accept(near));
  }

  /** @param target the port on loopback that is behind it */
  static async open(target: number): Promise<LinkProxy> {
    const proxy = new LinkProxy(target);
    proxy.#server.listen(0, '127.0.0.1');
    await once(proxy.#server, 'listening');
    const address = proxy.#server.address();
    if (address === null || typeof address === 'string') throw new Error('no port');
    proxy.#port = address.port;
    return proxy;
  }

  get address(): string {
    return `127.0.0.1:${this.#port}`;
  }

  /** Nothing passes, either way, and nothing ends; what was sent arrives later. */
  stall(): void {
    this.#isStalled = true;
    for (const { near, far } of this.#pairs) for (const socket of [near, far]) socket.pause();
  }

  /** Every connection is reset, on both sides; new ones are taken. */
  reset(): void {
    for (const { near, far } of this.#pairs) for (const socket of [near, far]) socket.resetAndDestroy();
  }

  /** One side of every connection is gone without the other hearing of it: a machine that lost its power. */
  orphan(side: 'near' | 'far'): void {
    for (const pair of this.#pairs) {
      const gone = pair[side];
      const left = side === 'near' ? pair.far : pair.near;
      left.unpipe();
      gone.unpipe();
      // It is read, so that it can send for ever, and hears nothing back.
      left.removeAllListeners('close').removeAllListeners('data').resume();
      gone.removeAllListeners('close').destroy();
      left.once('end', () => left.destroy()).once('close', () => this.#pairs.delete(pair));
    }
  }

  /** As little as this passes in a second. */
  throttle(bytesPerSecond: number): void {
    this.#rate = bytesPerSecond;
  }

  /** New connections are reset at once. */
  refuse(): void {
    this.#isRefusing = true;
    this.reset();
  }

  /** All passes again. */
  mend(): void {
    this.#isStalled = false;
    this.#isRefusing = false;
    this.#rate = 0;
    for (const { near, far } of this.#pairs) for (const socket of [near, far]) socket.resume();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const { near, far } of this.#pairs) for (const socket of [near, far]) socket.destroy();
    this.#server.close();
  }

  #accept(near: Socket): void {
    near.on('error', () => undefined);
    if (this.#isRefusing) {
      near.resetAndDestroy();
      return;
    }
    const far = connectTcp({ port: this.#target, host: '127.0.0.1', allowHalfOpen: true });
    const pair = { near, far };
    this.#pairs.add(pair);
    far.on('error', () => near.resetAndDestroy());
    this.#pass(near, far);
    this.#pass(far, near);
    for (const socket of [near, far]) {
      socket.on('close', () => {
        near.destroy();
        far.destroy();
        this.#pairs.delete(pair);
      });
    }
    if (this.#isStalled) for (const socket of [near, far]) socket.pause();
  }

  #pass(from: Socket, to: Socket): void {
    from.on('data', (data) => {
      const isFull = !to.write(data);
      if (isFull || this.#rate > 0) {
        from.pause();
        void this.#goOn(from, to, isFull, data.length);
      }
    });
    from.on('end', () => to.end());
  }

  async #goOn(from: Socket, to: Socket, isFull: boolean, bytes: number): Promise<void> {
    if (this.#rate > 0) await sleep((1000 * bytes) / this.#rate);
    if (isFull && to.writableNeedDrain) await once(to, 'drain').catch(() => undefined);
    if (!this.#isStalled) from.resume();
  }
}
