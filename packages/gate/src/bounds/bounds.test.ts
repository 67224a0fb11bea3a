import { BinaryReader, BinaryWriter } from '@bufbuild/protobuf/wire';
import { isCscError } from '@csc-fleet/common/errors';
import { EndedBy } from '@csc-fleet/common/messages';
import {
  ConnectRequest,
  type ConnectResponse,
  type ExecutorLinkClient,
  FleetService,
  fromServiceError,
  GateService,
} from '@csc-fleet/common/rpc';
import { deniedContract, makeContract } from '@csc-fleet/test-kit/gate/contracts';
import { hostileMessages } from '@csc-fleet/test-kit/gate/hostile-messages';
import { ServedGate, soon, TestPki } from '@csc-fleet/test-kit/gate/served-gate';
import { agent, TestGate, toRequest } from '@csc-fleet/test-kit/gate/test-gate';
import { type ClientDuplexStream, Metadata, type ServiceError } from '@grpc/grpc-js';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { Remote } from '../link/connection.ts';

let pki: TestPki;
let test: TestGate;
let served: ServedGate;

beforeAll(async () => {
  pki = await TestPki.make();
});
afterAll(() => pki.remove());
beforeEach(async () => {
  test = await TestGate.open();
  served = await ServedGate.start(test.gate, pki, { requestsPerSec: 1_000_000, burst: 1_000_000 });
});
afterEach(async () => {
  await served.stop();
  await test.close();
});

const faultAt = (path: string) =>
  expect.objectContaining({
    code: 'REQUEST_INVALID',
    message: expect.stringContaining(path),
    faults: expect.arrayContaining([expect.objectContaining({ path })]),
  });

/** Nothing was a fault of ours, and the gate goes on. */
async function expectWell(): Promise<void> {
  expect([...served.logged.values()]).toEqual([]);
  expect(test.errors.filter((error) => !isCscError(error) || error.code === 'INTERNAL')).toEqual([]);
  expect((await test.submit(deniedContract())).executionId).not.toBe('');
}

const raw = (bytes: Buffer): Buffer => bytes;

describe('whatever is in a field of a request', () => {
  it.each(Object.entries({ ...GateService, ...FleetService }))(
    'is no fault of the gate’s: %s',
    async (name, { path, responseStream }) => {
      const client = served.client('client-agent');
      const type = `csc.gate.v1.${name.charAt(0).toUpperCase()}${name.slice(1)}Request`;
      const codeOf = ({ bytes }: { bytes: Buffer }): Promise<string> =>
        new Promise((resolve) => {
          const done = (error: ServiceError | null): void =>
            resolve(error === null ? 'OK' : fromServiceError(error).code);
          if (!responseStream) client.makeUnaryRequest(path, raw, raw, bytes, new Metadata(), soon(), done);
          else
            client
              .makeServerStreamRequest(path, raw, raw, bytes, new Metadata(), soon())
              .on('data', () => undefined)
              .on('error', done)
              .on('end', () => done(null));
        });
      const cases = hostileMessages(type, 2);
      const codes: [string, string][] = [];
      for (const hostile of cases) codes.push([hostile.what, await codeOf(hostile)]);
      const known = [
        'OK',
        'REQUEST_INVALID',
        'MESSAGE_TOO_LARGE',
        'CONTRACT_INVALID',
        'EXECUTION_UNKNOWN',
        'NOT_PERMITTED',
      ];
      expect(codes.filter(([, code]) => !known.includes(code))).toEqual([]);
      const canBeWrong = ![
        'listProfiles',
        'getStatus',
        'listExecutors',
        'prune',
        'resolve',
        'readLogTile',
      ].includes(name);
      expect(codes.some(([, code]) => code === 'REQUEST_INVALID')).toBe(canBeWrong);
      await expectWell();
    },
  );
});

describe('whatever is in a field of an executor’s message', () => {
  type Call = ClientDuplexStream<Buffer, ConnectResponse>;

  /** The code that the connection ends with; `OK` where the gate takes the message and goes on. */
  function say(
    link: ExecutorLinkClient,
    messages: readonly Buffer[],
    metadata = new Metadata(),
  ): Promise<string> {
    const call: Call = link.makeBidiStreamRequest(
      '/csc.link.v1.ExecutorLink/Connect',
      raw,
      (bytes: Buffer) => bytes as unknown as ConnectResponse,
      metadata,
      soon(),
    );
    const heartbeat = ConnectRequest.encode({
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
    }).finish();
    return new Promise<string>((resolve) => {
      let answers = 0;
      // Welcome, and HeartbeatAck behind all that was said.
      call.on('data', () => {
        answers += 1;
        if (answers === 2) resolve('OK');
      });
      call.on('error', (error: ServiceError) => resolve(fromServiceError(error).code));
      call.on('end', () => resolve('ended'));
      for (const message of [...messages, Buffer.from(heartbeat)]) call.write(message);
    }).finally(() => call.cancel());
  }

  it('is no fault of the gate’s, and ends the connection', async () => {
    const executor = test.executor('host');
    const hello = ConnectRequest.encode({ message: { $case: 'hello', value: executor.hello() } }).finish();
    const codes: [string, string][] = [];
    const link = served.link('executor-host');
    for (const { what, bytes } of hostileMessages('csc.link.v1.ConnectRequest', 4)) {
      const first = what.startsWith('hello') ? [] : [Buffer.from(hello)];
      codes.push([what, await say(link, [...first, bytes])]);
    }
    const known = ['OK', 'REQUEST_INVALID', 'MESSAGE_TOO_LARGE', 'CREDENTIALS_INVALID'];
    expect(codes.filter(([, code]) => !known.includes(code))).toEqual([]);
    expect(codes.filter(([, code]) => code === 'REQUEST_INVALID').length).toBeGreaterThan(codes.length / 2);
    await expectWell();
  });

  it('has its bounds also where a link over the network claims to be the gate’s own, as that of csc run is', async () => {
    const opened: Remote[] = [];
    await served.stop();
    const { link } = test.gate;
    const open = (remote: Remote) => {
      opened.push(remote);
      return link.open(remote);
    };
    served = await ServedGate.start({ ...test.gate, link: { open } }, pki);
    const names = ['isOurs', 'is_ours', 'isours', 'is-ours', 'csc-is-ours', 'x-csc-is-ours', 'remote'];
    const metadata = new Metadata();
    for (const name of names) metadata.set(name.toLowerCase(), 'true');
    // Members that no version has, in the Hello and around it: true, and its name.
    const claims = [200, 2000].flatMap((number) => [
      ...new BinaryWriter()
        .uint32(number << 3)
        .bool(true)
        .finish(),
      ...new BinaryWriter()
        .uint32(((number + 1) << 3) | 2)
        .string('isOurs')
        .finish(),
    ]);
    const claiming = (hello: object): Buffer => {
      const labels = Object.fromEntries(names.map((name) => [name, 'true']));
      const value = { ...test.executor('host').hello(), labels, isOurs: true, ...hello };
      const reader = new BinaryReader(ConnectRequest.encode({ message: { $case: 'hello', value } }).finish());
      const tag = reader.uint32();
      const inner = Uint8Array.from([...reader.bytes(), ...claims]);
      return Buffer.from([...new BinaryWriter().uint32(tag).bytes(inner).finish(), ...claims]);
    };
    const host = served.link('executor-host');
    expect(await say(host, [claiming({})], metadata)).toBe('OK');
    for (const hello of [{ slots: 1025 }, { version: 'x'.repeat(65) }, { executionMode: 'soft' }])
      expect(await say(host, [claiming(hello)], metadata)).toBe('REQUEST_INVALID');
    const beyond = { executionId: 'x'.repeat(257), notes: [] };
    const accepted = ConnectRequest.encode({ message: { $case: 'accepted', value: beyond } }).finish();
    expect(await say(host, [claiming({}), Buffer.from([...accepted, ...claims])], metadata)).toBe(
      'REQUEST_INVALID',
    );
    expect(opened.map(({ isOurs }) => isOurs)).toEqual(Array(5).fill(undefined));
  });

  it('asks for no file but one of a published policy repository', async () => {
    const fetch = (certificate: string, path: string): Promise<string> =>
      new Promise((resolve) => {
        const link = served.link(certificate);
        link.fetchPolicyFile({ path }, new Metadata(), soon(), (error, answer) =>
          resolve(error === null ? `found: ${answer?.found}` : fromServiceError(error).code),
        );
      });
    const paths = [
      '',
      '../gate.db',
      'metadata/../../keys/online.key',
      '/etc/passwd',
      'keys/root.key',
      'metadata/.key',
    ];
    for (const path of paths) expect(await fetch('executor-host', path)).toBe('REQUEST_INVALID');
    expect(await fetch('executor-host', 'metadata/timestamp.json')).toBe('found: false');
    expect(await fetch('client-agent', 'metadata/timestamp.json')).toBe('CREDENTIALS_INVALID');
    await expectWell();
  });

  it('is no fault of the gate’s in output', async () => {
    const link = served.link('executor-host');
    const codes: [string, string][] = [];
    for (const { what, bytes } of hostileMessages('csc.link.v1.PushOutputRequest', 0)) {
      const call = link.makeBidiStreamRequest(
        '/csc.link.v1.ExecutorLink/PushOutput',
        raw,
        raw,
        new Metadata(),
        soon(),
      );
      const ended = new Promise<string>((resolve) => {
        call.on('data', () => undefined);
        call.on('error', (error: ServiceError) => resolve(fromServiceError(error).code));
        call.on('end', () => resolve('OK'));
      });
      call.write(bytes);
      call.end();
      codes.push([what, await ended]);
    }
    expect(codes.filter(([, code]) => !['REQUEST_INVALID', 'EXECUTION_UNKNOWN'].includes(code))).toEqual([]);
    await expectWell();
  });
});

describe('a member beyond its bound is named', () => {
  const many = (count: number) =>
    Object.fromEntries(Array.from({ length: count }, (_, index) => [`l${index}`, 'x']));

  it.each<[string, object]>([
    ['idempotency_key', { idempotencyKey: 'x'.repeat(257) }],
    ['selector', { selector: many(65) }],
    ['selector["a b"]', { selector: { 'a b': 'x' } }],
    ['selector.pool', { selector: { pool: 'x'.repeat(256) } }],
    ['selector.pool', { selector: { pool: 'a\nb' } }],
    ['policy_profile', { policyProfile: 'x'.repeat(257) }],
    ['approvals_json', { approvalsJson: Array<Buffer>(17).fill(Buffer.from('{}')) }],
    ['approvals_json[0]', { approvalsJson: [Buffer.alloc(65_537)] }],
    [
      'options.queue_timeout.seconds',
      { options: { receiptVersion: '', queueTimeout: { seconds: -1, nanos: 0 } } },
    ],
  ])('of a client: %s', async (path, request) => {
    await expect(test.as(agent).submit(toRequest(makeContract(), request))).rejects.toEqual(faultAt(path));
  });

  it.each<[string, object]>([
    ['hello.labels', { labels: many(65) }],
    ['hello.labels["-x"]', { labels: { '-x': 'x' } }],
    ['hello.labels.pool', { labels: { pool: '\x1b[2J' } }],
    ['hello.slots', { slots: -1 }],
    ['hello.slots', { slots: 1025 }],
    ['hello.version', { version: 'x'.repeat(65) }],
    ['hello.policy_sha256s', { policySha256s: Array<string>(1001).fill('0'.repeat(64)) }],
    ['hello.policy_sha256s[0]', { policySha256s: ['x'] }],
    ['hello.execution_mode', { executionMode: 'soft' }],
    ['hello.execution_ids', { executionIds: Array<string>(10_001).fill('x') }],
  ])('of an executor: %s', async (path, hello) => {
    const executor = test.executor('e1');
    await executor.connect([], hello);
    expect(executor.hungUp).toEqual(faultAt(path));
    expect(executor.all('welcome')).toEqual([]);
    test.errors.splice(0);
  });

  it('of a running executor, whose next connection goes on', async () => {
    const executor = await test.connected('e1');
    const { executionId } = await test.submit(makeContract());
    executor.say({ $case: 'accepted', value: { executionId, notes: Array<string>(65).fill('x') } });
    expect(await executor.untilHungUp()).toEqual(faultAt('accepted.notes'));
    await executor.connect([executionId]);
    const startedAt = new Date(Number.NaN);
    const result = {
      commandId: 'main',
      endedBy: EndedBy.EXIT,
      signal: '',
      outputs: [],
      error: '',
      startedAt,
      endedAt: undefined,
    };
    executor.say({ $case: 'exited', value: { executionId, result } });
    expect(await executor.untilHungUp()).toEqual(faultAt('exited.result.started_at'));
    await executor.connect([executionId]);
    await executor.connect([executionId]);
    executor.say({ $case: 'hello', value: executor.hello() });
    expect(await executor.untilHungUp()).toEqual(faultAt('hello'));
    test.errors.splice(0);
    await executor.connect([executionId]);
    await executor.finish(await executor.next('offer', executionId));
  });
});
