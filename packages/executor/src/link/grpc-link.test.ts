import { EventEmitter, once } from 'node:events';
import { copyFileSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createSecureServer } from 'node:http2';
import { createServer, Server as NetServer, type Socket } from 'node:net';
import { join } from 'node:path';
import type { Duplex } from 'node:stream';
import { setImmediate } from 'node:timers/promises';
import { createServer as createTlsServer } from 'node:tls';
import { createDevelopmentPki } from '@csc-fleet/common/pki';
import {
  ExecutorLinkClient,
  ExecutorLinkService,
  type PushOutputRequest,
  readServerCredentials,
  TlsSource,
  wireOfClientCall,
} from '@csc-fleet/common/rpc';
import { type Log, silentLog } from '@csc-fleet/common/service';
import { makeContract, shell } from '@csc-fleet/test-kit/contract';
import { type GrpcGate, startGrpcGate } from '@csc-fleet/test-kit/executor/grpc-gate';
import { ScriptedGate } from '@csc-fleet/test-kit/executor/scripted-gate';
import { makeTestDirectory, openWorkbench, type Workbench } from '@csc-fleet/test-kit/executor/workbench';
import { credentials, type handleBidiStreamingCall, Server, ServerCredentials } from '@grpc/grpc-js';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { createBackoff, createGateLink, type GateLink } from './grpc-link.ts';
import { createGrpcOutput } from './grpc-output.ts';
import { openLine } from './line.ts';

let pki: string;
let gate: ScriptedGate;
let server: GrpcGate;
let link: GateLink;
let bench: Workbench;

const tlsOf = (name: string) => ({
  ca: join(pki, 'ca.pem'),
  cert: join(pki, `${name}.pem`),
  key: join(pki, `${name}.key`),
});

beforeEach(async () => {
  pki = makeTestDirectory();
  await createDevelopmentPki(pki, { executors: ['executor-1'], clients: ['agent'] });
  gate = new ScriptedGate();
  server = await startGrpcGate(gate, pki);
  link = createGateLink({ address: server.address, tls: new TlsSource(tlsOf('executor-executor-1')) });
  bench = await openWorkbench({ deps: { output: link.output, gateKeys: gate.keys } });
  bench.gate.disconnect();
});

afterEach(async () => {
  await bench.close();
  link.close();
  server.stop();
  rmSync(pki, { recursive: true });
});

const hellos = () => gate.all('hello').length;
const offer = (script: string) =>
  gate.offer(makeContract(bench.workspace, [{ argv: shell(script) }]), bench.policy);

async function connected(count = 1): Promise<void> {
  await expect.poll(hellos).toBeGreaterThanOrEqual(count);
}

describe('the link over gRPC', () => {
  it('says of a gate of the release before what to do about the policy repository', async () => {
    server.stop();
    server.isOlder = true;
    await server.start();
    await expect(link.repository.fetch('metadata/timestamp.json')).rejects.toMatchObject({
      code: 'REPOSITORY_UNREACHABLE',
      message: expect.stringContaining('bring it up to date first'),
    });
    expect(await link.prove({ executionIds: ['e'], oldSize: 0, witnesses: 0 })).toBeUndefined();
  });

  it('brings what the gate proves of receipts, and refuses proofs unread that are too long', async () => {
    const request = { executionIds: ['e'], oldSize: 1, witnesses: 2 };
    const answer = (count: number) => ({
      checkpoint: Buffer.from(JSON.stringify(request)),
      // Two bytes of the message each.
      consistency: Array(count).fill(Buffer.alloc(0)),
      proofs: [],
    });
    server.proofs = (asked) => {
      expect(asked).toEqual(request);
      return answer(2);
    };
    expect(await link.prove(request)).toEqual(answer(2));
    server.proofs = () => answer(400_000);
    await expect(link.prove(request)).rejects.toThrow(/proofs are 800\d{3} bytes long/);
  });

  it('dials with the executor’s certificate, says Hello, and runs what is offered', async () => {
    link.run(bench.executor, silentLog);
    await connected();
    expect(server.callers[0]?.uri).toBe('spiffe://csc.local/executor/executor-1');
    const executionId = offer('echo out; echo err >&2');
    expect(await gate.receipt(executionId)).toMatchObject({ status: 'success' });
    await bench.executor.delivered();
    expect(gate.output.text(executionId, 1)).toBe('out\n');
    expect(gate.output.text(executionId, 2)).toBe('err\n');
  });

  it('carries output of many frames whole and in order', async () => {
    link.run(bench.executor, silentLog);
    await connected();
    const size = 9 * 1024 * 1024;
    const executionId = offer(`head -c ${size} /dev/zero`);
    await gate.receipt(executionId);
    await bench.executor.delivered();
    expect(gate.output.text(executionId).length).toBe(size);
  });

  it('sends heartbeats as often as the gate asks for them', async () => {
    link.run(bench.executor, silentLog);
    await connected();
    const executionId = offer('sleep 60');
    await gate.next('commandStarted', executionId);
    await expect.poll(() => gate.all('heartbeat').at(-1)?.running).toBe(1);
    expect(hellos()).toBe(1);
  });

  it('comes back to a gate that was away, with output and receipt', async () => {
    link.run(bench.executor, silentLog);
    await connected();
    const executionId = offer('echo early; while [ ! -e out/go ]; do sleep 0.02; done; echo late');
    await gate.output.holds(executionId, 1);
    server.stop();
    writeFileSync(join(bench.out, 'go'), '');
    await bench.executor.drain();
    await server.start();
    await connected(2);
    expect(gate.all('hello').at(-1)?.executionIds).toEqual([executionId]);
    expect((await gate.receipt(executionId)).status).toBe('success');
    await bench.executor.delivered();
    expect(gate.output.text(executionId)).toBe('early\nlate\n');
  });

  it('is tried again where this host itself fails to say Hello', async () => {
    vi.spyOn(bench.executor, 'connect').mockImplementationOnce(() => {
      throw new Error('no such file');
    });
    link.run(bench.executor, silentLog);
    await connected();
  });

  it('hangs up on a gate that has gone silent, and dials again', async () => {
    server.answersHeartbeats = false;
    link.run(bench.executor, silentLog);
    await connected(2);
  });

  // Nothing else does at every moment, and Node would end an executor that has nothing to run.
  it('keeps its process while it dials and while it is connected', async () => {
    const timers = vi.spyOn(globalThis, 'setTimeout');
    const keeps = (ms: number) =>
      timers.mock.calls.some(([, delay], index) => {
        const { value } = timers.mock.results[index] ?? {};
        return delay === ms && value?.hasRef() === true;
      });
    link.run(bench.executor, silentLog);
    const [welcomeMs, silentMs] = [30_000, 600];
    expect(keeps(welcomeMs)).toBe(true);
    await expect.poll(() => keeps(silentMs)).toBe(true);
    timers.mockRestore();
  });

  it('says of a gate that has ended the connection just that, and dials again', async () => {
    const warnings: object[] = [];
    link.run(bench.executor, { ...silentLog, warn: (fields) => warnings.push(fields) });
    await connected();
    server.endLinks();
    await connected(2);
    expect(warnings).toEqual([
      expect.objectContaining({ error: expect.stringContaining('it has ended the connection, as one does') }),
    ]);
  });

  it('does not talk to a server that is not a gate', async () => {
    server.stop();
    copyFileSync(join(pki, 'client-agent.pem'), join(pki, 'gate.pem'));
    copyFileSync(join(pki, 'client-agent.key'), join(pki, 'gate.key'));
    await server.start();
    const warnings: object[] = [];
    const log: Log = { ...silentLog, warn: (fields) => warnings.push(fields) };
    link.run(bench.executor, log);
    await expect.poll(() => warnings.length).toBeGreaterThan(1);
    expect(hellos()).toBe(0);
  });
});

describe('a gate that lets a host wait', () => {
  const certificate = () => {
    const { cert, key } = tlsOf('gate');
    return { cert: readFileSync(cert), key: readFileSync(key), ALPNProtocols: ['h2'] };
  };
  const traps: Readonly<Record<string, () => NetServer>> = {
    'takes TCP and says nothing': () => createServer(),
    'finishes TLS and says nothing': () => createTlsServer(certificate()),
    'speaks HTTP/2 and answers nothing': () => createSecureServer(certificate()),
    'ends each connection within its handshake': () =>
      createServer((socket) => socket.once('data', () => socket.end())),
  };
  const never = 60_000;
  const bySilence = { silentMs: 150, welcomeMs: never, answerMs: never };
  const byAnswer = { silentMs: never, welcomeMs: 400, answerMs: 400 };
  const none = { silentMs: never, welcomeMs: never, answerMs: never };

  it.each([
    ['takes TCP and says nothing', bySilence],
    ['finishes TLS and says nothing', bySilence],
    ['speaks HTTP/2 and answers nothing', byAnswer],
    ['ends each connection within its handshake', none],
  ] as const)('is given up for the one that comes after it: it %s', async (name, limits) => {
    const { address } = server;
    server.stop();
    const held: Socket[] = [];
    const trap = traps[name]?.() ?? createServer();
    trap.on('connection', (socket: Socket) => held.push(socket.on('error', () => undefined)));
    trap.listen(Number(address.split(':')[1]), '127.0.0.1');
    await once(trap, 'listening');
    const waiting = createGateLink({ address, tls: new TlsSource(tlsOf('executor-executor-1')), limits });
    waiting.run(bench.executor, silentLog);
    const answers = [
      () => waiting.output.committedLength('e'),
      () => waiting.repository.fetch('metadata/timestamp.json'),
    ].map((ask) => vi.waitFor<unknown>(ask, { timeout: 30_000, interval: 50 }));
    await expect.poll(() => held.length).toBeGreaterThanOrEqual(3);
    // What it took it keeps, and takes no more; an HTTP/2 server's own `close` would end those as well.
    NetServer.prototype.close.call(trap);
    await server.start();
    await expect.poll(hellos).toBe(1);
    expect(await Promise.all(answers)).toEqual([0, undefined]);
    waiting.close();
    for (const socket of held) socket.destroy();
  });
});

describe('output in memory that is used again', () => {
  const size = 200 * 1024;
  const count = 24;

  /**
   * What arrives of messages of one byte each at a gate that reads one a turn. They lie in memory that is overwritten
   * at once, or in what is lent for each.
   */
  async function sendAll(find: (call: object) => unknown, where: 'own' | 'lent' = 'own'): Promise<string[]> {
    const arrived: string[] = [];
    const pushOutput: handleBidiStreamingCall<PushOutputRequest, object> = async (call) => {
      // It may be cut off at the end, by when all has arrived.
      call.on('error', () => undefined);
      for await (const { logOffset, frames } of call.iterator() as AsyncIterable<PushOutputRequest>) {
        if (frames.length > 0) arrived.push(describeFrames(logOffset, frames));
        for (let turn = 0; turn < 20; turn += 1) await setImmediate();
        call.write({ committedLength: logOffset + frames.length });
        if (arrived.length === count) return call.end();
      }
    };
    const slow = new Server();
    slow.addService({ pushOutput: ExecutorLinkService.pushOutput }, { pushOutput });
    const port = await new Promise<number>((resolve) =>
      slow.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (_, bound) => resolve(bound)),
    );
    const client = new ExecutorLinkClient(`127.0.0.1:${port}`, credentials.createInsecure());
    const output = createGrpcOutput(
      openLine(() => client),
      { answerMs: 20_000, findWire: find as typeof wireOfClientCall },
    );
    expect(await output.committedLength('e')).toBe(0);
    const own = Buffer.alloc(size);
    const held: Promise<number>[] = [];
    for (let at = 0; at < count; at += 1) {
      await output.room?.('e');
      const frames = where === 'own' ? own : (output.memory?.('e') ?? own).subarray(0, size);
      held.push(output.append('e', at * size, frames.fill(1 + at)));
      own.fill(0xee);
    }
    expect((await Promise.all(held)).at(-1)).toBe(count * size);
    output.finish?.('e');
    client.close();
    slow.forceShutdown();
    return arrived;
  }

  function describeFrames(logOffset: number, frames: Uint8Array): string {
    return `${logOffset}: ${frames.length} of ${[...new Set(frames)]}`;
  }

  const sent = Array.from({ length: count }, (_, at) => `${at * size}: ${size} of ${1 + at}`);

  it('arrives as it was, past gRPC, however slowly it is read', async () => {
    let found = 0;
    const find = (call: object) => {
      const wire = wireOfClientCall(call);
      if (wire !== undefined) found += 1;
      return wire;
    };
    expect(await sendAll(find)).toEqual(sent);
    expect(found).toBe(1);
  });

  it('arrives as it was through gRPC, where its stream is not found', async () => {
    expect(await sendAll(() => undefined)).toEqual(sent);
  });

  it.each([
    ['past gRPC', wireOfClientCall],
    ['through it', () => undefined],
  ])('arrives as it was from where the sink would have it, %s', async (_, find) => {
    expect(await sendAll(find, 'lent')).toEqual(sent);
  });

  it('is sent from where it was read to, and lent again only once the transport has it', async () => {
    const { output, kept, begin } = openKept();
    await begin('e');
    const lent = output.memory?.('e');
    expect(output.memory?.('e')?.buffer).toBe(lent?.buffer);
    lent?.write('as it lies');
    void output.append('e', 0, lent?.subarray(0, 10) ?? Buffer.alloc(0));
    expect(kept[0]?.bytes.buffer).toBe(lent?.buffer);
    expect(String(kept[0]?.bytes)).toMatch(/as it lies$/);
    expect(output.memory?.('e')?.buffer).not.toBe(lent?.buffer);
    output.finish?.('e');
    kept[0]?.done(null);
    await begin('other');
    expect(output.memory?.('other')?.buffer).toBe(lent?.buffer);
  });

  /** An output whose transport keeps what it is given until `done` is called. */
  function openKept() {
    const call = Object.assign(new EventEmitter(), { write: () => true, writableLength: 0, end: () => {} });
    const kept: { readonly bytes: Uint8Array; readonly done: (error: null) => void }[] = [];
    const wire = {
      destroyed: false,
      write: (bytes: Uint8Array, done: (error: null) => void) => kept.push({ bytes, done }),
    };
    const client: unknown = { pushOutput: () => call };
    const find: unknown = () => wire;
    const output = createGrpcOutput(
      openLine(() => client as ExecutorLinkClient),
      { answerMs: 20_000, findWire: find as typeof wireOfClientCall },
    );
    const begin = async (run: string): Promise<void> => {
      const begun = output.committedLength(run);
      call.emit('data', { committedLength: 0 });
      await begun;
    };
    return { output, kept, wire, begin };
  }

  it('is not written into where its stream was destroyed: a part of it may still be on its way', async () => {
    const { output, kept, wire, begin } = openKept();
    const push = async (run: string, text: string): Promise<void> => {
      await begin(run);
      void output.append(run, 0, Buffer.from(text));
    };
    await push('one', 'of the one run');
    wire.destroyed = true;
    kept[0]?.done(null);
    wire.destroyed = false;
    await push('other', 'of the other');
    expect(String(kept[0]?.bytes)).toContain('of the one run');
    kept[1]?.done(null);
    await push('third', 'of the third');
    expect(kept[2]?.bytes.buffer).toBe(kept[1]?.bytes.buffer);
  });
});

describe('a gate that ends no call', () => {
  it('keeps nobody from ending: what is under way as the link is closed is cancelled', async () => {
    const begun: string[] = [];
    const cancelled: string[] = [];
    const never = (name: string) => (call: EventEmitter) => {
      begun.push(name);
      // Of an upload that is over here, it is said what was taken, and its end is kept back.
      if (name === 'pushOutput') call.once('data', () => (call as Duplex).write({ committedLength: 0 }));
      else call.on('data', () => undefined);
      call.on('error', () => undefined);
      call.once('cancelled', () => cancelled.push(name));
    };
    const names = ['connect', 'pushOutput', 'fetchPolicyFile', 'proveOwnReceipts'] as const;
    const silent = new Server();
    silent.addService(ExecutorLinkService, Object.fromEntries(names.map((name) => [name, never(name)])));
    const port = await new Promise<number>((resolve) =>
      silent.bindAsync('127.0.0.1:0', readServerCredentials(tlsOf('gate')), (_, bound) => resolve(bound)),
    );
    const address = `127.0.0.1:${port}`;
    const tls = new TlsSource(tlsOf('executor-executor-1'));
    const late = 600_000;
    const own = createGateLink({ address, tls, limits: { welcomeMs: late, answerMs: late } });
    own.run(bench.executor, silentLog);
    const asked: Promise<unknown>[] = [
      own.repository.fetch('metadata/timestamp.json'),
      own.prove({ executionIds: ['e'], oldSize: 0, witnesses: 0 }),
    ];
    await own.output.committedLength('e');
    own.output.finish?.('e');
    await expect.poll(() => begun.toSorted()).toEqual(names.toSorted());
    for (const it of asked) it.catch(() => undefined);
    own.close();
    await expect.poll(() => cancelled.toSorted(), { timeout: 10_000 }).toEqual(names.toSorted());
    for (const it of asked) await expect(it).rejects.toMatchObject({ code: expect.any(String) });
    silent.forceShutdown();
  });
});

describe('the time between two attempts', () => {
  it('grows to a limit, with jitter, and starts again after a success', () => {
    const backoff = createBackoff(() => 1);
    const waits = Array.from({ length: 8 }, () => backoff.next());
    expect(waits).toEqual([250, 500, 1000, 2000, 4000, 8000, 10_000, 10_000]);
    backoff.reset();
    expect(backoff.next()).toBe(250);
    expect(createBackoff(() => 0).next()).toBe(125);
  });
});
