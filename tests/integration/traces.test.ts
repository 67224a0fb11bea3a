import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect, type GateClient } from '@csc-fleet/client';
import { createKeyRing, createSigner, generateKeyPair } from '@csc-fleet/common/crypto';
import { orThrow } from '@csc-fleet/common/errors';
import type { ConnectResponse, Offer } from '@csc-fleet/common/messages';
import { openTracing, tracingTo } from '@csc-fleet/common/open-tracing';
import { createPolicySet, parsePolicy } from '@csc-fleet/common/policy';
import { GateClient as GateStub, readChannelCredentials } from '@csc-fleet/common/rpc';
import { silentLog } from '@csc-fleet/common/service';
import { openTraces, parseTraceContext, type Tracing } from '@csc-fleet/common/tracing';
import { createExecutor } from '@csc-fleet/executor/compose';
import type { LinkConnection } from '@csc-fleet/executor/link';
import { createGate } from '@csc-fleet/gate/compose';
import { defaultGateLimits } from '@csc-fleet/gate/config';
import { makeContract, toBytes } from '@csc-fleet/test-kit/contract';
import { ServedGate, TestPki } from '@csc-fleet/test-kit/gate/served-gate';
import { testPolicy } from '@csc-fleet/test-kit/policy';
import { csc } from '@csc-fleet/test-kit/process';
import { Metadata } from '@grpc/grpc-js';
import { trace } from '@opentelemetry/api';
import {
  InMemorySpanExporter,
  type ReadableSpan,
  SimpleSpanProcessor,
  TracerProvider,
} from '@opentelemetry/sdk-trace';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

// Gate, executor and client of this process, over gRPC where the real ones use it.

const spans = new InMemorySpanExporter();
const agent = 'spiffe://csc.local/client/agent';
const host = {
  uri: 'spiffe://csc.local/executor/host',
  role: 'executor',
  name: 'host',
  trustDomain: 'csc.local',
} as const;
const service = (name: string) => ({ name, version: '0.0.0', instance: name });
const toMemory = (name: string): Tracing =>
  tracingTo(new SimpleSpanProcessor({ exporter: spans }), 1, service(name));

let pki: TestPki;
beforeAll(async () => {
  pki = await TestPki.make();
});
afterAll(() => pki.remove());

interface House extends AsyncDisposable {
  readonly address: string;
  readonly workspace: string;
  readonly offers: Offer[];
  client(): GateClient;
}

/** @param toHost changes what the gate sends to its host, as a gate that was taken over might */
async function openHouse(
  tracing: { readonly gate?: Tracing | undefined; readonly host?: Tracing | undefined },
  toHost: (offer: Offer) => Offer = (offer) => offer,
): Promise<House> {
  const directory = mkdtempSync(join(tmpdir(), 'csc-traces-'));
  const workspace = join(directory, 'workspace');
  mkdirSync(workspace);
  const policy = orThrow(parsePolicy(Buffer.from(testPolicy(workspace))), 'POLICY_INVALID', 'tests');
  const policies = createPolicySet([policy]);
  const signer = createSigner(generateKeyPair().seed, 'gate-key');
  const gate = await createGate(
    {
      gateId: 'gate',
      identity: 'spiffe://csc.local/gate/gate',
      dataDir: join(directory, 'gate'),
      signer,
      policies,
      limits: defaultGateLimits(),
      bindings: { bindings: [{ identity: agent, policies: ['tests'] }] },
      acceptUnsignedApprovals: false,
      keepDeniedContracts: false,
      requireSignedSubmissions: false,
      dualControl: 'refuse',
      executorLostAfterSec: 300,
      heartbeatIntervalSec: 60,
      decisionTtlSec: 60,
    },
    { tracing: tracing.gate },
  );
  const executor = await createExecutor(
    {
      executorId: host.name,
      identity: host.uri,
      stateDir: join(directory, 'host'),
      executionMode: 'local',
    },
    {
      gateKeys: createKeyRing([signer]),
      owners: { current: () => ({ policies }) },
      output: gate.output,
      tracing: tracing.host,
    },
  );
  const offers: Offer[] = [];
  const welcomed = Promise.withResolvers<void>();
  const send = (response: ConnectResponse): void => {
    const { message } = response;
    if (message?.$case === 'welcome') welcomed.resolve();
    if (message?.$case !== 'offer') {
      connection.receive(response);
      return;
    }
    const value = toHost(message.value);
    offers.push(value);
    connection.receive({ message: { $case: 'offer', value } });
  };
  const session = gate.link.open({ executor: host, send, hangUp: welcomed.reject });
  const connection: LinkConnection = executor.connect((request) => session.receive(request));
  await welcomed.promise;
  const served = await ServedGate.start(gate, pki, {}, tracing.gate);
  const clients: GateClient[] = [];
  return {
    address: served.address,
    workspace,
    offers,
    client: () => {
      const client = connect({ address: served.address, tls: pki.files('client-agent') });
      clients.push(client);
      return client;
    },
    [Symbol.asyncDispose]: async () => {
      for (const client of clients) client.close();
      await executor.close();
      await served.stop();
      await gate.close();
      rmSync(directory, { recursive: true });
    },
  };
}

/** A trace as a tree: `name(child, child)`, children by name. */
function treeOf(found: readonly ReadableSpan[], parent: string | undefined): string[] {
  return found
    .filter((it) => it.parentSpanContext?.spanId === parent)
    .map((it) => {
      const children = treeOf(found, it.spanContext().spanId);
      return children.length === 0 ? it.name : `${it.name}(${children.join(', ')})`;
    })
    .sort();
}

const twoCommands = (workspace: string) =>
  makeContract(workspace, [
    { id: 'one', argv: ['echo', 'the-argument', 'and a secret'] },
    { id: 'two', argv: ['true'] },
  ]);

describe('a run that is traced by client, gate and host', () => {
  it('is one trace from the span that the caller is in, and tells of no argument, path or output', async () => {
    const provider = new TracerProvider({ spanProcessors: [new SimpleSpanProcessor({ exporter: spans })] });
    trace.setGlobalTracerProvider(provider);
    await using house = await openHouse({ gate: toMemory('gate'), host: toMemory('host') });
    spans.reset();
    try {
      const { executionId, exitCode } = await house.client().run(twoCommands(house.workspace));
      expect(exitCode).toBe(0);
      await expect
        .poll(() => spans.getFinishedSpans().map(({ name }) => name))
        .toContain('csc.executor.deliver');
      await expect.poll(() => spans.getFinishedSpans().map(({ name }) => name)).toContain('csc.run');
      const run = spans.getFinishedSpans().find(({ name }) => name === 'csc.run');
      const traceId = run?.spanContext().traceId;
      const own = spans.getFinishedSpans().filter((it) => it.spanContext().traceId === traceId);
      const calls = own.filter(({ name }) => name.startsWith('csc.gate.v1.Gate/'));
      const rpc = calls.find(({ name, kind }) => name.endsWith('/Run') && kind === 2);
      expect(treeOf(own, undefined)).toEqual([
        `csc.run(csc.gate.v1.Gate/Run(csc.gate.v1.Gate/Run(${[
          'csc.execute(csc.executor.admission, csc.executor.command, csc.executor.command, csc.executor.deliver, csc.executor.redeem, csc.executor.sandbox)',
          ...['csc.gate.authenticate', 'csc.gate.decide', 'csc.gate.mint', 'csc.gate.offer'],
          ...['csc.gate.place', 'csc.gate.queue', 'csc.gate.receipt'],
        ].join(', ')})))`,
      ]);
      expect(run?.attributes).toEqual({
        'csc.execution.id': executionId,
        'csc.executor.id': 'host',
        'csc.profile': 'tests',
        'csc.outcome': 'succeeded',
        'csc.reason': 'ALLOW',
      });
      expect(rpc?.attributes).toMatchObject({
        'rpc.system.name': 'grpc',
        'rpc.method': 'csc.gate.v1.Gate/Run',
      });
      const said = JSON.stringify(
        own.map(({ name, attributes, events, status }) => [name, attributes, events, status]),
      );
      for (const hidden of ['the-argument', 'and a secret', house.workspace])
        expect(said).not.toContain(hidden);
    } finally {
      trace.disable();
    }
  });

  it('is of no trace, and runs, whatever a caller or a gate says of one that is malformed', async () => {
    await using house = await openHouse({ gate: toMemory('gate'), host: toMemory('host') }, (offer) => ({
      ...offer,
      traceparent: `${offer.traceparent}${'x'.repeat(100_000)}`,
      tracestate: '\u0000'.repeat(100_000),
    }));
    spans.reset();
    const stub = new GateStub(house.address, readChannelCredentials(pki.files('client-agent')));
    const metadata = new Metadata();
    metadata.set('traceparent', '00-00000000000000000000000000000000-0000000000000000-01');
    metadata.set('tracestate', 'a=1,a=2');
    const contract = { $case: 'contractJson', value: toBytes(makeContract(house.workspace, [{}])) } as const;
    const request = { contract, idempotencyKey: '', selector: {}, policyProfile: '', approvalsJson: [] };
    const submit = { ...request, options: undefined, submissionJson: Buffer.alloc(0) };
    const call = stub.run({ submit }, metadata);
    call.resume();
    await once(call, 'end');
    stub.close();
    const found = spans.getFinishedSpans();
    const [rpc, execute] = ['csc.gate.v1.Gate/Run', 'csc.execute'].map((name) =>
      found.find((it) => it.name === name),
    );
    expect(rpc?.parentSpanContext).toBeUndefined();
    expect(execute?.parentSpanContext).toBeUndefined();
    expect(execute?.status.code).not.toBe(2);
  });

  it('goes on to the host where the gate does not trace, as the hint that it came as', async () => {
    await using house = await openHouse({});
    const stub = new GateStub(house.address, readChannelCredentials(pki.files('client-agent')));
    const metadata = new Metadata();
    const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';
    metadata.set('traceparent', traceparent);
    metadata.set('tracestate', 'vendor=opaque');
    const contract = { $case: 'contractJson', value: toBytes(makeContract(house.workspace, [{}])) } as const;
    const request = { contract, idempotencyKey: '', selector: {}, policyProfile: '', approvalsJson: [] };
    const call = stub.run(
      { submit: { ...request, options: undefined, submissionJson: Buffer.alloc(0) } },
      metadata,
    );
    call.resume();
    await once(call, 'end');
    stub.close();
    expect(house.offers).toMatchObject([{ traceparent, tracestate: 'vendor=opaque' }]);
    expect(house.offers[0]?.ticketJson.toString()).not.toContain('0af7651916cd43dd');
  });

  it('waits for no collector: one that is gone, or never answers, costs no run and no end', async () => {
    const never = createServer(() => undefined).listen(0, '127.0.0.1');
    await once(never, 'listening');
    const { port } = never.address() as AddressInfo;
    const open = (at: number, name: string) =>
      openTracing({ endpoint: `http://127.0.0.1:${at}/v1/traces`, sampleRatio: 1 }, service(name), silentLog);
    const [gone, slow] = [open(1, 'gate'), open(port, 'host')];
    try {
      await using house = await openHouse({ gate: gone, host: slow });
      for (const _ of [1, 2, 3]) {
        const { exitCode } = await house.client().run(makeContract(house.workspace, [{}]));
        expect(exitCode).toBe(0);
      }
      for (let count = 0; count < 10_000; count++) slow.begin('csc.execute', {}).end();
    } finally {
      await Promise.all([gone.close(), slow.close()]);
      never.closeAllConnections();
      never.close();
    }
  });
});

describe('csc submit', () => {
  interface Told {
    readonly resourceSpans: readonly {
      readonly resource: { readonly attributes: readonly { key: string; value: { stringValue: string } }[] };
      readonly scopeSpans: readonly {
        readonly spans: readonly { name: string; traceId: string; parentSpanId?: string }[];
      }[];
    }[];
  }

  it('is a span of the trace that it was started in, where its environment names a collector', async () => {
    const told: Told[] = [];
    const teams = new Set<unknown>();
    const collector = createServer((request, response) => {
      const chunks: Buffer[] = [];
      teams.add(request.headers['x-team']);
      request.on('data', (chunk: Buffer) => chunks.push(chunk));
      request.on('end', () => {
        told.push(JSON.parse(Buffer.concat(chunks).toString()));
        response.end('{}');
      });
    }).listen(0, '127.0.0.1');
    await once(collector, 'listening');
    const base = `http://127.0.0.1:${(collector.address() as AddressInfo).port}`;
    const traceId = '0af7651916cd43dd8448eb211c80319c';
    const traceparent = `00-${traceId}-b7ad6b7169203331-01`;
    await using house = await openHouse({});
    const contract = join(house.workspace, 'contract.json');
    writeFileSync(contract, toBytes(makeContract(house.workspace, [{}])));
    const { ca, cert, key } = pki.files('client-agent');
    const at = ['--gate', house.address, '--ca', ca, '--cert', cert, '--key', key];
    const submit = (env: Record<string, string>) =>
      csc(['submit', contract, ...at, '--unsigned'], {
        env: { CSC_CONFIG_DIR: house.workspace, TRACEPARENT: traceparent, ...env },
      });
    try {
      const headers = { OTEL_EXPORTER_OTLP_HEADERS: 'x-team=build' };
      expect(await submit({ OTEL_EXPORTER_OTLP_ENDPOINT: base, ...headers })).toMatchObject({ code: 0 });
      expect(teams).toEqual(new Set(['build']));
      const { resource, scopeSpans } = told[0]?.resourceSpans[0] ?? { resource: undefined, scopeSpans: [] };
      expect(resource?.attributes).toContainEqual({ key: 'service.name', value: { stringValue: 'csc' } });
      const found = told
        .flatMap((it) => it.resourceSpans)
        .flatMap((it) => it.scopeSpans)
        .flatMap((it) => it.spans);
      expect(scopeSpans).not.toEqual([]);
      expect(found.find(({ name }) => name === 'csc.run')).toMatchObject({
        traceId,
        parentSpanId: 'b7ad6b7169203331',
      });
      expect(new Set(found.map((it) => it.traceId))).toEqual(new Set([traceId]));
      // The rest of the trace is told of it, too.
      expect(house.offers[0]?.traceparent).toContain(traceId);
      told.length = 0;
      for (const env of [
        {},
        { OTEL_EXPORTER_OTLP_ENDPOINT: base, OTEL_SDK_DISABLED: 'true' },
        { OTEL_EXPORTER_OTLP_ENDPOINT: base, OTEL_TRACES_EXPORTER: 'none' },
        { OTEL_EXPORTER_OTLP_ENDPOINT: base, OTEL_EXPORTER_OTLP_PROTOCOL: 'grpc' },
      ])
        expect(await submit(env)).toMatchObject({ code: 0, stderr: expect.not.stringContaining('traces') });
      const odd = await submit({ OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: 'ftp://user:secret@x' });
      expect(odd).toMatchObject({ code: 0, stderr: expect.stringContaining('no traces are sent') });
      expect(odd.stderr).not.toContain('secret');
      const gone = await submit({ OTEL_EXPORTER_OTLP_ENDPOINT: 'http://127.0.0.1:1/' });
      expect(gone).toMatchObject({ code: 0 });
      expect(told).toEqual([]);
    } finally {
      collector.closeAllConnections();
      collector.close();
    }
  });
});

describe('parseTraceContext', () => {
  const good = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';

  it.each([
    ['nothing', ''],
    ['another form', 'good'],
    ['capital letters', good.toUpperCase()],
    ['a trace that is none', good.replace(/[0-9a-f]{32}/, '0'.repeat(32))],
    ['a span that is none', good.replace(/-[0-9a-f]{16}-/, `-${'0'.repeat(16)}-`)],
    ['a forbidden version', good.replace(/^00/, 'ff')],
    ['more than its version has', `${good}-more`],
    ['a length that nobody needs', `01${good.slice(2)}-${'x'.repeat(1000)}`],
    ['what is no text', Buffer.from(good)],
  ])('takes %s for nothing', (_, traceparent) => {
    expect(parseTraceContext(traceparent)).toBeUndefined();
  });

  it('takes of a later version what this one knows, and of a tracestate all or nothing', () => {
    expect(parseTraceContext(`cc${good.slice(2)}-what-comes`)?.traceparent).toBe(good);
    const state = (text: unknown) => parseTraceContext(good, text)?.tracestate;
    expect(state('congo=t61rcWkgMzE, rojo@vendor=00f067aa0ba902b7,')).toBe(
      'congo=t61rcWkgMzE,rojo@vendor=00f067aa0ba902b7',
    );
    const many = Array.from({ length: 33 }, (_, index) => `k${index}=v`).join(',');
    for (const bad of ['a=1,a=2', 'A=1', 'a=\u0007', 'a', many, `a=${'x'.repeat(600)}`, 7])
      expect(state(bad)).toBe('');
  });
});

it('loads nothing of an SDK where nobody has asked for it', async () => {
  const loads = ({ path, text }: { readonly path: string; readonly text: string }): string[] =>
    /^import (?!type )[^;]*'@opentelemetry\//m.test(text) ? [path] : [];
  const root = join(import.meta.dirname, '../../packages');
  const sources = readdirSync(root, { recursive: true, encoding: 'utf8' })
    .filter((path) => /^\w+\/src\/.*(?<!\.test)\.ts$/.test(path))
    .map((path) => ({ path, text: readFileSync(join(root, path), 'utf8') }));
  const lazily = ['common/src/telemetry/open-tracing.ts', 'common/src/telemetry/prometheus.ts'];
  expect(sources.flatMap(loads).sort()).toEqual(lazily);
  const imports = (text: string) =>
    /^(?:import|export) (?!type )[^;]*'(?:\.|@csc-fleet)[^;]*(?:open-tracing|prometheus)\b/m.test(text);
  expect(sources.filter(({ text }) => imports(text)).map(({ path }) => path)).toEqual([]);
  expect(await openTraces(undefined, service('gate'), silentLog)).toBeUndefined();
  const metrics = { metrics: { address: '127.0.0.1:9464' } };
  expect(await openTraces(metrics, service('gate'), silentLog)).toBeUndefined();
});
