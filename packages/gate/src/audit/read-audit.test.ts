import { sha256Hex } from '@csc-fleet/common/encoding';
import type { AuditRecord, AuditRequest } from '@csc-fleet/common/messages';
import { createRevocations } from '@csc-fleet/common/owners';
import {
  approve,
  contractForApproval,
  deniedContract,
  makeContract,
} from '@csc-fleet/test-kit/gate/contracts';
import { admin, openWithRoles } from '@csc-fleet/test-kit/gate/roles';
import type { ScriptedExecutor } from '@csc-fleet/test-kit/gate/scripted-executor';
import { agent, other, TestGate } from '@csc-fleet/test-kit/gate/test-gate';
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

describe('the audit', () => {
  beforeEach(async () => {
    await test.close();
    test = await openWithRoles();
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
