import { createRevocations } from '@csc-fleet/common/owners';
import { contractForApproval, deniedContract, makeContract } from '@csc-fleet/test-kit/gate/contracts';
import { admin, auditor, openWithRoles } from '@csc-fleet/test-kit/gate/roles';
import { agent, other, stranger, TestGate } from '@csc-fleet/test-kit/gate/test-gate';
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

describe('what is for admins', () => {
  beforeEach(async () => {
    await test.close();
    test = await openWithRoles();
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

describe('the status of a gate', () => {
  beforeEach(async () => {
    await test.close();
    test = await openWithRoles();
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
