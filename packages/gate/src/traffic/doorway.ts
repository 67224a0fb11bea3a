import { createServer, isIPv6, type Server, type Socket } from 'node:net';
import { TokenBucket, type TrafficLimits } from './limits.ts';

interface Visitor {
  readonly socket: Socket;
  readonly address: string;
  readonly since: number;
  state: 'silent' | 'waiting' | 'in';
}

interface Place {
  readonly handshakes: TokenBucket;
  /** In the order in which they came. */
  readonly silent: Set<Visitor>;
  readonly waiting: Set<Visitor>;
  open: number;
}

const lookEveryMs = 50;
// The first byte of every TLS connection: a record of type handshake (RFC 8446 §5.1).
const tlsHandshake = 0x16;
// Handshakes of one address that wait their turn.
const maxWaiting = 1024;

/**
 * Where connections come in. A socket is let in to TLS, which costs a signature, only once it has said the first byte
 * of a handshake and it is its address' turn; sockets that say nothing cost a file descriptor for a few seconds.
 */
export class Doorway {
  readonly #limits: TrafficLimits['connections'];
  readonly #letIn: (socket: Socket) => void;
  readonly #server: Server;
  readonly #places = new Map<string, Place>();
  readonly #timer: NodeJS.Timeout;
  #open = 0;

  /** @param letIn takes a socket over, with what was read of it put back */
  constructor(limits: TrafficLimits['connections'], letIn: (socket: Socket) => void) {
    this.#limits = limits;
    this.#letIn = letIn;
    this.#server = createServer({ noDelay: true }, (socket) => this.#arrive(socket));
    // More would be accepted only to be closed.
    this.#server.maxConnections = limits.total;
    this.#timer = setInterval(() => this.#look(), lookEveryMs).unref();
  }

  /** Resolves to the port. Rejects as net.Server does. */
  listen(host: string, port: number): Promise<number> {
    return new Promise((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen({ host, port }, () => {
        this.#server.off('error', reject);
        // An accept that fails, as for want of descriptors, costs that connection alone.
        this.#server.on('error', () => undefined);
        const address = this.#server.address();
        resolve(typeof address === 'object' && address !== null ? address.port : port);
      });
    });
  }

  /** Takes no more, and sends away who is not in yet. */
  close(): void {
    clearInterval(this.#timer);
    this.#server.close();
    for (const { silent, waiting } of this.#places.values()) {
      for (const { socket } of [...silent, ...waiting]) socket.destroy();
    }
  }

  /** Connections that are open, let in or not. */
  get open(): number {
    return this.#open;
  }

  #arrive(socket: Socket): void {
    socket.on('error', () => undefined);
    const address = addressKey(socket.remoteAddress);
    const place = this.#place(address);
    if (place.open >= this.#limits.perAddress) {
      socket.resetAndDestroy();
      return;
    }
    const visitor: Visitor = { socket, address, since: performance.now(), state: 'silent' };
    this.#open += 1;
    place.open += 1;
    place.silent.add(visitor);
    socket.once('close', () => this.#leave(visitor, place));
    socket.once('readable', () => this.#hear(visitor, place));
    // Who has been silent longest is least likely to mean it: an honest client speaks at once.
    if (place.silent.size > this.#limits.silentPerAddress) {
      for (const oldest of place.silent) {
        oldest.socket.resetAndDestroy();
        break;
      }
    }
  }

  #leave(visitor: Visitor, place: Place): void {
    this.#open -= 1;
    place.open -= 1;
    place.silent.delete(visitor);
    place.waiting.delete(visitor);
  }

  #hear(visitor: Visitor, place: Place): void {
    const { socket } = visitor;
    const heard: unknown = socket.read();
    if (!Buffer.isBuffer(heard) || heard[0] !== tlsHandshake || place.waiting.size >= maxWaiting) {
      socket.destroy();
      return;
    }
    socket.unshift(heard);
    place.silent.delete(visitor);
    visitor.state = 'waiting';
    place.waiting.add(visitor);
    this.#serve(place, performance.now());
  }

  #serve(place: Place, now: number): void {
    for (const visitor of place.waiting) {
      if (!place.handshakes.take(now)) return;
      place.waiting.delete(visitor);
      visitor.state = 'in';
      this.#letIn(visitor.socket);
    }
  }

  #look(): void {
    const now = performance.now();
    const since = now - this.#limits.handshakeTimeoutSec * 1000;
    for (const [address, place] of this.#places) {
      this.#serve(place, now);
      for (const visitor of place.silent) {
        if (visitor.since > since) break;
        visitor.socket.destroy();
      }
      if (place.open === 0 && place.handshakes.rested(now)) this.#places.delete(address);
    }
  }

  #place(address: string): Place {
    const known = this.#places.get(address);
    if (known !== undefined) return known;
    const { handshakesPerSec } = this.#limits;
    const handshakes = new TokenBucket(handshakesPerSec, 2 * handshakesPerSec, performance.now());
    const place: Place = { handshakes, silent: new Set(), waiting: new Set(), open: 0 };
    this.#places.set(address, place);
    return place;
  }
}

/**
 * Under which an address is counted: itself, or the /64 of an IPv6 address, of which one host may have all.
 * IPv4 in IPv6 counts as IPv4.
 */
export function addressKey(address: string | undefined): string {
  if (address === undefined) return '';
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1];
  if (mapped !== undefined) return mapped;
  if (!isIPv6(address)) return address;
  const [head = '', tail] = (address.split('%')[0] ?? '').split('::');
  const left = head === '' ? [] : head.split(':');
  const right = tail === undefined || tail === '' ? [] : tail.split(':');
  const zeros = tail === undefined ? 0 : 8 - left.length - right.length;
  const groups = [...left, ...Array<string>(Math.max(0, zeros)).fill('0'), ...right];
  return `${groups
    .slice(0, 4)
    .map((it) => Number.parseInt(it, 16).toString(16))
    .join(':')}::/64`;
}
