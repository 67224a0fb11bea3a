import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { connect, type TLSSocket } from 'node:tls';
import type { TlsPaths } from '@csc-fleet/common/rpc';

export const frame = {
  data: 0,
  headers: 1,
  reset: 3,
  settings: 4,
  ping: 6,
  window: 8,
  continuation: 9,
} as const;
export const endStream = 0x1;
export const endHeaders = 0x4;

/** A frame of HTTP/2 (RFC 9113 §4.1). */
export function toFrame(
  type: number,
  flags: number,
  stream: number,
  payload: Buffer = Buffer.alloc(0),
): Buffer {
  const header = Buffer.alloc(9);
  header.writeUIntBE(payload.length, 0, 3);
  header[3] = type;
  header[4] = flags;
  header.writeUInt32BE(stream, 5);
  return Buffer.concat([header, payload]);
}

/** The header block of a gRPC call: literals without indexing (RFC 7541 §6.2.2). */
export function toHeaderBlock(path: string): Buffer {
  const headers = {
    ':method': 'POST',
    ':scheme': 'https',
    ':path': path,
    ':authority': 'localhost',
    te: 'trailers',
    'content-type': 'application/grpc',
  };
  const text = (it: string): Buffer => Buffer.concat([Buffer.from([it.length]), Buffer.from(it)]);
  const fields = Object.entries(headers).map(([name, value]) =>
    Buffer.concat([Buffer.from([0]), text(name), text(value)]),
  );
  return Buffer.concat(fields);
}

/** A message as gRPC frames it. */
export function toMessage(bytes: Buffer = Buffer.alloc(0)): Buffer {
  const prefix = Buffer.alloc(5);
  prefix.writeUInt32BE(bytes.length, 1);
  return Buffer.concat([prefix, bytes]);
}

/** HTTP/2 without a library that would hold us back. What comes is thrown away; windows are not opened again. */
export class RawConnection {
  readonly #socket: TLSSocket;
  #next = 1;

  private constructor(socket: TLSSocket) {
    this.#socket = socket;
  }

  /** @param reads whether answers are read: otherwise the windows for them stay shut after 64 KiB */
  static async open(address: string, { ca, cert, key }: TlsPaths, reads = true): Promise<RawConnection> {
    const [host = '', port] = address.split(':');
    const files = { ca: readFileSync(ca), cert: readFileSync(cert), key: readFileSync(key) };
    const socket = connect({
      host,
      port: Number(port),
      servername: 'localhost',
      ALPNProtocols: ['h2'],
      ...files,
    });
    socket.on('error', () => undefined);
    await once(socket, 'secureConnect');
    socket.resume();
    const preface: Buffer[] = [Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n')];
    // SETTINGS_INITIAL_WINDOW_SIZE, and the connection's own window, as large as they can be.
    preface.push(toFrame(frame.settings, 0, 0, reads ? Buffer.from('00047fffffff', 'hex') : undefined));
    if (reads) preface.push(toFrame(frame.window, 0, 0, Buffer.from('7fff0000', 'hex')));
    socket.write(Buffer.concat(preface));
    return new RawConnection(socket);
  }

  get closed(): boolean {
    return this.#socket.destroyed || this.#socket.readyState !== 'open';
  }

  /** Resolves once the other side has ended it. */
  get ended(): Promise<void> {
    if (this.#socket.destroyed) return Promise.resolve();
    return new Promise((resolve) => this.#socket.once('close', () => resolve()));
  }

  /** The id of the next stream. */
  next(): number {
    const id = this.#next;
    this.#next += 2;
    return id;
  }

  /** Resolves once there is room for more, or the connection has ended. */
  async write(bytes: Buffer): Promise<void> {
    if (this.closed || this.#socket.write(bytes)) return;
    await new Promise<void>((resolve) => {
      const done = (): void => {
        this.#socket.off('drain', done);
        this.#socket.off('close', done);
        resolve();
      };
      this.#socket.on('drain', done);
      this.#socket.on('close', done);
    });
  }

  end(): void {
    this.#socket.destroy();
  }
}
