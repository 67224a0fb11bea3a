import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { type CommandContract, contractSha256 } from '@csc-fleet/common/contract';
import { createKeyRing, createSigner, generateKeyPair, toKeyRingJson } from '@csc-fleet/common/crypto';
import { CscError, isCscError } from '@csc-fleet/common/errors';
import { openSubmission } from '@csc-fleet/common/evidence';
import { ExecutionState, type SubmitRequest, Verdict } from '@csc-fleet/common/messages';
import type { Script } from '@csc-fleet/test-kit/client/scripted-execution';
import { ScriptedGate } from '@csc-fleet/test-kit/client/scripted-gate';
import { freePort } from '@csc-fleet/test-kit/free-port';
import { createScratch } from '@csc-fleet/test-kit/scratch';
import { describe, expect, it, onTestFinished } from 'vitest';
import { createSignedSubmissions } from '../calls/signed.ts';
import type { GateClient } from '../client.ts';
import { connect } from '../client.ts';
import type { ConnectOptions } from '../connect-options.ts';
import { retrying } from '../connection/reconnect.ts';
import type { ExecutionEvent } from '../stream/items.ts';

const contract: CommandContract = {
  version: 'csc.v0.1',
  contract_id: 'contract-1',
  intent: 'a test',
  actor: { agent_id: 'a', session_id: 's', initiating_user: 'u', delegation_scope: 'd' },
  commands: [
    {
      id: 'main',
      exec: { argv: ['true'] },
      cwd: '/w',
      read_paths: [],
      write_paths: [],
      network: 'deny',
      env_allow: [],
      secret_refs: [],
      timeout_sec: 1,
      proposed_effect_type: 'observe',
    },
  ],
  risk_class: 'low',
  approval_mode: 'policy_only',
  expected_outputs: [],
  justification: 'tests',
};

async function start(
  script: Partial<Script> = {},
  options: Partial<ConnectOptions> = {},
): Promise<{ gate: ScriptedGate; client: GateClient }> {
  const gate = await new ScriptedGate({ contractSha256: contractSha256(contract), ...script }).listen();
  const client = connect({ ...gate.connectOptions, ...options });
  onTestFinished(async () => {
    client.close();
    await gate[Symbol.asyncDispose]();
  });
  return { gate, client };
}

function recorder() {
  const seen = { stdout: '', stderr: '', events: [] as ExecutionEvent['type'][] };
  const handlers = {
    onEvent: (event: ExecutionEvent) => void seen.events.push(event.type),
    onStdout: (data: Buffer) => {
      seen.stdout += data.toString();
    },
    onStderr: (data: Buffer) => {
      seen.stderr += data.toString();
    },
  };
  return { seen, handlers };
}

async function codeOf(promise: Promise<unknown>): Promise<string> {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  return error instanceof CscError ? error.code : `not a CscError: ${error}`;
}

describe('run', () => {
  it.each([
    ['one connection', []],
    ['several', [3, 0, 1, 1, 1]],
  ])(
    'tells one end of what was lost and came back, and all of its output once: over %s',
    async (_, broken) => {
      const { gate, client } = await start({ stdout: ['one ', 'two'], wasLost: true });
      gate.breakAfter.push(...broken);
      const { seen, handlers } = recorder();
      const result = await client.run(contract, { handlers });
      expect(seen.events).toEqual(['decided', 'started', 'lost', 'returned', 'finished']);
      expect(seen.stdout).toBe('one two');
      expect(result).toMatchObject({ exitCode: 0, receipt: { status: 'success' } });
    },
  );

  it('hands over events and output, and returns a verified receipt', async () => {
    const { client } = await start({ stdout: ['one ', 'two'], stderr: ['oops'] });
    const { seen, handlers } = recorder();
    const result = await client.run(contract, { handlers });
    expect(seen).toEqual({ stdout: 'one two', stderr: 'oops', events: ['decided', 'started', 'finished'] });
    expect(result.receipt?.status).toBe('success');
    expect(result.exitCode).toBe(0);
    expect(result.decision?.verdict).toBe(Verdict.ALLOW);
  });

  it('goes on where a broken stream stopped, and shows nothing twice', async () => {
    const { gate, client } = await start({ stdout: ['aaa', 'bbb', 'ccc'] });
    // Run after two events and one chunk, then ReadOutput and Watch once each, before they hold.
    gate.breakAfter.push(3, 2, 0);
    const { seen, handlers } = recorder();
    await client.run(contract, { handlers });
    expect(seen).toEqual({ stdout: 'aaabbbccc', stderr: '', events: ['decided', 'started', 'finished'] });
    expect(gate.runs).toHaveLength(1);
    expect(gate.readFrom[0]).toBe(3);
    expect(gate.watchedFrom[0]).toBe(3);
  });

  it('goes on from the output that is missing where only that stream breaks', async () => {
    const { gate, client } = await start({ stdout: ['aaa', 'bbb', 'ccc'] });
    gate.breakAfter.push(3);
    gate.breakOutputAfter.push(2);
    const { seen, handlers } = recorder();
    await client.run(contract, { handlers });
    expect(seen.stdout).toBe('aaabbbccc');
    expect(gate.readFrom).toEqual([3, 6]);
  });

  it('repeats a run that broke before its first message, with the same idempotency key', async () => {
    const { gate, client } = await start({ stdout: ['x'] });
    gate.breakAfter.push(0);
    const { seen, handlers } = recorder();
    await client.run(contract, { handlers });
    expect(seen.stdout).toBe('x');
    expect(gate.runs).toHaveLength(2);
    expect(gate.runs[0]?.idempotencyKey).toBe(gate.runs[1]?.idempotencyKey);
    expect(gate.runs[0]?.idempotencyKey).not.toBe('');
  });

  it('gives up once the time for reconnecting is over', async () => {
    const { gate, client } = await start({ stdout: ['x'] }, { reconnectForMs: 0 });
    gate.breakAfter.push(1);
    expect(await codeOf(client.run(contract))).toBe('GATE_UNREACHABLE');
    expect(gate.runs).toHaveLength(1);
  });

  it('fails at once where there is no gate and it is not to wait', async () => {
    const { gate, client } = await start({}, { connectTimeout: 0 });
    await gate[Symbol.asyncDispose]();
    expect(await codeOf(client.run(contract))).toBe('GATE_UNREACHABLE');
  });

  it('waits for a gate that is not there yet, with every call', async () => {
    const gate = new ScriptedGate({ contractSha256: contractSha256(contract) });
    const port = await freePort();
    // Only what has been refused once shall find it.
    let came: Promise<unknown> | undefined;
    const onReconnect = () => {
      came ??= gate.listen(undefined, port);
    };
    const client = connect({ ...gate.connectOptions, address: `127.0.0.1:${port}`, onReconnect });
    onTestFinished(async () => {
      client.close();
      await gate[Symbol.asyncDispose]();
    });
    const [result, answer, decision] = await Promise.all([
      client.run(contract),
      client.submit(contract),
      client.check(contract),
    ]);
    await came;
    expect([result.exitCode, answer.executionId]).toEqual([0, 'exec-1']);
    expect(decision.verdict).toBe(Verdict.ALLOW);
    expect([gate.runs.length, gate.submitted.length]).toEqual([1, 1]);
  });

  // A balancer takes the connection and finds nobody behind it; a gate ends one just so for a certificate.
  it.each([
    ['of one that has taken us', 'read ECONNRESET', true, 6],
    ['before a certificate was looked at', 'socket disconnected before secure TLS connection', false, 6],
    ['of one that may not take us', 'read ECONNRESET', false, 4],
  ])('tells a gate that is away from one that does not take us by its drops: %s', async (...given) => {
    const [, message, isAccepted, drops] = given;
    let dropped = 0;
    const attempt = async (): Promise<void> => {
      dropped += 1;
      if (dropped <= 6) throw new CscError('GATE_UNREACHABLE', message, { retryAfterMs: 1 });
    };
    const times = { connectForMs: 10_000, giveUpAfterMs: 10_000 };
    const state = { isUnconnected: () => true, isConnected: () => true };
    const options = { ...times, ...state, isAccepted: () => isAccepted };
    const end = await retrying(attempt, options, undefined).catch((error: unknown) => error);
    expect([dropped, isCscError(end)]).toEqual(drops === 6 ? [7, false] : [5, true]);
  });

  it.each(['QUEUE_FULL', 'RATE_LIMITED', 'DRAINING'] as const)(
    'waits as long as a gate says that has no room: %s',
    async (code) => {
      let refused = 0;
      const onReconnect = () => {
        refused += 1;
        if (refused === 2) gate.refusal = undefined;
      };
      const { gate, client } = await start({}, { onReconnect });
      const refusal = new CscError(code, 'too much', { retryAfterMs: 1 });
      gate.refusal = refusal;
      await client.run(contract);
      refused = 0;
      gate.refusal = refusal;
      await client.submit(contract);
      for (const asked of [gate.runs, gate.submitted]) {
        expect(asked).toHaveLength(3);
        // Whatever the gate made of the first, the others are the same.
        expect(new Set(asked.map((it) => it.idempotencyKey)).size).toBe(1);
      }
    },
  );

  it.each(['run', 'submit'] as const)(
    'names the key in every error, and waits no longer than it may: %s',
    async (call) => {
      const { gate, client } = await start();
      const asked = call === 'run' ? gate.runs : gate.submitted;
      for (const code of ['RATE_LIMITED', 'NOT_PERMITTED'] as const) {
        gate.refusal = new CscError(code, 'no', { retryAfterMs: 3_600_000 });
        const failed: unknown = await client[call](contract).catch((error: unknown) => error);
        expect(failed).toMatchObject({ code, idempotencyKey: asked.at(-1)?.idempotencyKey });
      }
      expect(asked).toHaveLength(2);
    },
  );

  it('names the key also where it is the receipt that is refused', async () => {
    const { gate, client } = await start({ receiptJson: Buffer.alloc(0) });
    const failed: unknown = await client.run(contract).catch((error: unknown) => error);
    expect(failed).toMatchObject({ code: 'RECEIPT_MISSING', idempotencyKey: gate.runs[0]?.idempotencyKey });
  });

  it('refuses a broken contract before it leaves', async () => {
    const { gate, client } = await start();
    const faulty = { ...contract, contract_id: 'short' };
    expect(await codeOf(client.run(faulty))).toBe('CONTRACT_INVALID');
    expect(gate.runs).toHaveLength(0);
  });

  it('passes the gate’s refusal on', async () => {
    const { gate, client } = await start({}, { connectTimeout: 0 });
    gate.refusal = new CscError('QUEUE_FULL', 'no room', { retryAfterMs: 1500 });
    const error = await client.run(contract).catch((reason: unknown) => reason);
    expect(error).toMatchObject({ code: 'QUEUE_FULL', retryAfterMs: 1500 });
  });

  it('comes back with a contract that waits for an approval', async () => {
    const { gate, client } = await start({
      verdict: Verdict.NEEDS_APPROVAL,
      state: ExecutionState.AWAITING_APPROVAL,
    });
    gate.hang = true;
    const result = await client.run(contract);
    expect(result.execution.state).toBe(ExecutionState.AWAITING_APPROVAL);
    expect(result.receipt).toBeUndefined();
  });
});

describe('a gate that takes connections and says nothing, as one that is stopped', () => {
  const silence = async (port = 0): Promise<number> => {
    const server = createServer((socket) => void open.add(socket));
    const open = new Set<Socket>();
    server.listen(port, '127.0.0.1');
    await once(server, 'listening');
    onTestFinished(() => {
      for (const socket of open) socket.destroy();
      server.close();
    });
    return (server.address() as AddressInfo).port;
  };
  const dial = async (port: number, options: Partial<ConnectOptions>): Promise<GateClient> => {
    const { gate } = await start();
    const client = connect({ ...gate.connectOptions, ...options, address: `localhost:${port}` });
    onTestFinished(() => client.close());
    return client;
  };
  const first = async (items: AsyncGenerator<unknown>) => void (await items.next());
  const silent = (withinSec: number) =>
    expect.objectContaining({
      code: 'GATE_UNREACHABLE',
      message: expect.stringContaining(`cannot be reached: no connection was made within ${withinSec} s`),
    });

  it.each<[string, (client: GateClient) => Promise<unknown>]>([
    ['a call', (client) => client.profiles()],
    ['a run', (client) => client.run(contract)],
    ['the events of an execution', (client) => first(client.watch('execution-1'))],
    ['output', (client) => first(client.readOutput('execution-1'))],
    ['what waits for approval', (client) => first(client.approvals.watch())],
  ])('is waited for no longer than the time that was given: %s', async (_, ask) => {
    const client = await dial(await silence(), { connectTimeout: 300 });
    await expect(ask(client)).rejects.toEqual(silent(0.3));
  });

  it('has a few seconds where it is tried once', { timeout: 15_000 }, async () => {
    const client = await dial(await silence(), { connectTimeout: 0 });
    await expect(client.profiles()).rejects.toEqual(silent(5));
  });

  it('has been handed nothing, so that an abort of a run need not wait for it', async () => {
    const abort = new AbortController();
    const ended = codeOf((await dial(await silence(), {})).run(contract, { signal: abort.signal }));
    setImmediate(() => abort.abort());
    expect(await ended).toBe('CANCELLED');
  });

  it('has what is left of the time after connections that were refused, of which the error tells', async () => {
    const port = await freePort();
    let listening: Promise<unknown> | undefined;
    const onReconnect = () => {
      listening ??= silence(port);
    };
    const client = await dial(port, { connectTimeout: 1_000, onReconnect });
    const refused = expect.objectContaining({ message: expect.stringContaining('ECONNREFUSED') });
    await expect(client.profiles()).rejects.toEqual(refused);
    await listening;
  });
});

describe('a gate that keeps its connection and begins to answer no stream', () => {
  const brief = { callTimeoutMs: 200, connectTimeout: 0, reconnectForMs: 0 };
  const late = expect.objectContaining({
    code: 'GATE_UNREACHABLE',
    message: expect.stringMatching(/taken the call and not begun to answer it within 0.2 s/),
  });
  const first = async (items: AsyncGenerator<unknown>) => void (await items.next());

  it.each<[string, (client: GateClient) => Promise<unknown>]>([
    ['a run', (client) => client.run(contract)],
    ['what waits for approval', (client) => first(client.approvals.watch())],
    ['the events of an execution', (client) => first(client.watch('execution-1'))],
  ])('is given up: %s', async (_, ask) => {
    const { gate, client } = await start({}, brief);
    gate.mute = true;
    await expect(ask(client)).rejects.toEqual(late);
  });

  it('is waited for where an earlier release rightly says nothing, and not once it has said of a stream that it has begun', async () => {
    const { gate, client } = await start({}, brief);
    gate.mute = true;
    const gone = new AbortController();
    const output = first(client.readOutput('execution-1', { signal: gone.signal }));
    await expect(client.run(contract)).rejects.toEqual(late);
    gone.abort();
    await expect(output).rejects.toEqual(expect.objectContaining({ code: 'CANCELLED' }));
    Object.assign(gate, { mute: false, announces: true });
    expect((await client.run(contract)).exitCode).toBe(0);
    Object.assign(gate, { mute: true, announces: false });
    await expect(first(client.readOutput('execution-1'))).rejects.toEqual(late);
  });

  it('is no such gate where it says that it has begun, and has nothing to say yet', async () => {
    const { gate, client } = await start({}, brief);
    // To connect takes its own time on a host that is busy.
    await client.check(contract);
    Object.assign(gate, { mute: true, announces: true });
    const gone = new AbortController();
    const watched = first(client.approvals.watch({ signal: gone.signal }));
    const other = await start({}, brief);
    other.gate.mute = true;
    await expect(other.client.run(contract)).rejects.toEqual(late);
    gone.abort();
    await expect(watched).rejects.toEqual(expect.objectContaining({ code: 'CANCELLED' }));
  });
});

describe('a handler that throws', () => {
  const onStdout = (): never => {
    throw new Error('mine');
  };

  it('ends run at once, with its own error', async () => {
    const { gate, client } = await start({ stdout: ['x'] });
    gate.hang = true;
    await expect(client.run(contract, { handlers: { onStdout } })).rejects.toThrow('mine');
  });

  it('ends run likewise after a break', async () => {
    const { gate, client } = await start({ stdout: ['x'] });
    gate.hang = true;
    gate.breakAfter.push(2);
    await expect(client.run(contract, { handlers: { onStdout } })).rejects.toThrow('mine');
  });
});

describe('the receipt', () => {
  it('must be about this contract', async () => {
    const { client } = await start({ receipt: { contract_sha256: '0'.repeat(64) } });
    expect(await codeOf(client.run(contract))).toBe('RECEIPT_INVALID');
  });

  it('must be about this execution', async () => {
    const { client } = await start({ receipt: { execution_id: 'another' } });
    expect(await codeOf(client.run(contract))).toBe('RECEIPT_INVALID');
  });

  it.each(['csc.receipt.v0.1', 'csc.receipt.v0.2'] as const)(
    '%s must vouch for the output that came',
    async (version) => {
      const good = await start({ receiptVersion: version, stdout: ['a', 'b'] });
      const { receipt } = await good.client.run(contract, { receiptVersion: version });
      expect(receipt?.receipt_version).toBe(version);
      const other = `sha256:${'0'.repeat(64)}`;
      const whole = JSON.parse(good.gate.receiptJson().toString());
      const commands = whole.commands?.map((command: object) => ({ ...command, stdout_hash: other }));
      const lie = { stdout_hash: other, ...(commands === undefined ? {} : { commands }) };
      const bad = await start({ receiptVersion: version, stdout: ['a', 'b'], receipt: lie });
      expect(await codeOf(bad.client.run(contract, { receiptVersion: version }))).toBe('RECEIPT_INVALID');
    },
  );

  it('must be signed by a key that the caller has pinned', async () => {
    const stranger = createSigner(generateKeyPair().seed, 'key-1');
    const keys = createKeyRing([{ keyId: 'key-1', publicKey: stranger.publicKey }]);
    const { client } = await start({}, { executorKeys: keys });
    expect(await codeOf(client.run(contract))).toBe('SIGNATURE_INVALID');
    const { client: another } = await start({}, { executorKeys: createKeyRing([]) });
    expect(await codeOf(another.run(contract))).toBe('KEY_UNKNOWN');
  });

  it('is verified by the files that hosts have exported, of which any may have the key, and by no key where there is none', async () => {
    const { gate } = await start();
    const { directory } = createScratch();
    const file = (name: string, keyId: string, publicKey: Uint8Array): string => {
      const path = join(directory, name);
      const owner = 'spiffe://csc.local/executor/host-1';
      writeFileSync(path, toKeyRingJson([{ keyId, publicKey, owner }]));
      return path;
    };
    const own = file('own.json', gate.signer.keyId, gate.signer.publicKey);
    const other = file('other.json', 'key-2', createSigner(generateKeyPair().seed, 'key-2').publicKey);
    const codeWith = async (executorKeys: string | string[]): Promise<string | undefined> => {
      using client = connect({ ...gate.connectOptions, executorKeys });
      return await client.run(contract).then(
        ({ receipt }) => receipt?.status,
        (error: CscError) => error.code,
      );
    };
    expect(await codeWith(own)).toBe('success');
    expect(await codeWith([other, own])).toBe('success');
    expect(await codeWith(other)).toBe('KEY_UNKNOWN');
    expect(await codeWith([])).toBe('KEY_UNKNOWN');
    expect(() => connect({ ...gate.connectOptions, executorKeys: 'no.json' })).toThrow(/no such file/);
  });
});

describe('abort', () => {
  it.each([
    ['run', 'cancels what it has begun', undefined, ['exec-1']],
    ['run', 'leaves it going without cancelOnAbort', false, []],
    ['follow', 'leaves it going', undefined, []],
    ['follow', 'cancels it with cancelOnAbort', true, ['exec-1']],
  ] as const)('of %s %s', async (call, _, cancelOnAbort, cancelled) => {
    const { gate, client } = await start();
    gate.hang = true;
    const abort = new AbortController();
    const options = {
      signal: abort.signal,
      cancelOnAbort,
      handlers: { onEvent: (): void => abort.abort() },
    };
    const ended = call === 'run' ? client.run(contract, options) : client.follow('exec-1', options);
    expect(await codeOf(ended)).toBe('CANCELLED');
    expect(gate.cancelled).toEqual(cancelled);
  });

  it('cancels what the gate was sent and has not named yet', async () => {
    const { gate, client } = await start();
    gate.hang = true;
    const sent = Promise.withResolvers<void>();
    const answer = Promise.withResolvers<void>();
    gate.beforeRun = async () => {
      sent.resolve();
      await answer.promise;
    };
    const abort = new AbortController();
    const ended = codeOf(client.run(contract, { signal: abort.signal }));
    await sent.promise;
    abort.abort();
    answer.resolve();
    expect(await ended).toBe('CANCELLED');
    expect(gate.cancelled).toEqual(['exec-1']);
  });

  it('says of which execution it is not known whether it ends, where the gate could not be told', async () => {
    const { gate, client } = await start();
    gate.hang = true;
    const abort = new AbortController();
    const onEvent = (): void => {
      gate.refusal = new CscError('NOT_PERMITTED', 'not by you');
      abort.abort();
    };
    const ended = client.run(contract, { signal: abort.signal, handlers: { onEvent } });
    await expect(ended).rejects.toMatchObject({
      code: 'CANCELLED',
      message: 'the caller left; execution exec-1 may go on, as it could not be asked to end: not by you',
      executionId: 'exec-1',
    });
  });

  it('that came before the call sends nothing', async () => {
    const { gate, client } = await start();
    expect(await codeOf(client.run(contract, { signal: AbortSignal.abort() }))).toBe('CANCELLED');
    expect(gate.runs).toHaveLength(0);
  });
});

describe('a client that is closed', () => {
  const closed = expect.objectContaining({
    code: 'CANCELLED',
    message: expect.stringMatching(/^this client has been closed/),
  });

  it('ends what it was asked for, and leaves what runs going', async () => {
    const { gate, client } = await start();
    gate.hang = true;
    const onEvent = (): void => client.close();
    await expect(client.run(contract, { handlers: { onEvent } })).rejects.toEqual(closed);
    expect(gate.cancelled).toEqual([]);
  });

  it.each<[string, (client: GateClient) => Promise<unknown>]>([
    ['a call', (client) => client.profiles()],
    ['a run', (client) => client.run(contract)],
    ['the events of an execution', (client) => client.watch('exec-1').next()],
    ['output', (client) => client.readOutput('exec-1').next()],
  ])('says so of what comes later: %s', async (_, ask) => {
    const { client } = await start();
    client.close();
    await expect(ask(client)).rejects.toEqual(closed);
  });
});

describe('the other calls', () => {
  it('follow takes an execution up from its beginning', async () => {
    const { gate, client } = await start({ stdout: ['all'] });
    const { seen, handlers } = recorder();
    const result = await client.follow('exec-1', { handlers });
    expect(seen).toEqual({ stdout: 'all', stderr: '', events: ['decided', 'started', 'finished'] });
    expect(result.receipt?.status).toBe('success');
    expect(gate.runs).toHaveLength(0);
  });

  it('readOutput begins in the middle of a chunk and survives a break', async () => {
    const { gate, client } = await start({ stdout: ['abc', 'def'] });
    gate.breakAfter.push(1);
    let text = '';
    const from = [{ commandId: 'main', stream: 1 as const, offset: 2 }];
    for await (const item of client.readOutput('exec-1', { from })) {
      if (item.type === 'chunk') text += item.data.toString();
    }
    expect(text).toBe('cdef');
    expect(gate.readFrom).toEqual([2, 3]);
  });

  it('watch gives every event once over a break', async () => {
    const { gate, client } = await start();
    gate.breakAfter.push(1);
    const sequences: number[] = [];
    for await (const event of client.watch('exec-1')) sequences.push(event.sequence);
    expect(sequences).toEqual([1, 2, 3]);
    expect(gate.watchedFrom).toEqual([1, 2]);
  });

  it('list goes from page to page', async () => {
    const { client } = await start();
    const ids: string[] = [];
    for await (const execution of client.list()) ids.push(execution.executionId);
    expect(ids).toEqual(['exec-1', 'exec-1']);
  });

  it('check, submit, cancel, getExecution, getKeys and getReceipt answer', async () => {
    const { client } = await start();
    expect((await client.check(contract)).verdict).toBe(Verdict.ALLOW);
    expect((await client.submit(contract)).executionId).toBe('exec-1');
    expect((await client.cancel('exec-1', { gracePeriodMs: 1500 })).executionId).toBe('exec-1');
    expect((await client.getExecution('exec-1')).execution.executionId).toBe('exec-1');
    expect((await client.getKeys()).map((key) => key.keyId)).toEqual(['key-1']);
    expect((await client.getReceipt('exec-1')).receipt.status).toBe('success');
  });

  it('check passes every fault on', async () => {
    const { gate, client } = await start();
    const faults = [{ path: 'commands[0].cwd', message: 'must be absolute' }];
    gate.refusal = new CscError('CONTRACT_INVALID', 'no', { faults });
    expect(await client.check('{}').catch((reason: unknown) => reason)).toMatchObject({
      code: 'CONTRACT_INVALID',
      faults,
    });
  });
});

describe('a submitter', () => {
  const signer = createSigner(generateKeyPair().seed, 'me-1');
  const me = 'spiffe://csc.local/client/me';
  const signing = { submitter: signer, principal: me };

  /** What the host will make of it: it opens, or throws. */
  const opened = ({ submissionJson }: Pick<SubmitRequest, 'submissionJson'>) =>
    openSubmission(submissionJson, {
      keysOf: (principal) => (principal === me ? createKeyRing([signer]) : undefined),
      trustDomain: 'csc.local',
      now: new Date(),
      contractSha256: contractSha256(contract),
    });

  it('signs all that a run asks for, and sends the same again when the gate comes back', async () => {
    const { gate, client } = await start({}, signing);
    gate.breakAfter.push(0);
    await client.run(contract, {
      selector: { tier: 'build' },
      policyProfile: 'p',
      receiptVersion: 'csc.receipt.v0.2',
      limits: { processes: 9 },
      queueTimeoutMs: 60_000,
    });
    const [first, again] = gate.runs;
    if (first === undefined) throw new Error('nothing came');
    expect(again).toEqual(first);
    const submission = opened(first);
    expect(submission).toMatchObject({
      principal: me,
      policy_profile: 'p',
      audience: { trust_domain: 'csc.local', selector: { tier: 'build' } },
      options: { limits: { processes: 9 } },
      nonce: first.idempotencyKey,
    });
    expect(Date.parse(submission.expires_at) - Date.parse(submission.not_before)).toBe(60_000 + 5 * 60_000);
  });

  it('makes a new nonce for each call, and the same one for the same key', async () => {
    const { gate, client } = await start({}, signing);
    for (const idempotencyKey of [undefined, undefined, 'mine', 'mine', 'f'.repeat(32)])
      await client.run(contract, { idempotencyKey });
    const [one, two, mine, again, given] = gate.runs.map((it) => opened(it).nonce);
    expect(new Set([one, two, mine]).size).toBe(3);
    expect([again, given]).toEqual([mine, 'f'.repeat(32)]);
  });

  it('lets it stand for a day where somebody else is to approve', async () => {
    const { gate, client } = await start({}, signing);
    await client.run(contract, { waitForApproval: true });
    const { not_before, expires_at } = gate.runs.map(opened)[0] ?? { not_before: '', expires_at: '' };
    expect(Date.parse(expires_at) - Date.parse(not_before)).toBe(24 * 3_600_000);
  });

  it('lets it stand for as long as it is told, at most a day, and says until when it waits', async () => {
    const { gate, client } = await start({}, signing);
    const heard: unknown[] = [];
    const onEvent = (event: ExecutionEvent) => void heard.push('waitsUntil' in event && event.waitsUntil);
    const { waitsUntil } = await client.run(contract, { startWithinMs: 7_200_000, handlers: { onEvent } });
    const { not_before, expires_at } = gate.runs.map(opened)[0] ?? { not_before: '', expires_at: '' };
    expect(Date.parse(expires_at) - Date.parse(not_before)).toBe(7_200_000);
    expect(waitsUntil).toEqual(new Date(expires_at));
    expect(heard).toContainEqual(waitsUntil);
    for (const startWithinMs of [0, 24 * 3_600_000 + 1, Number.NaN])
      expect(await codeOf(client.run(contract, { startWithinMs }))).toBe('REQUEST_INVALID');
    const { client: nobody } = await start();
    expect(await codeOf(nobody.run(contract, { startWithinMs: 7_200_000 }))).toBe('REQUEST_INVALID');
  });

  it('signs what is handed in only, and an error says under which key it may have been', async () => {
    const { gate, client } = await start({}, { ...signing, reconnectForMs: 0 });
    gate.breakAfter.push(0);
    const failed = await client.run(contract).catch((error: unknown) => error);
    expect(failed).toMatchObject({
      code: 'GATE_UNREACHABLE',
      message: expect.stringContaining(gate.runs.map(opened)[0]?.nonce ?? 'nothing'),
    });
  });

  it('must be told whom it signs for, and be there for what only a submission can say', async () => {
    const { client } = await start();
    expect(await codeOf(client.run(contract, { limits: { processes: 9 } }))).toBe('REQUEST_INVALID');
    await expect(start({}, { submitter: signer })).rejects.toMatchObject({ code: 'CONFIG_INVALID' });
  });

  it('names the host that it was placed on, once it is asked to, in a submission that says the same', async () => {
    const { gate, client } = await start({ bindTo: ['host-1'] }, signing);
    await client.run(contract);
    const [first] = gate.runs.map(opened);
    const named = gate.bound.map(opened);
    expect(gate.bound.map((it) => it.executionId)).toEqual(['exec-1']);
    const audience = { ...first?.audience, executor_id: 'host-1' };
    expect(named).toEqual([{ ...first, audience, signature: expect.anything() }]);
  });

  it('names no second host, whoever asks and however', async () => {
    const { gate, client } = await start({ bindTo: ['host-1', 'host-2'] }, signing);
    const idempotencyKey = 'mine';
    expect(await codeOf(client.run(contract, { idempotencyKey }))).toBe('WRONG_AUDIENCE');
    expect(await codeOf(client.run(contract, { idempotencyKey, executorId: 'host-2' }))).toBe(
      'WRONG_AUDIENCE',
    );
    const named = [...gate.runs, ...gate.bound].flatMap((it) => opened(it).audience.executor_id ?? []);
    expect(named).toEqual(['host-1']);
  });

  it('gives the same signed bytes again where the answer was lost', async () => {
    const { gate, client } = await start({ bindTo: ['host-1', 'host-1'] }, signing);
    await client.run(contract);
    const [one, two] = gate.bound;
    expect(two).toEqual(one);
  });

  it('names no second host after a restart either, where what was signed is kept', async () => {
    const kept = { ...signing, signedSubmissions: createSignedSubmissions() };
    const idempotencyKey = 'mine';
    const first = await start({ bindTo: ['host-1'] }, kept);
    await first.client.run(contract, { idempotencyKey });
    const { gate, client } = await start({ bindTo: ['host-2'] }, kept);
    expect(await codeOf(client.run(contract, { idempotencyKey }))).toBe('WRONG_AUDIENCE');
    expect(gate.bound).toEqual([]);
    // The same is asked for, so that the same is handed in.
    expect(gate.runs[0]?.submissionJson).toEqual(first.gate.runs[0]?.submissionJson);
    expect(await codeOf(client.follow('exec-1'))).toBe('WRONG_AUDIENCE');
  });

  it('names the host of what another process has handed in, and of nothing else', async () => {
    const kept = { ...signing, signedSubmissions: createSignedSubmissions() };
    const script = { bindTo: ['host-1'] };
    const { gate: first, client } = await start(script, kept);
    await client.submit(contract);
    await client.awaitPlacement('exec-1');
    const { gate, client: follower } = await start(script, kept);
    await follower.follow('exec-1');
    const [submission] = first.submitted.map(opened);
    expect(first.bound.map(opened)).toMatchObject([{ nonce: submission?.nonce }]);
    expect(gate.bound).toEqual(first.bound);
    const { gate: other, client: stranger } = await start(script, signing);
    await stranger.follow('exec-1');
    expect(other.bound).toEqual([]);
  });
});
