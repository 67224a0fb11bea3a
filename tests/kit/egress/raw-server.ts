import { type AddressInfo, createServer, type Socket } from 'node:net';
import type { Upstream } from './bench.ts';

/** A server that answers with whatever bytes it is given: no library of HTTP or TLS would send them. */
export interface RawServer {
  readonly upstream: Upstream;
  /** Does this with the next connection that has sent something; used once. Otherwise it answers 200. */
  readonly answers: ((socket: Socket) => void)[];
  close(): Promise<void>;
}

/** An answer that nothing is wrong with. */
export const plainAnswer = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi';

export async function startRawServer(): Promise<RawServer> {
  const answers: RawServer['answers'] = [];
  const open = new Set<Socket>();
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    open.add(socket);
    socket.on('error', () => undefined).once('close', () => open.delete(socket));
    socket.once('data', () => {
      const answer = answers.shift() ?? ((to: Socket) => void to.end(plainAnswer));
      answer(socket);
    });
  });
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  const { port } = server.address() as AddressInfo;
  const close = async (): Promise<void> => {
    for (const socket of open) socket.destroy();
    await new Promise((resolve) => {
      server.close(resolve);
    });
  };
  const upstream = { web: port, secure: port, ca: '', seen: [], tricks: [], close };
  return { upstream, answers, close };
}
