import { createServer, isIPv6, type Server, type Socket } from 'node:net';
import { TokenBucket } from './token-bucket.ts';

/** How many connections there may be, and what they may take before it is known who has made them. */
export interface ConnectionLimits {
  /** Of everybody. */
  readonly total: number;
  readonly perAddress: number;
  /** Those of one address that have not begun a TLS handshake; the oldest makes room. */
  readonly silentPerAddress: number;
  /** TLS handshakes that one address may begin a second; more wait their turn. */
  readonly handshakesPerSec: number;
  /** Seconds from the connection to the end of its TLS handshake, its turn not counted. */
  readonly handshakeTimeoutSec: number;
}

interface Visitor {
  readonly socket: Socket;
  readonly address: string;
  readonly since: number;
  state: 'silent' | 'waiting' | 'in';
}

interface Origin {
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
  readonly #limits: ConnectionLimits;
  readonly #letIn: (socket: Socket) => void;
  readonly #server: Server;
  readonly #origins = new Map<string, Origin>();
  readonly #timer: NodeJS.Timeout;
  readonly #turnedAway: (address: string, why: string) => void;
  #open = 0;

  /**
   * @param letIn takes a socket over, with what was read of it put back
   * @param turnedAway told of each connection that is not let in, or that has to make room
   */
  constructor(
    limits: ConnectionLimits,
    letIn: (socket: Socket) => void,
    turnedAway: (address: string, why: string) => void = () => undefined,
  ) {
    this.#limits = limits;
    this.#letIn = letIn;
    this.#turnedAway = turnedAway;
    this.#server = createServer({ noDelay: true }, (socket) => this.#arrive(socket));
    // More would be accepted only to be closed.
    this.#server.maxConnections = limits.total;
    this.#server.on('drop', (dropped) =>
      turnedAway(addressKey(dropped?.remoteAddress), `${limits.total} connections are open`),
    );
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
    for (const { silent, waiting } of this.#origins.values()) {
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
    const origin = this.#origin(address);
    if (origin.open >= this.#limits.perAddress) {
      socket.resetAndDestroy();
      this.#turnedAway(address, `${origin.open} connections of this address are open`);
      return;
    }
    const visitor: Visitor = { socket, address, since: performance.now(), state: 'silent' };
    this.#open += 1;
    origin.open += 1;
    origin.silent.add(visitor);
    socket.on('close', () => this.#leave(visitor, origin));
    socket.once('readable', () => this.#hear(visitor, origin));
    // Who has been silent longest is least likely to mean it: an honest client speaks at once.
    if (origin.silent.size > this.#limits.silentPerAddress) {
      for (const oldest of origin.silent) {
        oldest.socket.resetAndDestroy();
        this.#turnedAway(address, 'it says nothing');
        break;
      }
    }
  }

  #leave(visitor: Visitor, origin: Origin): void {
    this.#open -= 1;
    origin.open -= 1;
    origin.silent.delete(visitor);
    origin.waiting.delete(visitor);
  }

  #hear(visitor: Visitor, origin: Origin): void {
    const { socket } = visitor;
    const heard: unknown = socket.read();
    if (!Buffer.isBuffer(heard) || heard[0] !== tlsHandshake || origin.waiting.size >= maxWaiting) {
      socket.destroy();
      if (Buffer.isBuffer(heard)) this.#turnedAway(visitor.address, 'it does not speak TLS');
      return;
    }
    socket.unshift(heard);
    origin.silent.delete(visitor);
    visitor.state = 'waiting';
    origin.waiting.add(visitor);
    this.#serve(origin, performance.now());
  }

  #serve(origin: Origin, now: number): void {
    for (const visitor of origin.waiting) {
      if (!origin.handshakes.take(now)) return;
      origin.waiting.delete(visitor);
      visitor.state = 'in';
      this.#letIn(visitor.socket);
    }
  }

  #look(): void {
    const now = performance.now();
    const since = now - this.#limits.handshakeTimeoutSec * 1000;
    for (const [address, origin] of this.#origins) {
      this.#serve(origin, now);
      for (const visitor of origin.silent) {
        if (visitor.since > since) break;
        visitor.socket.destroy();
        this.#turnedAway(address, 'it says nothing');
      }
      if (origin.open === 0 && origin.handshakes.rested(now)) this.#origins.delete(address);
    }
  }

  #origin(address: string): Origin {
    const known = this.#origins.get(address);
    if (known !== undefined) return known;
    const { handshakesPerSec } = this.#limits;
    const handshakes = new TokenBucket(handshakesPerSec, 2 * handshakesPerSec, performance.now());
    const origin: Origin = { handshakes, silent: new Set(), waiting: new Set(), open: 0 };
    this.#origins.set(address, origin);
    return origin;
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
