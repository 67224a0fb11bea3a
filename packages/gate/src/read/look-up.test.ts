import { ExecutionState, KeyRole } from '@csc-fleet/common/rpc';
import { contractForApproval, deniedContract, makeContract } from '@csc-fleet/test-kit/gate/contracts';
import { agent, gateIdentity, other, stranger, TestGate } from '@csc-fleet/test-kit/gate/test-gate';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

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
    // Nothing but the id that was asked for tells one that is another's from one that is not there.
    const told = (error: unknown) =>
      (error as Error).message.replace(executionId, 'ID').replace(unknown, 'ID');
    expect(new Set(refusals.map(told)).size).toBe(1);
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
