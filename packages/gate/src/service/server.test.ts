import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import {
  type ConnectRequest,
  type ConnectResponse,
  fromServiceError,
  type GateClient,
  type Offer,
  type PushOutputRequest,
  ReadOutputResponse,
  type RunResponse,
  type SubmitResponse,
  type WatchResponse,
} from '@csc-fleet/common/rpc';
import { makeContract, toBytes } from '@csc-fleet/test-kit/gate/contracts';
import { type ScriptedExecutor, toFrame } from '@csc-fleet/test-kit/gate/scripted-executor';
import { ServedGate, soon, TestPki } from '@csc-fleet/test-kit/gate/served-gate';
import { agent, noWait, TestGate, toRequest } from '@csc-fleet/test-kit/gate/test-gate';
import {
  type Client,
  type ClientDuplexStream,
  type ClientReadableStream,
  loadPackageDefinition,
  Metadata,
  type ServiceError,
} from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';

let pki: TestPki;
let test: TestGate;
let served: ServedGate;

beforeAll(async () => {
  pki = await TestPki.make();
});
afterAll(() => pki.remove());
beforeEach(async () => {
  test = await TestGate.open();
  served = await ServedGate.start(test.gate, pki);
});
afterEach(async () => {
  await served.stop();
  await test.close();
});

/** Promise form of a unary call; rejects with the ServiceError. */
function call<Request, Response>(
  client: Client,
  path: string,
  serialize: (request: Request) => Buffer,
  deserialize: (bytes: Buffer) => Response,
  request: Request,
): Promise<Response> {
  return new Promise((resolve, reject) => {
    client.makeUnaryRequest(path, serialize, deserialize, request, new Metadata(), soon(), (error, answer) =>
      error !== null ? reject(error) : resolve(answer as Response),
    );
  });
}

function submit(client: GateClient, request = toRequest(makeContract())): Promise<SubmitResponse> {
  return new Promise((resolve, reject) => {
    client.submit(request, new Metadata(), soon(), (error, answer) =>
      error !== null ? reject(error) : resolve(answer),
    );
  });
}

/** The error of a call as the client sees it; fails where the call succeeds. */
async function failure(promise: Promise<unknown>): Promise<{ status: number; error: unknown }> {
  const error = await promise.then(
    () => expect.fail('the call succeeded'),
    (it: ServiceError) => it,
  );
  return { status: error.code, error: fromServiceError(error) };
}

/** What a stream gives until it ends, and how it ended. */
async function drained<T>(stream: ClientReadableStream<T>): Promise<{ items: T[]; error: unknown }> {
  const items: T[] = [];
  try {
    for await (const item of stream) items.push(item as T);
    return { items, error: undefined };
  } catch (error) {
    return { items, error: fromServiceError(error) };
  }
}

const INVALID_ARGUMENT = 3;
const RESOURCE_EXHAUSTED = 8;
const FAILED_PRECONDITION = 9;
const INTERNAL = 13;

type Link = ClientDuplexStream<ConnectRequest, ConnectResponse>;
type Said = NonNullable<ConnectResponse['message']>;
type ValueOf<Case extends Said['$case']> = Extract<Said, { $case: Case }>['value'];

/** An executor on a real connection: says Hello at once. */
class RemoteExecutor {
  readonly script: ScriptedExecutor;
  readonly link: Link;
  readonly #messages: AsyncIterator<ConnectResponse>;

  constructor(name: string, slots = 4) {
    this.script = test.executor(name, { slots });
    this.link = served.link(`executor-${name}`).connect();
    this.#messages = this.link[Symbol.asyncIterator]() as AsyncIterator<ConnectResponse>;
    this.say({ $case: 'hello', value: this.script.hello() });
  }

  say(message: NonNullable<ConnectRequest['message']>): void {
    this.link.write({ message });
  }

  /** The next message of this kind; others are dropped. */
  async next<Case extends Said['$case']>($case: Case): Promise<ValueOf<Case>> {
    for (;;) {
      const { value, done } = await this.#messages.next();
      if (done === true) throw new Error(`the gate ended the link before it said ${$case}`);
      const { message } = value;
      if (message?.$case === $case) return message.value as ValueOf<Case>;
    }
  }

  async accepted(): Promise<Offer> {
    const offer = await this.next('offer');
    this.say({ $case: 'accepted', value: { executionId: offer.executionId, notes: [] } });
    return offer;
  }

  receipt(offer: Offer, outputLogLength = 0): void {
    const receiptJson = this.script.receipt(offer);
    this.say({
      $case: 'receipt',
      value: { executionId: offer.executionId, receiptJson, originalJson: Buffer.alloc(0), outputLogLength },
    });
  }
}

/** Pushes output as an executor does; resolves to what the gate says it holds, or rejects. */
async function push(
  executor: string,
  messages: readonly PushOutputRequest[],
): Promise<{ lengths: number[]; error: unknown }> {
  const stream = served.link(`executor-${executor}`).pushOutput();
  for (const message of messages) stream.write(message);
  stream.end();
  const { items, error } = await drained(stream);
  return { lengths: items.map((it) => it.committedLength), error };
}

describe('a gate over mutual TLS', () => {
  it('runs a contract: decision, output and receipt come in one stream, the end last', async () => {
    const host = new RemoteExecutor('host');
    await host.next('welcome');
    const contract = makeContract();
    const run = drained<RunResponse>(
      served.client('client-agent').run({ submit: toRequest(contract) }, new Metadata(), soon()),
    );
    const offer = await host.accepted();
    expect(JSON.parse(offer.contractJson.toString())).toEqual(contract);
    const frames = Buffer.concat([toFrame(0, 'hello '), toFrame(6, 'world')]);
    const pushed = await push('host', [
      { executionId: offer.executionId, logOffset: 0, frames: Buffer.alloc(0) },
      { executionId: '', logOffset: 0, frames },
    ]);
    expect(pushed).toEqual({ lengths: [0, frames.length], error: undefined });
    host.receipt(offer, frames.length);
    expect((await host.next('receiptAck')).executionId).toBe(offer.executionId);
    const { items, error } = await run;
    expect(error).toBeUndefined();
    const chunks = items.flatMap(({ item }) => (item?.$case === 'chunk' ? [item.value.data.toString()] : []));
    expect(chunks).toEqual(['hello ', 'world']);
    const events = items.flatMap(({ item }) => (item?.$case === 'event' ? [item.value] : []));
    expect(events.map(({ event }) => event?.$case)).toEqual([
      'decided',
      'queued',
      'placed',
      'started',
      'finished',
    ]);
    expect(events.map(({ sequence }) => sequence)).toEqual([1, 2, 3, 4, 5]);
    expect(items.at(-1)?.item).toMatchObject({ $case: 'event', value: { event: { $case: 'finished' } } });
  });

  it('answers with the typed form of a contract as with its JSON', async () => {
    const client = served.client('client-agent');
    const denied = makeContract({ risk_class: 'critical' });
    const answer = await submit(client, toRequest(denied));
    expect(answer.decision?.reasonCodes).toEqual(['RISK_CLASS_NOT_ALLOWED']);
    expect(answer.existing).toBe(false);
  });

  it('tells generic clients of its methods', async () => {
    const reflection = join(
      dirname(createRequire(import.meta.url).resolve('@grpc/reflection/package.json')),
      'build/proto/grpc/reflection/v1/reflection.proto',
    );
    const loaded = loadPackageDefinition(loadSync(reflection)) as unknown as {
      grpc: { reflection: { v1: { ServerReflection: new (...args: never[]) => Client } } };
    };
    const client = served.open(
      loaded.grpc.reflection.v1.ServerReflection as never,
      'client-agent',
    ) as Client & { serverReflectionInfo(): ClientDuplexStream<object, Record<string, unknown>> };
    const stream = client.serverReflectionInfo();
    stream.write({ listServices: '*' });
    stream.write({ fileContainingSymbol: 'csc.gate.v1.Gate' });
    stream.end();
    const { items, error } = await drained(stream);
    expect(error).toBeUndefined();
    const [services, file] = items as [
      { listServicesResponse: { service: { name: string }[] } },
      { fileDescriptorResponse: { fileDescriptorProto: Buffer[] } },
    ];
    expect(services.listServicesResponse.service.map(({ name }) => name)).toContain('csc.gate.v1.Gate');
    expect(Buffer.concat(file.fileDescriptorResponse.fileDescriptorProto).toString()).toContain('ReadOutput');
  });
});

describe('an identity', () => {
  it('of a client is no executor’s', async () => {
    const link = served.link('client-agent');
    const connect = link.connect();
    connect.write({ message: { $case: 'hello', value: test.executor('agent').hello() } });
    expect((await drained(connect)).error).toMatchObject({ code: 'CREDENTIALS_INVALID' });
    expect((await drained(link.pushOutput())).error).toMatchObject({ code: 'CREDENTIALS_INVALID' });
    await expect(test.submit(makeContract(), { options: noWait })).rejects.toMatchObject({
      code: 'NO_MATCHING_EXECUTOR',
    });
  });

  it('of another client does not see the execution', async () => {
    const { executionId } = await submit(
      served.client('client-agent'),
      toRequest(makeContract({ risk_class: 'critical' })),
    );
    const watch = served
      .client('client-other')
      .watch({ executionId, fromSequence: 0 }, new Metadata(), soon());
    expect(await drained(watch)).toEqual({
      items: [],
      error: expect.objectContaining({ code: 'EXECUTION_UNKNOWN' }),
    });
  });
});

describe('an error', () => {
  it('has the faults of the contract, member by member', async () => {
    const contract = { ...makeContract(), risk_class: 'none', justification: '' };
    const request = {
      ...toRequest(makeContract()),
      contract: { $case: 'contractJson' as const, value: toBytes(contract) },
    };
    const { status, error } = await failure(submit(served.client('client-agent'), request));
    expect(status).toBe(INVALID_ARGUMENT);
    expect(error).toMatchObject({
      code: 'CONTRACT_INVALID',
      faults: [{ path: 'risk_class' }, { path: 'justification' }],
    });
  });

  it('has a reason of the registry and when to come back', async () => {
    const request = toRequest(makeContract(), { options: noWait });
    const { status, error } = await failure(submit(served.client('client-agent'), request));
    expect(status).toBe(FAILED_PRECONDITION);
    expect(error).toMatchObject({ code: 'NO_MATCHING_EXECUTOR', retryAfterMs: 5000 });
  });

  it('is INVALID_ARGUMENT for what is no message at all', async () => {
    const { status, error } = await failure(
      call(
        served.client('client-agent'),
        '/csc.gate.v1.Gate/Submit',
        (it: Buffer) => it,
        (it) => it,
        Buffer.from([0x0a, 0xff]),
      ),
    );
    expect(status).toBe(INVALID_ARGUMENT);
    expect(error).toMatchObject({ code: 'REQUEST_INVALID' });
  });

  it('that is a fault of ours is an id, which the log has with all there is to know', async () => {
    const broken = await ServedGate.start(
      {
        ...test.gate,
        methods: {
          ...test.gate.methods,
          submit: () => Promise.reject(new Error('a secret of the gate')),
        },
      },
      pki,
    );
    const { status, error } = await failure(submit(broken.client('client-agent')));
    expect(status).toBe(INTERNAL);
    const [[id, logged] = []] = [...broken.logged];
    expect((error as Error).message).toBe(`internal error ${id}`);
    expect(logged).toMatchObject({ message: 'a secret of the gate' });
    await broken.stop();
  });
});

describe('a limit', () => {
  const limited = async (limits: Parameters<typeof ServedGate.start>[2]): Promise<GateClient> => {
    await served.stop();
    served = await ServedGate.start(test.gate, pki, limits);
    return served.client('client-agent');
  };

  it('of calls a second says when to come back, and is each identity’s own', async () => {
    const client = await limited({ requestsPerSec: 0.001, burst: 2 });
    const request = toRequest(makeContract({ risk_class: 'critical' }));
    await submit(client, request);
    await submit(client, request);
    const { status, error } = await failure(submit(client, request));
    expect(status).toBe(RESOURCE_EXHAUSTED);
    expect(error).toMatchObject({ code: 'RATE_LIMITED', retryAfterMs: expect.any(Number) });
    const { decision } = await submit(served.client('client-other'), request);
    expect(decision?.reasonCodes).toEqual(['RISK_CLASS_NOT_ALLOWED']);
  });

  it('of open calls counts streams, until they end', async () => {
    const client = await limited({ concurrentCalls: 1 });
    const contract = makeContract({ approval_mode: 'human_required' });
    const { executionId } = await submit(client, toRequest(contract));
    const watch = client.watch({ executionId, fromSequence: 0 });
    await new Promise((resolve) => watch.once('data', resolve));
    const { error } = await failure(submit(client));
    expect(error).toMatchObject({ code: 'RATE_LIMITED' });
    const ended = drained<WatchResponse>(watch);
    await test.as(agent).cancel({ executionId, gracePeriod: undefined });
    await ended;
    const { existing } = await submit(client, toRequest(contract));
    expect(existing).toBe(false);
  });

  it('of silence is none: a stream is said to have begun before there is anything to say', async () => {
    const client = await limited({});
    const contract = makeContract({ approval_mode: 'human_required' });
    const { executionId } = await submit(client, toRequest(contract));
    const watch = client.watch({ executionId, fromSequence: 1000 }, new Metadata(), soon());
    const ended = drained<WatchResponse>(watch);
    const headers = await new Promise<Metadata>((resolve) => watch.once('metadata', resolve));
    expect(headers.get('csc-begun')).toEqual(['1']);
    watch.cancel();
    await ended;
  });

  it('of message size is for clients', async () => {
    const client = await limited({ maxMessageBytes: 64 * 1024 });
    const request = { ...toRequest(makeContract()), approvalsJson: [Buffer.alloc(70_000)] };
    const { status, error } = await failure(submit(client, request));
    expect(status).toBe(RESOURCE_EXHAUSTED);
    expect(error).toMatchObject({ code: 'MESSAGE_TOO_LARGE' });
    const host = new RemoteExecutor('host');
    await host.next('welcome');
    await submit(client);
    const { executionId } = await host.accepted();
    const frames = Buffer.concat([toFrame(0, 'x'.repeat(60_000)), toFrame(60_000, 'x'.repeat(60_000))]);
    const { lengths } = await push('host', [{ executionId, logOffset: 0, frames }]);
    expect(lengths).toEqual([0, frames.length]);
  });
});

describe('a slow reader', () => {
  it('holds up neither the executor nor other readers', async () => {
    const host = new RemoteExecutor('host');
    await host.next('welcome');
    const client = served.client('client-agent');
    await submit(client);
    const offer = await host.accepted();
    const { executionId } = offer;
    const size = 60_000;
    const count = 300;
    // Never read: everything beyond the transport's windows has to wait on disk.
    const slow = client.readOutput({ executionId, from: [], follow: true });
    slow.pause();
    const frames = Array.from({ length: count }, (_, index) => toFrame(index * size, 'x'.repeat(size)));
    let logOffset = 0;
    const messages = frames.map((frame) => {
      const message = {
        executionId: logOffset === 0 ? executionId : '',
        logOffset,
        frames: Buffer.from(frame),
      };
      logOffset += frame.length;
      return message;
    });
    const { lengths, error } = await push('host', messages);
    expect(error).toBeUndefined();
    expect(lengths.at(-1)).toBe(logOffset);
    host.receipt(offer, logOffset);
    const fast = await drained<ReadOutputResponse>(
      served
        .client('client-agent')
        .readOutput({ executionId, from: [], follow: true }, new Metadata(), soon()),
    );
    expect(fast.error).toBeUndefined();
    const read = fast.items.reduce(
      (sum, { item }) => sum + (item?.$case === 'chunk' ? item.value.data.length : 0),
      0,
    );
    expect(read).toBe(size * count);
    // And it gets everything once it does read.
    let seen = 0;
    for await (const { item } of slow as AsyncIterable<ReadOutputResponse>) {
      if (item?.$case === 'chunk') seen += item.value.data.length;
    }
    expect(seen).toBe(size * count);
  });
});

describe('malformed output', () => {
  const good = Buffer.from(toFrame(0, 'good'));
  it.each([
    [
      'a frame of an unknown command',
      Buffer.from(
        ReadOutputResponse.encode({
          item: {
            $case: 'chunk',
            value: { commandId: 'other', stream: 1, offset: 0, monotonicNs: 0, data: Buffer.from('x') },
          },
        }).finish(),
      ),
    ],
    ['a gap in a stream', Buffer.from(toFrame(9, 'x'))],
    ['half a frame', Buffer.from(toFrame(4, 'x')).subarray(0, 5)],
    ['bytes that are no frame', Buffer.from('nothing')],
  ])('is refused and not kept: %s', async (_what, bad) => {
    const host = new RemoteExecutor('host');
    await host.next('welcome');
    await submit(served.client('client-agent'));
    const { executionId } = await host.accepted();
    const { lengths, error } = await push('host', [
      { executionId, logOffset: 0, frames: good },
      { executionId: '', logOffset: good.length, frames: bad },
    ]);
    // Of what came before it the answer may be the refusal: its executor asks anew.
    expect([[0], [0, good.length]]).toContainEqual(lengths);
    expect(error).toMatchObject({ code: 'REQUEST_INVALID' });
    expect(await test.gate.output.committedLength(executionId)).toBe(good.length);
  });
});
