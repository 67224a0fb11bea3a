import { type AddressInfo, connect as connectTo, createServer, type Server, type Socket } from 'node:net';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { makeHello } from '@csc-fleet/test-kit/egress/bench';
import { type FuzzCase, fuzzCases, hostOf, type Words } from '@csc-fleet/test-kit/egress/fuzz';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createAllowList } from './allow-list.ts';
import { createEgressProxy, type EgressProxy } from './proxy.ts';
import type { EgressVerdict } from './verdicts.ts';

// `make fuzz` sets it; without it the same few hundred cases run each time.
const seconds = Number(process.env['CSC_FUZZ_SECONDS'] ?? 0);
const seed = process.env['CSC_FUZZ_SEED'];
const atOnce = 12;
/** Has no case: it is asked for something good after each batch. */
const goodHost = hostOf(atOnce);
const hosts = Array.from({ length: atOnce + 1 }, (_, index) => hostOf(index));
const addresses: Readonly<Record<string, string>> = {
  ...Object.fromEntries(hosts.map((host, index) => [host, `93.184.216.${index}`])),
  'evil.test': '93.184.216.200',
  'loop.test': '127.0.0.1',
};

/** Where the connections for one host end: what came is kept, and what its case says is answered. */
interface Target {
  readonly server: Server;
  answer: Words;
  heard: Buffer[][];
}

const targets: Target[] = [];
const open = new Set<Socket>();
const faults: unknown[] = [];
const verdicts: EgressVerdict[] = [];
const strangers: string[] = [];
let proxy: EgressProxy;
let port: number;
let hellos: { readonly hello: string; readonly evil: string }[];
const good: Words = { segments: ['HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi'], leaves: 'end' };

beforeAll(async () => {
  for (const _ of hosts) targets.push(await startTarget());
  const evil = (await makeHello('evil.test')).toString('latin1');
  hellos = await Promise.all(
    hosts.map(async (host) => ({ hello: (await makeHello(host)).toString('latin1'), evil })),
  );
  proxy = createEgressProxy({
    allow: createAllowList([[...hosts, 'loop.test']]),
    resolve: (name) => Promise.resolve([addresses[name] ?? []].flat()),
    connect: ({ address, port: asked }) => connectToTarget(address, asked),
    limits: { headerMs: 150, idleMs: 250, connectMs: 1000, connections: 64 },
    onVerdict: (verdict) => verdicts.push(verdict),
    onFault: (error) => faults.push(error),
  });
  const server = createServer();
  port = await listen(server);
  proxy.serve(server);
});

afterAll(async () => {
  await proxy.close();
  for (const socket of open) socket.destroy();
  for (const { server } of targets) server.close();
});

async function startTarget(): Promise<Target> {
  const server = createServer({ allowHalfOpen: true });
  const target: Target = { server, answer: good, heard: [] };
  server.on('connection', (socket) => {
    const heard: Buffer[] = [];
    target.heard.push(heard);
    keep(socket).on('data', (chunk: Buffer) => heard.push(chunk));
    socket.once('data', () => void say(socket, target.answer));
  });
  await listen(server);
  return target;
}

function connectToTarget(address: string, asked: number): Socket {
  const index = hosts.findIndex((host) => addresses[host] === address);
  const target = targets[index];
  if (target === undefined || (asked !== 80 && asked !== 443)) strangers.push(`${address}:${asked}`);
  // Nobody listens on port 1.
  const real = (target?.server.address() as AddressInfo | undefined)?.port ?? 1;
  return connectTo({ host: '127.0.0.1', port: real, allowHalfOpen: true });
}

function listen(server: Server): Promise<number> {
  return new Promise((resolve) => {
    server.listen(0, '127.0.0.1', () => resolve((server.address() as AddressInfo).port));
  });
}

function keep(socket: Socket): Socket {
  open.add(socket);
  return socket.on('error', () => undefined).once('close', () => open.delete(socket));
}

async function say(socket: Socket, { segments, leaves }: Words): Promise<void> {
  for (const segment of segments) {
    if (socket.writable && segment !== '') socket.write(segment, 'latin1');
    await nextTurn();
  }
  if (leaves === 'end') socket.end();
  if (leaves === 'destroy') socket.destroy();
  if (leaves === 'reset') socket.resetAndDestroy();
}

/** Plays a client, and gives what it was told until its connection was gone. */
async function play(client: Words): Promise<string> {
  const socket = keep(connectTo({ port, host: '127.0.0.1', allowHalfOpen: true, noDelay: true }));
  const told: Buffer[] = [];
  socket.on('data', (chunk: Buffer) => told.push(chunk)).once('end', () => socket.end());
  const gone = new Promise<void>((resolve) => socket.once('close', () => resolve()));
  await say(socket, client);
  await gone;
  return Buffer.concat(told).toString('latin1');
}

const goodRequest = `GET http://${goodHost}/ HTTP/1.1\r\nHost: ${goodHost}\r\nConnection: close\r\n\r\n`;

async function playBatch(cases: readonly FuzzCase[]): Promise<void> {
  for (const target of targets) target.heard = [];
  verdicts.length = 0;
  for (const [index, { server }] of cases.entries()) Object.assign(targets[index] ?? {}, { answer: server });
  await Promise.all(cases.map(({ client }) => play(client)));
  expect(faults).toEqual([]);
  expect(strangers).toEqual([]);
  for (const index of cases.keys()) checkHeard(hostOf(index), targets[index]?.heard ?? []);
  for (const { verdict, host, port: asked } of verdicts) {
    if (verdict === 'allowed')
      expect([hosts.includes(host), asked === 80 || asked === 443]).toEqual([true, true]);
  }
  expect(await play({ segments: [goodRequest], leaves: 'stay' })).toMatch(
    /^HTTP\/1\.1 200 OK\r\n[\s\S]*\r\n\r\nhi$/,
  );
}

// Whoever was reached was reached with one request or one ClientHello, which is for it, and was let through.
function checkHeard(host: string, connections: readonly (readonly Buffer[])[]): void {
  const said = connections.map((heard) => Buffer.concat(heard).toString('latin1')).filter((it) => it !== '');
  const allowed = verdicts.filter((it) => it.verdict === 'allowed' && it.host === host);
  expect(said.length).toBeLessThanOrEqual(allowed.length);
  for (const one of said) {
    if (one.charCodeAt(0) === 22) {
      const hello = one.slice(0, 5 + one.charCodeAt(3) * 256 + one.charCodeAt(4));
      expect([hello.toLowerCase().includes(host), hello.includes('evil.test')]).toEqual([true, false]);
    } else {
      const named = one.split('\r\n\r\n')[0]?.match(/^host:.*$/gim) ?? [];
      expect(named.map((line) => line.replace(/:(?:80|443)$/, ''))).toEqual([`Host: ${host}`]);
    }
  }
}

describe('the proxy', () => {
  it(
    'lives on, and lets nothing through that is not listed, whatever clients and servers say',
    async () => {
      const batch = fc.tuple(
        ...Array.from({ length: atOnce }, (_, index) =>
          fuzzCases(index, hellos[index] ?? { hello: '', evil: '' }),
        ),
      );
      await fc.assert(fc.asyncProperty(batch, playBatch), {
        ...(seconds > 0
          ? { numRuns: 1_000_000_000, interruptAfterTimeLimit: seconds * 1000 }
          : { numRuns: 40, seed: 7, endOnFailure: true }),
        ...(seed === undefined ? {} : { seed: Number(seed) }),
      });
    },
    seconds * 1000 + 60_000,
  );
});
