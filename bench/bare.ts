import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { Client, credentials } from '@grpc/grpc-js';

const raw = (value: Buffer): Buffer => value;

/** A bare grpc-js server in a process of its own, and a client to it. */
export interface BareServer extends AsyncDisposable {
  echo(message: Buffer): Promise<Buffer>;
  /** Reads a stream of 64 KiB messages; resolves to the bytes read. */
  stream(totalBytes: number): Promise<number>;
}

/** Paths of the PEM files with which both ends show who they are. */
export interface BareTls {
  readonly ca: string;
  readonly server: { readonly cert: string; readonly key: string };
  readonly client: { readonly cert: string; readonly key: string };
}

/** @param tls absent: plaintext */
export async function startBareServer(tls?: BareTls): Promise<BareServer> {
  const program = new URL('bare-server.ts', import.meta.url).pathname;
  const files = tls === undefined ? [] : [tls.ca, tls.server.cert, tls.server.key];
  const child: ChildProcess = spawn(process.execPath, [program, ...files], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  if (child.stdout === null) throw new Error('no stdout');
  const [port] = (await once(child.stdout, 'data')) as [Buffer];
  const own =
    tls === undefined
      ? credentials.createInsecure()
      : credentials.createSsl(
          readFileSync(tls.ca),
          readFileSync(tls.client.key),
          readFileSync(tls.client.cert),
        );
  const client = new Client(`127.0.0.1:${port.toString().trim()}`, own, {
    'grpc.max_receive_message_length': 8 << 20,
  });
  return {
    echo: (message) =>
      new Promise((resolve, reject) => {
        client.makeUnaryRequest<Buffer, Buffer>('/bare/Echo', raw, raw, message, (error, value) =>
          error || value === undefined ? reject(error) : resolve(value),
        );
      }),
    stream: async (totalBytes) => {
      let bytes = 0;
      const call = client.makeServerStreamRequest<Buffer, Buffer>(
        '/bare/Stream',
        raw,
        raw,
        Buffer.from(String(totalBytes)),
      );
      for await (const message of call) bytes += (message as Buffer).length;
      return bytes;
    },
    [Symbol.asyncDispose]: async () => {
      client.close();
      child.kill();
      await once(child, 'exit');
    },
  };
}

/** Calls `call` until the time is up, `inFlight` at once; resolves to calls a second. */
export async function callsPerSecond(
  call: () => Promise<unknown>,
  inFlight: number,
  seconds: number,
): Promise<number> {
  const end = performance.now() + seconds * 1000;
  let calls = 0;
  const begin = performance.now();
  const worker = async (): Promise<void> => {
    while (performance.now() < end) {
      await call();
      calls++;
    }
  };
  await Promise.all(Array.from({ length: inFlight }, worker));
  return calls / ((performance.now() - begin) / 1000);
}
