import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { connect } from '@csc-fleet/client';
import {
  channelOptions,
  ErrorInfo,
  ExecutionState,
  ExecutorLinkClient,
  fromServiceError,
  GateClient,
  type GetExecutionResponse,
  type GetKeysResponse,
  type GetReceiptResponse,
  type ListExecutionsResponse,
  type PushOutputResponse,
  type ReadOutputResponse,
  type RunResponse,
  readChannelCredentials,
  type ServiceError,
  Status,
  type SubmitRequest,
  type SubmitResponse,
} from '@csc-fleet/common/rpc';
import { deniedContract, makeContract } from '@csc-fleet/test-kit/gate/contracts';
import { ask, collect, outcome, toTransport } from '@csc-fleet/test-kit/gate/grpc-calls';
import { ScriptedExecutor, toFrame } from '@csc-fleet/test-kit/gate/scripted-executor';
import { ServedGate, TestPki } from '@csc-fleet/test-kit/gate/served-gate';
import { agent, noWait, TestGate, toRequest } from '@csc-fleet/test-kit/gate/test-gate';
import {
  type Client,
  type ClientReadableStream,
  credentials,
  makeGenericClientConstructor,
  type ServiceDefinition,
  status,
} from '@grpc/grpc-js';
import { service as healthService } from 'grpc-health-check';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { Gate } from '../service/compose.ts';
import { defaultGateLimits } from '../service/config.ts';
import { startServer } from '../service/server.ts';
import { readerWindow } from './writing.ts';

let pki: TestPki;
let test: TestGate;
let served: ServedGate;
const opened: Client[] = [];

beforeAll(async () => {
  pki = await TestPki.make();
});
afterAll(() => pki.remove());
beforeEach(async () => {
  test = await TestGate.open();
  served = await ServedGate.start(test.gate, pki);
});
afterEach(async () => {
  for (const client of opened.splice(0)) client.close();
  await served.stop();
  await test.close();
});

const rejected = (code: string) => expect.objectContaining({ code });

const submit = (client: GateClient, request: SubmitRequest) =>
  ask<SubmitResponse>((done) => client.submit(request, done));

const getKeys = (client: GateClient) => ask<GetKeysResponse>((done) => client.getKeys({ keyIds: [] }, done));

/** An executor on a real connection, with several slots. */
async function connected(name: string, link = served.link(`executor-${name}`)): Promise<ScriptedExecutor> {
  const transport = toTransport(link);
  const policySha256s = test.policies.all().map((it) => it.sha256);
  const executor = new ScriptedExecutor(() => transport, {
    name,
    clock: test.clock,
    policySha256s,
    slots: 5,
  });
  await executor.connect();
  expect(executor.hungUp).toBeUndefined();
  return executor;
}

describe('a caller', () => {
  const Health = makeGenericClientConstructor(healthService as ServiceDefinition, '');

  const health = (certificate: { key?: Buffer; cert?: Buffer }, service: string) => {
    const { key, cert } = certificate;
    const secure = credentials.createSsl(readFileSync(pki.files('gate').ca), key ?? null, cert ?? null);
    const client = new Health(`localhost:${served.server.port}`, secure, channelOptions);
    opened.push(client);
    return ask<{ status: string }>((done) => client['check']?.({ service }, done));
  };

  const own = () => {
    const { key, cert } = pki.files('client-agent');
    return { key: readFileSync(key), cert: readFileSync(cert) };
  };
  const names = [
    '',
    'csc.gate.v1.Gate',
    'csc.gate.v1.Gate/placement',
    'csc.gate.v1.Fleet',
    'csc.link.v1.ExecutorLink',
  ];
  const healthy = async (): Promise<string[]> => {
    const answers = await Promise.all(names.map((name) => health(own(), name)));
    return names.filter((_, index) => answers[index]?.status === 'SERVING');
  };

  it('with a certificate learns what of the gate is healthy, and that nothing can be placed without an executor', async () => {
    expect(await healthy()).toEqual(names.filter((name) => !name.endsWith('/placement')));
    const executor = await connected('host');
    expect(await healthy()).toEqual(names);
    executor.say({ $case: 'draining', value: {} });
    await expect.poll(healthy).not.toContain('csc.gate.v1.Gate/placement');
    await expect(health(own(), 'csc.gate.v1.Nothing')).rejects.toMatchObject({
      cause: { code: status.NOT_FOUND },
    });
  });

  it('is told at once that a store takes no writes, which reads and executors outlast; and of the end', async () => {
    await served.stop();
    let storeWritable = true;
    served = await ServedGate.start({ ...test.gate, health: () => ({ storeWritable, placing: true }) }, pki);
    const secure = credentials.createSsl(readFileSync(pki.files('gate').ca), own().key, own().cert);
    const client = new Health(`localhost:${served.server.port}`, secure, channelOptions);
    opened.push(client);
    const watching: ClientReadableStream<{ status: string }> = client['watch']?.({ service: '' });
    const told: string[] = [];
    watching.on('data', ({ status: it }) => told.push(it));
    await expect.poll(() => told).toEqual(['SERVING']);
    storeWritable = false;
    expect(await healthy()).toEqual(['csc.gate.v1.Fleet', 'csc.link.v1.ExecutorLink']);
    await expect.poll(() => told).toEqual(['SERVING', 'NOT_SERVING']);
    storeWritable = true;
    await expect.poll(() => told).toEqual(['SERVING', 'NOT_SERVING', 'SERVING']);
    const ended = new Promise((resolve) => watching.once('end', resolve));
    await served.stop();
    await ended;
    expect(told.at(-1)).toBe('NOT_SERVING');
  });

  it('is asked for once at a time, however many watch it', async () => {
    await served.stop();
    // Another answer each time: were each of two asked for, either would be told the same for ever.
    let asked = 0;
    const flapping = () => ({ storeWritable: asked++ % 2 === 0, placing: true });
    served = await ServedGate.start({ ...test.gate, health: flapping }, pki);
    const secure = credentials.createSsl(readFileSync(pki.files('gate').ca), own().key, own().cert);
    const client = new Health(`localhost:${served.server.port}`, secure, channelOptions);
    opened.push(client);
    const told = [0, 1].map(() => {
      const statuses: string[] = [];
      const watching: ClientReadableStream<{ status: string }> = client['watch']?.({ service: '' });
      watching.on('data', ({ status: it }) => statuses.push(it));
      return statuses;
    });
    await expect.poll(() => told.some((it) => it.length > 1)).toBe(true);
    await served.stop();
  });

  it('without a certificate is not heard at all', async () => {
    await expect(health({}, '')).rejects.toEqual(rejected('GATE_UNREACHABLE'));
  });

  it('is the principal of what it submits', async () => {
    const { executionId } = await submit(served.client('client-agent'), toRequest(deniedContract()));
    const { execution } = await test.as(agent).getExecution({ executionId });
    expect(execution?.principal).toBe(agent);
  });

  it('of another trust domain is refused, whatever its CA says: client and executor, in every call', async () => {
    const client = served.client('client-foreign');
    await expect(getKeys(client)).rejects.toEqual(rejected('CREDENTIALS_INVALID'));
    await expect(collect(client.run({ submit: toRequest(deniedContract()) }))).rejects.toEqual(
      rejected('CREDENTIALS_INVALID'),
    );
    const link = served.link('executor-foreign');
    await expect(collect(link.connect())).rejects.toEqual(rejected('CREDENTIALS_INVALID'));
    await expect(collect(link.pushOutput())).rejects.toEqual(rejected('CREDENTIALS_INVALID'));
  });

  it('that is an executor is refused by every method of Gate', async () => {
    const client = served.client('executor-host');
    const request = toRequest(deniedContract());
    const executionId = 'none';
    const calls = [
      submit(client, request),
      getKeys(client),
      ask((done) => client.check({ contract: request.contract, policyProfile: '', terminal: false }, done)),
      ask((done) => client.cancel({ executionId, gracePeriod: undefined }, done)),
      ask((done) => client.getExecution({ executionId }, done)),
      ask((done) => client.getReceipt({ executionId }, done)),
      ask((done) =>
        client.listExecutions({ states: [], pageSize: 0, pageToken: '', allPrincipals: false }, done),
      ),
      collect(client.run({ submit: request })),
      collect(client.watch({ executionId, fromSequence: 0 })),
      collect(client.readOutput({ executionId, from: [], follow: false })),
    ];
    const codes = await Promise.all(calls.map(outcome));
    expect(codes).toEqual(Array(calls.length).fill('CREDENTIALS_INVALID'));
  });

  it('is told why in ErrorInfo, of our domain', async () => {
    const request = toRequest(makeContract(), { policyProfile: 'wide' });
    const error = await new Promise<ServiceError | null>((resolve) =>
      served.client('client-other').submit(request, (it) => resolve(it)),
    );
    expect(error?.code).toBe(status.PERMISSION_DENIED);
    const [bytes] = error?.metadata.get('grpc-status-details-bin') ?? [];
    const { code, details } = Status.decode(bytes as Buffer);
    expect(code).toBe(status.PERMISSION_DENIED);
    const info = details.find(({ typeUrl }) => typeUrl === 'type.googleapis.com/google.rpc.ErrorInfo');
    expect(ErrorInfo.decode(info?.value ?? Buffer.alloc(0))).toMatchObject({
      reason: 'NOT_PERMITTED',
      domain: 'csc',
    });
  });

  it('gets what it asks for from the unary methods', async () => {
    const executor = await connected('host');
    const client = served.client('client-agent');
    const { executionId, state } = await submit(client, toRequest(makeContract()));
    expect(state).toBe(ExecutionState.OFFERED);
    const offer = await executor.next('offer', executionId);
    await executor.accept(executionId);
    await ask((done) => client.cancel({ executionId, gracePeriod: undefined }, done));
    await executor.next('cancel', executionId);
    await executor.finish(offer, { receipt: { status: 'failed', ended: 'cancelled', exit_code: 143 } });
    const got = await ask<GetExecutionResponse>((done) => client.getExecution({ executionId }, done));
    expect(got.execution).toMatchObject({
      state: ExecutionState.CANCELLED,
      exitCode: 143,
      executorId: 'host',
    });
    const { receiptJson } = await ask<GetReceiptResponse>((done) => client.getReceipt({ executionId }, done));
    expect(JSON.parse(receiptJson.toString())).toMatchObject({ execution_id: executionId });
    const list = await ask<ListExecutionsResponse>((done) =>
      client.listExecutions({ states: [], pageSize: 0, pageToken: '', allPrincipals: false }, done),
    );
    expect(list.executions).toEqual([got.execution]);
    const keys = (await getKeys(client)).keys.map(({ keyId }) => keyId);
    expect(keys.sort()).toEqual([executor.signer.keyId, test.signer.keyId].sort());
  });
});

describe('Run', () => {
  const kindOf = ({ item }: RunResponse) => (item?.$case === 'event' ? item.value.event?.$case : item?.$case);

  const run = (request = toRequest(makeContract())) => served.client('client-agent').run({ submit: request });

  it('gives events and output in order, Finished last', async () => {
    const executor = await connected('host');
    const items = collect<RunResponse>(run());
    const offer = await executor.next('offer');
    const { executionId } = offer;
    await executor.accept(executionId);
    await executor.started(executionId);
    const words = ['one ', 'two ', 'three ', 'four'];
    let [logOffset, offset] = [0, 0];
    for (const word of words) {
      logOffset = await executor.push(executionId, logOffset, offset, word);
      offset += word.length;
    }
    await executor.exited(executionId, words.join(''));
    await executor.finish(offer);
    const all = await items;
    const events = all.map(kindOf).filter((kind) => kind !== 'chunk' && kind !== 'end');
    expect(events).toEqual([
      'decided',
      'queued',
      'placed',
      'started',
      'commandStarted',
      'commandExited',
      'finished',
    ]);
    const output = all.flatMap(({ item }): unknown[] => {
      if (item?.$case === 'chunk') return [item.value.data.toString()];
      return item?.$case === 'end' ? [item.value] : [];
    });
    expect(output).toEqual([...words, expect.objectContaining({ commandId: 'main', length: offset })]);
    expect(all.map(kindOf).at(-1)).toBe('finished');
  });

  it('gives all output before Finished where the output comes after the receipt', async () => {
    const executor = await connected('host');
    const items = collect<RunResponse>(run());
    const offer = await executor.next('offer');
    executor.sendReceipt(offer, {}, toFrame(0, 'late').length);
    await executor.push(offer.executionId, 0, 0, 'late');
    expect((await items).map(kindOf)).toEqual(['decided', 'queued', 'placed', 'chunk', 'finished']);
  });

  it('gives a denial', async () => {
    const all = await collect<RunResponse>(run(toRequest(deniedContract())));
    expect(all.map(kindOf)).toEqual(['decided', 'finished']);
  });

  it('ends at once for what awaits approval', async () => {
    const all = await collect<RunResponse>(run(toRequest(makeContract({ approval_mode: 'human_required' }))));
    expect(all.map(kindOf)).toEqual(['decided']);
  });

  it('fails as Submit does', async () => {
    await expect(collect(served.client('client-agent').run({ submit: undefined }))).rejects.toEqual(
      rejected('CONTRACT_INVALID'),
    );
    const request = toRequest(makeContract(), { options: noWait });
    await expect(collect(run(request))).rejects.toEqual(rejected('NO_MATCHING_EXECUTOR'));
  });

  it('leaves the execution running where its caller goes', async () => {
    const executor = await connected('host');
    const call = run();
    const ended = outcome(collect(call));
    const offer = await executor.next('offer');
    await executor.accept(offer.executionId);
    call.cancel();
    expect(await ended).toBe('CANCELLED');
    expect(await test.state(offer.executionId)).toBe(ExecutionState.RUNNING);
    await executor.finish(offer);
    expect(await test.state(offer.executionId)).toBe(ExecutionState.SUCCEEDED);
  });
});

describe('an executor’s connection', () => {
  it('ends with the reason where the gate hangs up', async () => {
    const call = served.link('executor-host').connect();
    call.write({
      message: {
        $case: 'heartbeat',
        value: {
          running: 0,
          chainHeadJson: Buffer.alloc(0),
          wouldRefuse: 0,
          sentAt: undefined,
          shortage: '',
        },
      },
    });
    await expect(collect(call)).rejects.toEqual(rejected('REQUEST_INVALID'));
  });

  it('is over for the gate when the executor goes', async () => {
    const executor = await connected('host');
    executor.disconnect();
    const submit = () => test.submit(makeContract(), { options: noWait });
    await expect.poll(() => outcome(submit())).toBe('NO_MATCHING_EXECUTOR');
  });

  it('ends when the executor has nothing more to say', async () => {
    const call = served.link('executor-host').connect();
    call.end();
    expect(await collect(call)).toEqual([]);
  });

  it('is ended by the gate when the executor has gone silent', async () => {
    const server = await startServer(test.gate, {
      listen: '127.0.0.1:0',
      tls: pki.files('gate'),
      limits: defaultGateLimits(),
      heartbeatIntervalSec: 0.25,
      log: () => undefined,
    });
    const secure = readChannelCredentials(pki.files('executor-host'));
    const client = new ExecutorLinkClient(`127.0.0.1:${server.port}`, secure, channelOptions);
    opened.push(client);
    const executor = await connected('host', client);
    await executor.untilHungUp();
    await expect(test.submit(makeContract(), { options: noWait })).rejects.toEqual(
      rejected('NO_MATCHING_EXECUTOR'),
    );
    client.close();
    await server.stop(0);
  });
});

describe('an upload of output', () => {
  let executor: ScriptedExecutor;
  let executionId: string;
  const { length } = toFrame(0, 'hello');
  const both = length + toFrame(5, 'world').length;

  beforeEach(async () => {
    executor = await connected('host');
    executionId = (await submit(served.client('client-agent'), toRequest(makeContract()))).executionId;
    expect(await executor.push(executionId, 0, 0, 'hello')).toBe(length);
  });

  it('is told first how much the gate has', async () => {
    const call = served.link('executor-host').pushOutput();
    call.write({ executionId, logOffset: 0, frames: Buffer.alloc(0) });
    call.end();
    expect(await collect(call)).toEqual([{ committedLength: length }]);
  });

  it('is told of several messages at once where they come at once, and of the last of them', async () => {
    const call = served.link('executor-host').pushOutput();
    const answers: number[] = [];
    call.on('data', ({ committedLength }: PushOutputResponse) => answers.push(committedLength));
    const ended = once(call, 'end');
    let [end, offset] = [length, 'hello'.length];
    const push = (text: string): void => {
      const frames = toFrame(offset, text);
      call.write({
        executionId: offset === 5 ? executionId : '',
        logOffset: end,
        frames: Buffer.from(frames),
      });
      end += frames.length;
      offset += text.length;
    };
    for (let at = 0; at < 100; at += 1) push('and on');
    await expect.poll(() => answers.at(-1)).toBe(end);
    expect(answers.length).toBeLessThan(75);
    expect(answers).toEqual([...new Set(answers)].toSorted((a, b) => a - b));
    push('and the last');
    await expect.poll(() => answers.at(-1)).toBe(end);
    call.end();
    await ended;
  });

  it('may repeat what the gate has', async () => {
    expect(await executor.push(executionId, 0, 0, 'hello')).toBe(length);
    expect(await executor.push(executionId, length, 5, 'world')).toBe(both);
  });

  it('fails for a gap, in the log or in the stream', async () => {
    await expect(executor.push(executionId, length + 1, 5, 'world')).rejects.toEqual(
      rejected('REQUEST_INVALID'),
    );
    await expect(executor.push(executionId, length, 6, 'world')).rejects.toEqual(rejected('REQUEST_INVALID'));
    expect(await executor.push(executionId, length, 5, 'world')).toBe(both);
  });

  it('fails for an execution of another executor', async () => {
    const other = await connected('second');
    await expect(other.push(executionId, length, 5, 'world')).rejects.toEqual(rejected('EXECUTION_UNKNOWN'));
    expect(await executor.push(executionId, length, 5, 'world')).toBe(both);
  });

  it('fails for an execution that has ended', async () => {
    await executor.finish(await executor.next('offer'));
    await expect(executor.push(executionId, length, 5, 'world')).rejects.toEqual(
      rejected('EXECUTION_UNKNOWN'),
    );
  });
});

describe('stopping', () => {
  // Longer than any test may take.
  const patience = 600_000;

  it('ends although an executor is connected, and ends its connection', async () => {
    const executor = await connected('host');
    await served.server.stop(patience);
    await executor.untilHungUp();
    expect(await outcome(getKeys(served.client('client-agent')))).toBe('GATE_UNREACHABLE');
    await expect(test.submit(makeContract(), { options: noWait })).rejects.toEqual(
      rejected('NO_MATCHING_EXECUTOR'),
    );
  });

  it('ends streams, and says that they may go on elsewhere', async () => {
    const executor = await connected('host');
    const client = served.client('client-agent');
    const { executionId } = await submit(client, toRequest(makeContract()));
    await executor.push(executionId, 0, 0, 'hello');
    const streams = [
      client.watch({ executionId, fromSequence: 0 }),
      client.readOutput({ executionId, from: [], follow: true }),
      client.run({ submit: toRequest(makeContract()) }),
    ];
    const begun = streams.map((stream) => new Promise((resolve) => stream.once('data', resolve)));
    const outcomes = streams.map((stream) => outcome(collect(stream)));
    await Promise.all(begun);
    await served.server.stop(patience);
    expect(await Promise.all(outcomes)).toEqual(['DRAINING', 'DRAINING', 'DRAINING']);
  });

  it('ends an upload of output too', async () => {
    const executor = await connected('host');
    const { executionId } = await submit(served.client('client-agent'), toRequest(makeContract()));
    await executor.next('offer');
    const call = served.link('executor-host').pushOutput();
    const begun = new Promise((resolve) => call.once('data', resolve));
    call.write({ executionId, logOffset: 0, frames: Buffer.alloc(0) });
    await begun;
    const ended = outcome(collect(call));
    await served.server.stop(patience);
    expect(await ended).toBe('DRAINING');
  });

  it('ends a stream that nobody reads too', async () => {
    const executor = await connected('host');
    const client = served.client('client-agent');
    const { executionId } = await submit(client, toRequest(makeContract()));
    await executor.accept(executionId);
    // More than the windows on the way can hold.
    const chunk = 'x'.repeat(64 * 1024);
    const frames = Array.from({ length: 320 }, (_, index) => toFrame(index * chunk.length, chunk));
    await test.gate.output.append(executionId, 0, Buffer.concat(frames));
    const idle = client.readOutput({ executionId, from: [], follow: true });
    const ended = new Promise((resolve) => idle.once('error', resolve));
    await new Promise((resolve) => idle.once('metadata', resolve));
    await served.server.stop(patience);
    expect(fromServiceError(await ended).code).toBe('DRAINING');
  });

  it('waits for a call that is under way: what that needs is closed then', async () => {
    const begun = Promise.withResolvers<void>();
    const letGo = Promise.withResolvers<void>();
    const getKeys: Gate['methods']['getKeys'] = async (call) => {
      begun.resolve();
      await letGo.promise;
      return test.gate.methods.getKeys(call);
    };
    const busy = await ServedGate.start({ ...test.gate, methods: { ...test.gate.methods, getKeys } }, pki);
    const client = busy.client('client-agent');
    const seen: string[] = [];
    const ended = outcome(ask<GetKeysResponse>((done) => client.getKeys({ keyIds: [] }, done)));
    await begun.promise;
    const stopped = busy.server.stop(patience).then(() => seen.push('stopped'));
    // Long enough for a server that waits for nothing.
    await new Promise((resolve) => setTimeout(resolve, 50));
    seen.push('let go');
    letGo.resolve();
    expect(await ended).toBe('done');
    await stopped;
    expect(seen).toEqual(['let go', 'stopped']);
    client.close();
  });

  it('cuts off what is still open after a while', async () => {
    const begun = Promise.withResolvers<void>();
    const getKeys: Gate['methods']['getKeys'] = () => {
      begun.resolve();
      return new Promise(() => undefined);
    };
    const stuck = await ServedGate.start({ ...test.gate, methods: { ...test.gate.methods, getKeys } }, pki);
    const client = stuck.client('client-agent');
    const ended = outcome(ask<GetKeysResponse>((done) => client.getKeys({ keyIds: [] }, done)));
    await begun.promise;
    await stuck.server.stop(10);
    expect(await ended).not.toBe('done');
    client.close();
  });
});

describe('readers that never read', () => {
  it('cost a window each, however much there is, and hold up nobody who does', async () => {
    const executor = await connected('host');
    const { executionId } = await submit(served.client('client-agent'), toRequest(makeContract()));
    await executor.accept(executionId);
    const chunk = 'x'.repeat(64 * 1024);
    const frames = Array.from({ length: 96 }, (_, index) => toFrame(index * chunk.length, chunk));
    await test.gate.output.append(executionId, 0, Buffer.concat(frames));
    // With the smallest window that there is: the rest of it would be at the gate.
    const options = {
      ...channelOptions,
      'grpc.use_local_subchannel_pool': 1,
      'grpc-node.flow_control_window': 65_535,
    };
    const idler = new GateClient(served.address, readChannelCredentials(pki.files('client-agent')), options);
    opened.push(idler);
    const idle = Array.from({ length: 12 }, () =>
      idler.readOutput({ executionId, from: [], follow: true }).on('error', () => undefined),
    );
    await Promise.all(idle.map((it) => new Promise((resolve) => it.once('metadata', resolve))));
    const { unread } = served.server;
    const read = await collect<ReadOutputResponse>(
      served.client('client-agent').readOutput({ executionId, from: [], follow: false }),
    );
    expect(read).toHaveLength(frames.length);
    expect(unread.bytes).toBeGreaterThan(idle.length * chunk.length);
    expect(unread.most).toBeLessThanOrEqual((idle.length + 1) * (readerWindow + 2 * chunk.length));
    for (const it of idle) it.cancel();
    while (unread.bytes > 0) await executor.settled();
    expect(unread.bytes).toBe(0);
  });
});

describe('a slow consumer of the stub', () => {
  it('holds back what is sent to it, and gets all of it', async () => {
    const executor = await connected('host');
    const { executionId } = await submit(served.client('client-agent'), toRequest(makeContract()));
    await executor.accept(executionId);
    const chunk = 'x'.repeat(64 * 1024);
    const frames = Array.from({ length: 256 }, (_, index) => toFrame(index * chunk.length, chunk));
    await test.gate.output.append(executionId, 0, Buffer.concat(frames));
    let sent = 0;
    const counted = await ServedGate.start(
      {
        ...test.gate,
        methods: {
          ...test.gate.methods,
          readOutput: (call) =>
            test.gate.methods.readOutput({
              ...call,
              write: (message) => {
                sent += message.length;
                return call.write(message);
              },
            }),
        },
      },
      pki,
    );
    const client = connect({ address: counted.address, tls: pki.files('client-agent') });
    let taken = 0;
    for await (const item of client.readOutput(executionId, { follow: false })) {
      // The rest waits at the gate.
      while (taken === 0 && counted.server.unread.bytes < readerWindow) await executor.settled();
      // In the windows of the call, and in what grpc-js and the kernel have of it on either side.
      if (taken === 0) expect(sent).toBeLessThan(12 * 1024 * 1024);
      if (item.type === 'chunk') taken += item.data.length;
    }
    client.close();
    await counted.stop();
    expect(taken).toBe(frames.length * chunk.length);
  });
});

describe('starting', () => {
  it('fails where something else listens there', async () => {
    const starting = startServer(test.gate, {
      listen: served.address,
      tls: pki.files('gate'),
      limits: defaultGateLimits(),
      heartbeatIntervalSec: 10,
      log: () => undefined,
    });
    await expect(starting).rejects.toEqual(rejected('CONFIG_INVALID'));
  });
});
