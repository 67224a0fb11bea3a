import { sha256Hex } from '@csc-fleet/common/encoding';
import type { AuditRecord, AuditRequest } from '@csc-fleet/common/messages';
import { createRevocations } from '@csc-fleet/common/owners';
import {
  ExecutionState,
  KeyRole,
  OutputStream,
  type ReadOutputRequest,
  ReadOutputResponse,
} from '@csc-fleet/common/rpc';
import {
  approve,
  contractForApproval,
  deniedContract,
  makeContract,
} from '@csc-fleet/test-kit/gate/contracts';
import type { ScriptedExecutor } from '@csc-fleet/test-kit/gate/scripted-executor';
import { agent, gateIdentity, other, stranger, TestGate } from '@csc-fleet/test-kit/gate/test-gate';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Retention } from '../retention/retention.ts';

let test: TestGate;

beforeEach(async () => {
  test = await TestGate.open();
});

afterEach(async () => {
  await test.close();
  expect(test.errors).toEqual([]);
});

const rejected = (code: string) => expect.objectContaining({ code });

const unknown = 'f6a5a1f5-5f0e-4b1e-8d1c-1d7d1f7a2b3c';

describe('what may be seen', () => {
  const ways = (principal: string, executionId: string) => [
    () => test.as(principal).getExecution({ executionId }),
    () => test.as(principal).getReceipt({ executionId }),
    () => test.as(principal).cancel({ executionId, gracePeriod: undefined }),
    () => test.as(principal).readOutput({ executionId, from: [], follow: false }, async () => undefined),
    async () => {
      for await (const _ of test.as(principal).watch({ executionId, fromSequence: 0 })) break;
    },
  ];

  it.each([other, stranger])('is one’s own: not %s', async (principal) => {
    const { executionId } = await test.submit(deniedContract());
    const refusals: unknown[] = [];
    for (const way of [...ways(principal, executionId), ...ways(principal, unknown)]) {
      refusals.push(await way().catch((error: unknown) => error));
    }
    expect(refusals).toEqual(Array(10).fill(rejected('EXECUTION_UNKNOWN')));
    // Nothing tells one that is another's from one that is not there.
    expect(new Set(refusals.map((error) => (error as Error).message)).size).toBe(1);
  });

  it('is not in another’s list', async () => {
    await test.submit(deniedContract());
    const { executions } = await test.as(other).listExecutions({ states: [], pageSize: 0, pageToken: '' });
    expect(executions).toEqual([]);
  });
});

describe('getExecution', () => {
  it('gives what was decided and what happened, also from disk', async () => {
    const contract = deniedContract();
    const { executionId, decision } = await test.submit(contract);
    const found = await test.as(agent).getExecution({ executionId });
    expect(found.decision).toEqual(decision);
    expect(found.execution).toMatchObject({
      executionId,
      state: ExecutionState.BLOCKED,
      contractId: contract.contract_id,
      intent: contract.intent,
      principal: agent,
      policyProfile: 'default',
      executorId: '',
      submittedAt: test.clock.now(),
      startedAt: undefined,
      endedAt: test.clock.now(),
      exitCode: undefined,
    });
    await test.reopen();
    expect(await test.as(agent).getExecution({ executionId })).toEqual(found);
  });
});

describe('the beginning of an id', () => {
  it('names one’s own execution, where it is of one alone', async () => {
    const { executionId } = await test.submit(deniedContract());
    const short = executionId.slice(0, 8).toUpperCase();
    const { execution } = await test.as(agent).getExecution({ executionId: short });
    expect(execution?.executionId).toBe(executionId);
    const unknownTo = async (principal: string, id: string) =>
      test
        .as(principal)
        .getExecution({ executionId: id })
        .catch((error: unknown) => error);
    for (const [principal, id] of [
      [other, short],
      [agent, executionId.slice(0, 3)],
      [agent, `${executionId.slice(0, 8)}%`],
    ] as const)
      expect(await unknownTo(principal, id)).toEqual(rejected('EXECUTION_UNKNOWN'));
  });
});

describe('getReceipt', () => {
  it('says to come back where there is none yet', async () => {
    const { executionId } = await test.submit(contractForApproval());
    await expect(test.as(agent).getReceipt({ executionId })).rejects.toMatchObject({
      code: 'EXECUTION_UNKNOWN',
      retryAfterMs: 1000,
    });
  });
});

describe('listExecutions', () => {
  const list = (pageSize: number, pageToken = '', states: ExecutionState[] = []) =>
    test.as(agent).listExecutions({ states, pageSize, pageToken });

  const submitSome = async (count: number) => {
    const ids: string[] = [];
    for (let index = 0; index < count; index++) ids.push((await test.submit(deniedContract())).executionId);
    return ids.reverse();
  };

  it('gives the newest first, in pages that hold each once', async () => {
    const ids = await submitSome(5);
    await test.submit(deniedContract(), { principal: other });
    const first = await list(2);
    // What comes later is not on the pages that follow.
    await submitSome(1);
    const second = await list(2, first.nextPageToken);
    const third = await list(2, second.nextPageToken);
    const pages = [first, second, third].map(({ executions }) => executions.map((it) => it.executionId));
    expect(pages).toEqual([ids.slice(0, 2), ids.slice(2, 4), ids.slice(4)]);
    expect(third.nextPageToken).toBe('');
  });

  it('has no next page where the last one is full', async () => {
    await submitSome(2);
    expect((await list(2)).nextPageToken).toBe('');
  });

  it('gives 50 where the caller does not say how many', async () => {
    await Promise.all(Array.from({ length: 51 }, () => test.submit(deniedContract())));
    const first = await list(0);
    expect(first.executions).toHaveLength(50);
    expect((await list(0, first.nextPageToken)).executions).toHaveLength(1);
    expect((await list(1_000_000)).executions).toHaveLength(51);
  });

  it('goes by states, on every page', async () => {
    const awaiting: string[] = [];
    for (let index = 0; index < 3; index++) {
      awaiting.unshift((await test.submit(contractForApproval())).executionId);
      await test.submit(deniedContract());
    }
    const { AWAITING_APPROVAL, QUEUED, BLOCKED } = ExecutionState;
    const first = await list(2, '', [AWAITING_APPROVAL, QUEUED]);
    const second = await list(2, first.nextPageToken, [AWAITING_APPROVAL, QUEUED]);
    const ids = [...first.executions, ...second.executions].map((it) => it.executionId);
    expect(ids).toEqual(awaiting);
    expect((await list(0, '', [BLOCKED])).executions).toHaveLength(3);
    expect((await list(0, '', [QUEUED])).executions).toEqual([]);
  });

  it.each(['x', '7', 'cDE6MA', 'cDE6MDc', 'cDE6Nw=', 'cDE6OTAwNzE5OTI1NDc0MDk5Mw', 'x'.repeat(65)])(
    'refuses a token that it did not give: %s',
    async (token) => {
      await expect(list(0, token)).rejects.toEqual(rejected('REQUEST_INVALID'));
    },
  );
});

describe('getKeys', () => {
  it('gives the gate’s and the executors’, each with its owner', async () => {
    const executor = await test.connected('e1');
    const { keys } = await test.as(agent).getKeys({ keyIds: [] });
    expect(keys.map(({ keyId, owner }) => ({ keyId, owner }))).toEqual(
      expect.arrayContaining([
        { keyId: test.signer.keyId, owner: gateIdentity },
        { keyId: executor.signer.keyId, owner: executor.identity.uri },
      ]),
    );
    expect(keys).toHaveLength(2);
    const own = keys.find(({ keyId }) => keyId === test.signer.keyId);
    expect(own).toMatchObject({
      publicKey: Buffer.from(test.signer.publicKey),
      role: KeyRole.GATE,
      notBefore: test.clock.now(),
      revokedAt: undefined,
    });
    // A receipt that it signs once its clock is set back must still count.
    expect(keys.find(({ keyId }) => keyId === executor.signer.keyId)?.notBefore).toBeUndefined();
  });

  it('gives those asked for, of executors that have left too', async () => {
    const executor = await test.connected('e1');
    executor.disconnect();
    await test.reopen();
    const { keys } = await test.as(agent).getKeys({ keyIds: [executor.signer.keyId, 'no-such-key'] });
    expect(keys.map(({ keyId }) => keyId)).toEqual([executor.signer.keyId]);
  });

  it.each([
    ['more than 100', Array.from({ length: 101 }, (_, index) => `key-${index}`)],
    ['too long ones', ['x'.repeat(201)]],
  ])('is not asked for %s', async (_, keyIds) => {
    await expect(test.as(agent).getKeys({ keyIds })).rejects.toEqual(rejected('REQUEST_INVALID'));
  });

  it('gives a key once, however often it is named', async () => {
    const { keyId } = test.signer;
    expect((await test.as(agent).getKeys({ keyIds: Array(100).fill(keyId) })).keys).toHaveLength(1);
  });
});

describe('watch', () => {
  it('gives what happened and then what happens, numbered without gaps, and ends with Finished', async () => {
    const executor = await test.connected('e1');
    const { executionId } = await test.submit(makeContract());
    const seen: [number, string | undefined][] = [];
    const watching = (async () => {
      for await (const { sequence, event } of test.as(agent).watch({ executionId, fromSequence: 0 }))
        seen.push([sequence, event?.$case]);
    })();
    await executor.accept(executionId);
    await executor.started(executionId);
    await executor.exited(executionId);
    await executor.finish(await executor.next('offer'));
    await watching;
    const kinds = ['decided', 'queued', 'placed', 'started', 'commandStarted', 'commandExited', 'finished'];
    expect(seen).toEqual(kinds.map((kind, index) => [index + 1, kind]));
  });

  it('goes on from a number, also from disk', async () => {
    const executor = await test.connected('e1');
    const { executionId } = await test.submit(makeContract());
    await executor.finish(await executor.next('offer'));
    const from = async (fromSequence: number) => {
      const sequences: number[] = [];
      for await (const event of test.as(agent).watch({ executionId, fromSequence }))
        sequences.push(event.sequence);
      return sequences;
    };
    expect(await from(1)).toEqual([1, 2, 3, 4]);
    await test.reopen();
    expect(await from(0)).toEqual([1, 2, 3, 4]);
    expect(await from(3)).toEqual([3, 4]);
    expect(await from(9)).toEqual([]);
  });

  it('ends where its reader has gone', async () => {
    await test.connected('e1');
    const { executionId } = await test.submit(makeContract());
    const abort = new AbortController();
    const seen: unknown[] = [];
    const watching = (async () => {
      for await (const event of test.as(agent).watch({ executionId, fromSequence: 0 }, abort.signal))
        seen.push(event);
    })();
    await test.flushed();
    abort.abort();
    await watching;
    expect(seen).toHaveLength(3);
  });
});

describe('readOutput', () => {
  const read = async (
    executionId: string,
    at: number | Partial<ReadOutputRequest> = 0,
    follow = false,
    abort?: AbortSignal,
  ): Promise<ReadOutputResponse['item'][]> => {
    const items: ReadOutputResponse['item'][] = [];
    const wanted =
      typeof at === 'number'
        ? { from: [{ commandId: 'main', stream: OutputStream.STDOUT, offset: at }] }
        : { from: [], ...at };
    await test
      .as(agent)
      .readOutput(
        { executionId, ...wanted, follow },
        async (bytes) => void items.push(ReadOutputResponse.decode(bytes).item),
        abort,
      );
    return items;
  };

  const text = (items: ReadOutputResponse['item'][]) =>
    items.map((item) => (item?.$case === 'chunk' ? item.value.data.toString() : item?.$case));

  it('says which bytes the host has lost, where not all of it is there', async () => {
    const executor = await test.connected('e1');
    const { executionId } = await test.submit(makeContract());
    await executor.accept(executionId);
    await executor.push(executionId, 0, 0, 'hello ');
    await executor.exited(executionId, 'hello world');
    expect(text(await read(executionId))).toEqual(['hello ']);
    await executor.finish(await executor.next('offer'));
    await expect(read(executionId)).rejects.toMatchObject({
      code: 'OUTPUT_TRIMMED',
      message: expect.stringContaining('stdout of "main" had 11 bytes, and those from 6 on are lost'),
    });
    // Who follows is told by the receipt.
    expect(text(await read(executionId, 0, true))).toEqual(['hello ']);
    expect(text(await read(executionId, { stream: OutputStream.STDERR }))).toEqual([]);
  });

  it('gives what there is, from any offset, and the end once all was given', async () => {
    const executor = await test.connected('e1');
    const { executionId } = await test.submit(makeContract());
    await executor.accept(executionId);
    const length = await executor.push(executionId, 0, 0, 'hello ');
    expect(text(await read(executionId))).toEqual(['hello ']);
    await executor.push(executionId, length, 6, 'world');
    await executor.exited(executionId, 'hello world');
    await executor.finish(await executor.next('offer'));
    expect(text(await read(executionId))).toEqual(['hello ', 'world', 'end']);
    expect(text(await read(executionId, 3))).toEqual(['lo ', 'world', 'end']);
    expect(text(await read(executionId, 6))).toEqual(['world', 'end']);
    const part = (wanted: Partial<ReadOutputRequest>) => read(executionId, wanted);
    expect(text(await part({ offset: 8 }))).toEqual(['rld', 'end']);
    expect(text(await part({ offset: 99 }))).toEqual(['end']);
    expect(text(await part({ stream: OutputStream.STDERR }))).toEqual([]);
    expect(text(await part({ stream: OutputStream.STDOUT }))).toEqual(['hello ', 'world', 'end']);
    expect(text(await read(executionId, 11))).toEqual(['end']);
    await test.reopen();
    expect(text(await read(executionId, 8))).toEqual(['rld', 'end']);
  });

  it('gives nothing from before the offset, wherever reading begins on the disk', async () => {
    const executor = await test.connected('e1');
    const { executionId } = await test.submit(makeContract());
    await executor.accept(executionId);
    const size = 60_000;
    const offset = 19.5 * size;
    // Somebody has it open all the while, so that places in it are noted: it begins at the one before.
    const leave = new AbortController();
    const following = read(executionId, 0, true, leave.signal);
    let length = 0;
    for (let at = 0; at < 20; at++)
      length = await executor.push(executionId, length, at * size, 'x'.repeat(size));
    const items = await read(executionId, { offset });
    leave.abort();
    await following;
    expect(items.map((it) => (it?.$case === 'chunk' ? it.value.offset : it))).toEqual([offset]);
  });

  it('follows until the execution has ended', async () => {
    const executor = await test.connected('e1');
    const { executionId } = await test.submit(makeContract());
    await executor.accept(executionId);
    const following = read(executionId, 0, true);
    const length = await executor.push(executionId, 0, 0, 'hello ');
    await executor.push(executionId, length, 6, 'world');
    await executor.exited(executionId, 'hello world');
    await executor.finish(await executor.next('offer'));
    expect(text(await following)).toEqual(['hello ', 'world', 'end']);
  });

  it('ends where its reader has gone', async () => {
    const executor = await test.connected('e1');
    const { executionId } = await test.submit(makeContract());
    await executor.accept(executionId);
    await executor.push(executionId, 0, 0, 'hello ');
    const abort = new AbortController();
    const following = read(executionId, 0, true, abort.signal);
    await test.flushed();
    abort.abort();
    expect(text(await following)).toEqual(['hello ']);
  });

  it('gives nothing of what never ran', async () => {
    const { executionId } = await test.submit(deniedContract());
    expect(await read(executionId, 0, true)).toEqual([]);
  });
});

describe('output', () => {
  it('is taken from the executor that has the execution, while it is open', async () => {
    const executor = await test.connected('e1');
    const another = await test.connected('e2');
    const { executionId } = await test.submit(makeContract(), { selector: {} });
    expect(test.gate.output.mayPush(executor.identity, executionId)).toBe(true);
    expect(test.gate.output.mayPush(another.identity, executionId)).toBe(false);
    expect(test.gate.output.mayPush(executor.identity, unknown)).toBe(false);
    await executor.finish(await executor.next('offer'));
    expect(test.gate.output.mayPush(executor.identity, executionId)).toBe(false);
    await expect(executor.push(executionId, 0, 0, 'late')).rejects.toEqual(rejected('EXECUTION_UNKNOWN'));
  });
});

const admin = 'spiffe://csc.local/client/admin';
const auditor = 'spiffe://csc.local/client/auditor';
const withAdmin = () =>
  TestGate.open({
    bindings: {
      bindings: [
        { identity: auditor, policies: ['wide'], roles: ['auditor'] },
        { identity: admin, policies: ['wide'], roles: ['admin'] },
        {
          identity: agent,
          policies: ['default', 'limited'],
          hosts: { tier: 'build' },
          secrets: { default: ['token'] },
        },
        { identity: other, policies: ['default'] },
        { identity: 'spiffe://csc.local/client/nobody', policies: ['default'] },
      ],
    },
  });

describe('what is for admins', () => {
  beforeEach(async () => {
    await test.close();
    test = await withAdmin();
  });

  it('is everybody’s executions, as a list, and no more of them', async () => {
    const mine = await test.submit(deniedContract());
    const theirs = await test.submit(deniedContract(), { principal: other });
    const request = { states: [], pageSize: 0, pageToken: '', allPrincipals: true };
    const { executions } = await test.as(admin).listExecutions(request);
    expect(executions.map((it) => [it.executionId, it.principal])).toEqual([
      [theirs.executionId, other],
      [mine.executionId, agent],
    ]);
    await expect(test.as(agent).listExecutions(request)).rejects.toEqual(rejected('NOT_PERMITTED'));
    const { executionId } = mine;
    await expect(test.as(admin).getReceipt({ executionId })).rejects.toEqual(rejected('EXECUTION_UNKNOWN'));
  });

  it('is for auditors to read where it is evidence: all receipts and the audit, and neither output nor hosts', async () => {
    const executor = await test.connected('e1', { labels: { tier: 'build' } });
    const { executionId } = await test.submit(makeContract());
    const offer = await executor.next('offer', executionId);
    await executor.accept(executionId);
    await executor.push(executionId, 0, 0, 'secret');
    await executor.finish(offer);
    const own = await test.as(agent).getReceipt({ executionId });
    const as = test.as(auditor);
    expect(await as.getReceipt({ executionId })).toEqual(own);
    expect((await as.audit()).some((it) => it.executionId === executionId)).toBe(true);
    await as.readLogTile('checkpoint');
    await as.proveReceipts({ executionIds: [executionId] });
    const refused = await Promise.all(
      [
        as.readOutput({ executionId, from: [], follow: false }, async () => undefined),
        as.getExecution({ executionId }),
        as.cancel({ executionId, gracePeriod: undefined }),
        as.listExecutors(),
        as.prune(true),
      ].map((it) =>
        Promise.resolve(it).then(
          () => 'given',
          (error) => error.code,
        ),
      ),
    );
    expect(refused).toEqual([
      'EXECUTION_UNKNOWN',
      'EXECUTION_UNKNOWN',
      'EXECUTION_UNKNOWN',
      'NOT_PERMITTED',
      'NOT_PERMITTED',
    ]);
    await expect(test.as(other).getReceipt({ executionId })).rejects.toEqual(rejected('EXECUTION_UNKNOWN'));
    await expect(test.as(other).audit()).rejects.toEqual(rejected('NOT_PERMITTED'));
  });

  it('names the hosts that are passed over, for whom and why', async () => {
    const faulty = await test.connected('e1', { labels: { tier: 'build' } });
    await test.connected('e2', { labels: { tier: 'build' } });
    const { executionId } = await test.submit(makeContract());
    await faulty.next('offer', executionId);
    await faulty.refuse(executionId, 'SANDBOX_UNAVAILABLE');
    await test.flushed();
    expect((await test.as(admin).getStatus()).warnings).toEqual([
      expect.stringMatching(
        /^e1 is passed over for what .* submits: it had to refuse, SANDBOX_UNAVAILABLE: /,
      ),
    ]);
  });

  it('is the fleet: who is connected, who was, and what each holds', async () => {
    const certificate = { notBefore: test.clock.now(), notAfter: new Date('2026-02-01') };
    const own = test.policies.byName('default')?.sha256 ?? '';
    const policies = [
      { name: 'default', sha256: 'e'.repeat(64) },
      { name: 'wide', sha256: test.policies.byName('wide')?.sha256 ?? '' },
    ];
    const held = { policies, policySha256s: policies.map((it) => it.sha256) };
    const first = test.executor('e1', { labels: { tier: 'build' }, slots: 2, certificate });
    await first.connect([], { ...held, version: '1.2', sandbox: ['bubblewrap 0.8.0'] });
    const gone = await test.connected('e2');
    test.clock.advance(5000);
    gone.disconnect();
    await test.submit(makeContract(), { principal: admin });
    test.clock.advance(7000);
    first.wouldRefuse = 2;
    await first.settled();
    const seenAt = test.clock.now();
    await test.flushed();
    const [one, two] = (await test.as(admin).listExecutors()).executors;
    expect(one).toEqual({
      identity: first.identity.uri,
      connected: true,
      resting: '',
      labels: { tier: 'build' },
      slots: 2,
      running: 1,
      version: '1.2',
      executionMode: 'hardened',
      sandbox: ['bubblewrap 0.8.0'],
      policies,
      differing: ['default'],
      lastSeen: seenAt,
      certificate,
      wouldRefuse: 2,
      revoked: '',
    });
    const [warning] = (await test.as(admin).getStatus()).warnings;
    expect(warning).toContain('e1 has run 2 contracts that it will refuse');
    expect(own).not.toBe('e'.repeat(64));
    const lastSeen = new Date(seenAt.getTime() - 12_000);
    expect(two).toMatchObject({ identity: gone.identity.uri, connected: false, running: 0, lastSeen });
    const entry = { kind: 'host', id: 'e2', reason: 'its disk was copied', running: 'end' } as const;
    await test.publish({ revocations: createRevocations([{ ...entry, since: '2026-01-01T00:00:00Z' }]) });
    expect((await test.as(admin).listExecutors()).executors.map(({ revoked }) => revoked)).toEqual([
      '',
      'since 2026-01-01T00:00:00Z: its disk was copied',
    ]);
    first.say({ $case: 'draining', value: {} });
    await first.settled();
    await test.reopen();
    const after = (await test.as(admin).listExecutors()).executors;
    expect(after.map((it) => [it.connected, it.differing])).toEqual([
      [false, ['default']],
      [false, []],
    ]);
  });

  it.each([agent, other, stranger])('is not for %s', async (principal) => {
    const client = test.as(principal);
    for (const asked of [client.listExecutors(), client.prune(true), client.prune(false)])
      await expect(asked).rejects.toEqual(rejected('NOT_PERMITTED'));
  });
});

describe('the audit', () => {
  beforeEach(async () => {
    await test.close();
    test = await withAdmin();
  });

  const kinds = (records: readonly AuditRecord[]) => records.map(({ kind, outcome }) => [kind, outcome]);
  const build = { labels: { tier: 'build' } };

  async function runOne(executor: ScriptedExecutor, contract = makeContract()): Promise<string> {
    const { executionId } = await test.submit(contract);
    await executor.accept(executionId);
    await executor.finish(await executor.next('offer', executionId));
    return executionId;
  }

  it('says who ran what, where, under which policy version, approved by whom, and what came of it', async () => {
    const executor = await test.connected('e1', build);
    const contract = contractForApproval();
    const { executionId } = await test.submit(contract);
    await test.submit(contract, { approvalsJson: [approve(contract, test.clock.now())] });
    const offer = await executor.next('offer', executionId);
    await executor.accept(executionId);
    await executor.finish(offer);
    const records = await test.as(admin).audit({ principal: agent });
    expect(kinds(records)).toEqual([
      ['submission.decided', 'needs_approval'],
      ['approval.given', 'approve'],
      ['execution.started', 'running'],
      ['execution.ended', 'succeeded'],
    ]);
    const receipt = (await test.as(agent).getReceipt({ executionId })).receiptJson;
    const [approver] = records[1]?.approvers ?? [];
    expect(records.at(-1)).toMatchObject({
      executionId,
      principal: agent,
      actor: 'spiffe://csc.local/executor/e1',
      executorId: 'e1',
      contractId: contract.contract_id,
      policyProfile: 'default',
      policySha256: test.policies.byName('default')?.sha256,
      approvers: [approver],
      receiptSha256: sha256Hex(receipt),
      exitCode: 0,
    });
    expect(approver).toMatch(/./);
  });

  it('has a denial with its reason, a cancel with who asked, a host that would not, and what the owners changed', async () => {
    const executor = await test.connected('e1', build);
    await test.submit(deniedContract());
    const { executionId } = await test.submit(makeContract());
    await executor.refuse(executionId, 'DRAINING');
    await test.as(agent).cancel({ executionId, gracePeriod: undefined });
    await test.publish({
      freeze: { since: '2026-01-01T00:00:00Z', reason: 'a key is lost', running: 'finish' },
      revocations: createRevocations([
        { kind: 'host', id: 'e1', since: '2026-01-01T00:00:00Z', reason: 'stolen', running: 'end' },
      ]),
    });
    const records = await test.as(admin).audit();
    expect(kinds(records)).toEqual([
      ['policies.changed', 'in_force'],
      ['submission.decided', 'deny'],
      ['execution.ended', 'blocked'],
      ['submission.decided', 'allow'],
      ['execution.requeued', 'queued'],
      ['execution.ended', 'cancelled'],
      ['fleet.freeze_changed', 'frozen'],
      ['revocations.changed', 'revoked'],
    ]);
    expect(records.map(({ sequence }) => sequence)).toEqual(records.map((_, index) => index + 1));
    expect(records[1]).toMatchObject({ message: 'COMMAND_NOT_ALLOWED', principal: agent });
    expect(records[4]).toMatchObject({ executorId: 'e1', message: expect.stringContaining('DRAINING') });
    expect(records[7]).toMatchObject({ actor: 'owners', message: expect.stringContaining('host e1') });
    // Said once, however often the gate is started or told of it.
    await test.reopen();
    expect(await test.as(admin).audit({ fromSequence: 9 })).toEqual([]);
    await test.publish({});
    expect(kinds(await test.as(admin).audit({ fromSequence: 9 }))).toEqual([
      ['fleet.freeze_changed', 'none'],
      ['revocations.changed', 'none'],
    ]);
  });

  it('can be asked for by identity, host, profile, outcome and time, and is for admins alone', async () => {
    const executor = await test.connected('e1', build);
    const first = await runOne(executor);
    test.clock.advance(60_000);
    const since = test.clock.now();
    await test.submit(deniedContract(), { principal: other });
    const ids = async (request: Partial<AuditRequest>) =>
      (await test.as(admin).audit(request)).map(({ kind, executionId }) => [kind, executionId]);
    expect(await ids({ executorId: 'e1', outcome: 'succeeded' })).toEqual([['execution.ended', first]]);
    expect(await ids({ principal: other, outcome: 'deny', since })).toHaveLength(1);
    expect(await ids({ principal: agent, since })).toEqual([]);
    expect(await ids({ policyProfile: 'wide' })).toEqual([]);
    expect(await ids({ principal: other, until: since })).toEqual([]);
    expect(await ids({ principal: other.slice(other.lastIndexOf('/') + 1), outcome: 'deny' })).toHaveLength(
      1,
    );
    await expect(test.as(agent).audit()).rejects.toEqual(rejected('NOT_PERMITTED'));
    for (const never of [{ principal: 'alice@example' }, { principal: 'a/b' }, { fromSequence: 4711 }])
      await expect(test.as(admin).audit(never)).rejects.toEqual(rejected('REQUEST_INVALID'));
    expect((await test.as(admin).audit({ outcome: 'blocked' }))[0]?.actor).toMatch(/^spiffe:.*gate/);
    await expect(test.as(admin).audit({ fromSequence: -1 })).rejects.toEqual(rejected('REQUEST_INVALID'));
  });

  it('is followed without a loss or a double, and gone on with after the gate was away', async () => {
    const executor = await test.connected('e1', build);
    const left = new AbortController();
    const following = test.as(admin).audit({}, left.signal);
    await runOne(executor);
    await runOne(executor);
    await test.flushed();
    left.abort();
    const seen = await following;
    await test.reopen();
    await runOne(await test.connected('e1', build));
    const rest = await test.as(admin).audit({ fromSequence: (seen.at(-1)?.sequence ?? 0) + 1 });
    const all = await test.as(admin).audit();
    expect([...seen, ...rest]).toEqual(all);
    expect(all.filter(({ kind }) => kind === 'execution.ended')).toHaveLength(4);
  });

  it('is forgotten with the receipts, and says so to who would go on from there', async () => {
    await runOne(await test.connected('e1', build));
    test.clock.advance(400 * 24 * 3_600_000);
    await test.as(admin).prune(false);
    expect(await test.as(admin).audit()).toEqual([]);
    await expect(test.as(admin).audit({ fromSequence: 2 })).rejects.toEqual(rejected('AUDIT_TRIMMED'));
    await test.submit(deniedContract());
    const [next] = await test.as(admin).audit();
    expect(next).toMatchObject({ sequence: 5, kind: 'submission.decided' });
  });
});

describe('the status of a gate', () => {
  beforeEach(async () => {
    await test.close();
    test = await withAdmin();
  });

  it('says what waits and for what: of one’s own, and to an admin of all', async () => {
    await test.connected('hidden', { labels: { secret: 'yes' } });
    const busy = await test.connected('shown', { labels: { tier: 'build' } });
    const running = await test.submit(makeContract());
    await busy.accept(running.executionId);
    const waiting = await test.submit(makeContract());
    const offered = await test.submit(makeContract(), { principal: other });
    const approval = await test.submit(contractForApproval());
    const status = await test.as(agent).getStatus();
    expect(status).toMatchObject({
      gateId: 'test',
      admin: false,
      policies: [],
      warnings: [],
      waitingTotal: 2,
    });
    const told = ({ waiting }: typeof status) => waiting.map((it) => [it.execution?.executionId, it.reason]);
    const own = [
      [waiting.executionId, 'the executor that could run it is busy'],
      [approval.executionId, 'an approval'],
    ];
    expect(told(status)).toEqual(own);
    const all = await test.as(admin).getStatus();
    const theirs = [offered.executionId, 'the answer of the executor that it was offered to'];
    expect(told(all)).toEqual([own[0], theirs, own[1]]);
    expect(all.policies).toContainEqual({ name: 'held', sha256: test.policies.byName('held')?.sha256 });
    expect((await test.as(stranger).getStatus()).waiting).toEqual([]);
    expect(JSON.stringify(status)).not.toMatch(/hidden|secret/);
  });

  it('has the profiles that one may use, no others, and how many hosts there are for it', async () => {
    await test.connected('hidden', { labels: { secret: 'yes' } });
    expect((await test.as(stranger).listProfiles()).profiles).toEqual([]);
    const before = (await test.as(agent).listProfiles()).profiles;
    expect(before.map((it) => [it.name, it.executors, it.secrets])).toEqual([
      ['default', 0, ['token']],
      ['limited', 0, []],
    ]);
    expect(before[0]?.unavailable).toContain('is one where the owners let');
    expect(JSON.stringify(before)).not.toContain('hidden');
    await test.connected('shown', { labels: { tier: 'build' } });
    const [first] = (await test.as(agent).listProfiles()).profiles;
    expect(first).toMatchObject({ executors: 1, freeExecutors: 1, unavailable: '', secretsByPolicy: false });
    expect(JSON.parse(first?.policyJson.toString() ?? '')).toEqual(test.policies.byName('default')?.policy);
  });
});

describe('what is over', () => {
  const day = 24 * 3_600_000;
  let executor: ScriptedExecutor;
  const counts = { outputs: 0, outputBytes: 0, records: 0, receipts: 0, keptOutputBytes: 0 };

  async function openWith(maxBytes?: number): Promise<void> {
    await test.close();
    const retention = { maxAgeDays: 30, receiptsDays: 60, ...(maxBytes === undefined ? {} : { maxBytes }) };
    const bindings = [{ identity: agent, policies: ['default'], roles: ['admin'] as const }];
    test = await TestGate.open({ retention, bindings: { bindings } });
    executor = await test.connected('e1', { slots: 5 });
  }

  async function runOne(bytes = 5): Promise<{ executionId: string; length: number }> {
    const { executionId } = await test.submit(makeContract());
    const offer = await executor.next('offer', executionId);
    await executor.accept(executionId);
    const length = await executor.push(executionId, 0, 0, 'x'.repeat(bytes));
    await executor.finish(offer);
    return { executionId, length };
  }

  const read = (executionId: string) =>
    test.as(agent).readOutput({ executionId, from: [], follow: false }, async () => undefined);

  it('says so to whoever is reading when it goes, and where what is kept begins', async () => {
    await openWith();
    const { executionId } = await test.submit(makeContract());
    const offer = await executor.next('offer', executionId);
    await executor.accept(executionId);
    // More than is read at once.
    const size = 60_000;
    let length = 0;
    for (let at = 0; at < 10; at++)
      length = await executor.push(executionId, length, at * size, 'x'.repeat(size));
    await executor.finish(offer);
    test.clock.advance(30 * day);
    const taken = Promise.withResolvers<void>();
    const stalled = Promise.withResolvers<void>();
    const reading = test.as(agent).readOutput({ executionId, from: [], follow: false }, async () => {
      taken.resolve();
      await stalled.promise;
    });
    await taken.promise;
    await test.as(agent).prune(false);
    stalled.resolve();
    await expect(reading).rejects.toEqual(rejected('OUTPUT_TRIMMED'));
    await expect(read(executionId)).rejects.toEqual(rejected('OUTPUT_TRIMMED'));
    await test.reopen();
    await expect(read(executionId)).rejects.toThrow(/the first offsets that are kept are the ends/);
  });

  it('keeps its receipt when its output goes, and is forgotten when that goes', async () => {
    await openWith();
    const { executionId, length } = await runOne();
    const receipt = await test.receipt(executionId);
    const running = await test.submit(makeContract());
    await executor.accept(running.executionId);
    test.clock.advance(30 * day - 1);
    expect(await test.as(agent).prune(false)).toEqual({ ...counts, keptOutputBytes: length });
    test.clock.advance(1);
    const due = { ...counts, outputs: 1, outputBytes: length, records: 1 };
    expect(await test.as(agent).prune(true)).toEqual(due);
    await read(executionId);
    expect(await test.as(agent).prune(false)).toEqual(due);
    test.clock.advance(day);
    expect(await test.as(agent).prune(false)).toEqual(counts);
    await expect(read(executionId)).rejects.toEqual(rejected('OUTPUT_TRIMMED'));
    await test.reopen();
    await expect(read(executionId)).rejects.toEqual(rejected('OUTPUT_TRIMMED'));
    expect(await test.receipt(executionId)).toEqual(receipt);
    const events = await test.events(executionId);
    expect(events.map((it) => [it.sequence, it.event?.$case])).toEqual([[1, 'finished']]);
    test.clock.advance(30 * day);
    expect(await test.as(agent).prune(true)).toEqual({ ...counts, receipts: 1 });
    expect(await test.as(agent).prune(false)).toEqual({ ...counts, receipts: 1 });
    await expect(test.receipt(executionId)).rejects.toEqual(rejected('EXECUTION_UNKNOWN'));
    // What is not over is not touched, however old.
    expect(await test.state(running.executionId)).toBe(ExecutionState.RUNNING);
  });

  it('goes before its time where there is too much, the oldest first, and never what has just ended', async () => {
    await openWith(1);
    const first = await runOne();
    expect(await test.as(agent).prune(false)).toMatchObject({ records: 0 });
    test.clock.advance(3_600_000);
    const second = await runOne();
    expect(await test.as(agent).prune(false)).toMatchObject({ records: 1, outputs: 1 });
    await expect(read(first.executionId)).rejects.toEqual(rejected('OUTPUT_TRIMMED'));
    await read(second.executionId);
    const ended_at = new Date(test.clock.now().getTime() - day).toISOString();
    const whole = [1, 2, 3].map((number) => ({ number, execution_id: String(number), ended_at, bytes: 10 }));
    const went: string[] = [];
    const retainer = new Retention({
      store: {
        whole: async (after) => whole.filter(({ number }) => number > after),
        strip: async (ids) => void went.push(...ids),
        forgettable: async () => [],
        forget: async () => undefined,
        pruneAudit: async () => 0,
        usedBytes: async () => 100,
      },
      output: {
        bytes: async () => 150,
        size: async () => 50,
        remove: async () => undefined,
      },
      retention: { maxAgeDays: 30, receiptsDays: 60, maxBytes: 180 },
      clock: test.clock,
      onNotice: () => undefined,
      onError: () => undefined,
    });
    expect(await retainer.prune('forget')).toMatchObject({
      outputs: 2,
      outputBytes: 100,
      keptOutputBytes: 50,
    });
    expect(went).toEqual(['1', '2']);
  });
});
