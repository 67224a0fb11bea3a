import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { toBase64 } from '@csc-fleet/common/crypto';
import { ExecutionState } from '@csc-fleet/common/messages';
import { createRevocations, type HostRule, type Revocation } from '@csc-fleet/common/owners';
import { bindingsFromJson, createPolicySet } from '@csc-fleet/common/policy';
import { defaultLifetimes } from '@csc-fleet/common/policy-repository';
import { silentLog } from '@csc-fleet/common/service';
import { contractForApproval, makeContract } from '@csc-fleet/test-kit/gate/contracts';
import { agent, makePolicy, noWait, other, TestGate } from '@csc-fleet/test-kit/gate/test-gate';
import { policyMembers } from '@csc-fleet/test-kit/policy';
import { frozen, TestRepository } from '@csc-fleet/test-kit/policy-repository';
import { SmallDisk } from '@csc-fleet/test-kit/small-disk';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { GateRepository, OwnersWord } from './index.ts';
import { createGateRepository } from './repository.ts';

const rejected = (code: string, text: string) =>
  expect.objectContaining({ code, message: expect.stringContaining(text) });

const since = '2026-01-01T00:00:00Z';
const revoked = (kind: Revocation['kind'], id: string) => ({
  revocations: createRevocations([{ kind, id, since, reason: 'key lost', running: 'finish' }]),
});
const freeze = { since, reason: 'the build host was broken into', running: 'finish' } as const;

function bind(...bindings: object[]) {
  const read = bindingsFromJson(
    JSON.parse(JSON.stringify({ bindings_version: 'csc.bindings.v0.2', bindings })),
  );
  if (!read.ok) throw new Error(JSON.stringify(read.faults));
  return read.value;
}

describe('what the owners have stopped', () => {
  let test: TestGate;
  beforeEach(async () => {
    test = await TestGate.open();
  });
  afterEach(async () => {
    await test.close();
    expect(test.errors).toEqual([]);
  });

  const underV02 = { policyProfile: 'limited' };

  it.each([
    ['everything', { freeze }],
    ['its principal', revoked('principal', agent)],
    ['its profile', revoked('profile', 'limited')],
  ])('is denied with its own code under v0.2, and recorded: %s', async (_, word) => {
    const executor = await test.connected('e1');
    await test.publish(word);
    const { state, decision, executionId } = await test.submit(makeContract(), underV02);
    expect(state).toBe(ExecutionState.BLOCKED);
    expect(decision?.reasonCodes).toEqual(['EMERGENCY_DENY_ALL']);
    expect(await test.receipt(executionId)).toMatchObject({ status: 'blocked' });
    expect((await test.as(agent).check({ ...checked(), ...underV02 })).decision?.reasonCodes).toEqual([
      'EMERGENCY_DENY_ALL',
    ]);
    expect(executor.offered).toEqual([]);
    await test.publish({});
    expect((await test.submit(makeContract(), underV02)).state).toBe(ExecutionState.OFFERED);
  });

  it('is refused in words under v0.1, whose decisions know no such code', async () => {
    await test.connected('e1');
    await test.publish({ freeze });
    const refusal = rejected('NOT_PERMITTED', 'EMERGENCY_DENY_ALL: the owners have frozen the fleet');
    await expect(test.submit(makeContract())).rejects.toEqual(refusal);
    await expect(test.as(agent).check(checked())).rejects.toEqual(refusal);
  });

  it('is told to everybody who asks how the gate is, for as long as it is frozen', async () => {
    expect((await test.as(other).getStatus()).frozen).toBeUndefined();
    await test.publish({ freeze });
    const told = { since: new Date(since), reason: freeze.reason, endsRunning: false };
    expect((await test.as(other).getStatus()).frozen).toEqual(told);
    await test.publish({});
    expect((await test.as(other).getStatus()).frozen).toBeUndefined();
  });

  it('ends blocked while it waits, with a receipt that says why', async () => {
    const executor = await test.connected('e1');
    const runs = await test.submit(makeContract());
    const queued = await test.submit(makeContract());
    const waiting = await test.submit(contractForApproval());
    await test.publish({ freeze });
    for (const { executionId } of [queued, waiting]) {
      expect(await test.state(executionId)).toBe(ExecutionState.BLOCKED);
      expect(await test.receipt(executionId)).toMatchObject({
        status: 'blocked',
        error: expect.stringContaining('the build host was broken into'),
      });
    }
    // That is for its host to judge.
    expect(await test.state(runs.executionId)).toBe(ExecutionState.OFFERED);
    expect(executor.all('policyChanged')).toHaveLength(1);
  });

  it.each([
    ['is revoked by its id', (id: string) => revoked('execution', id)],
    [
      'is of a principal that is bound no more',
      () => ({ bindings: bind({ identity: other, policies: ['default'] }) }),
    ],
    [
      'is denied by the policy that has taken the place of its own',
      () => ({
        policies: createPolicySet([
          makePolicy('default', { allow_commands: ['cat'] }),
          makePolicy('wide'),
          makePolicy('limited'),
        ]),
      }),
    ],
  ])('ends blocked where it waits and %s', async (_, word: (id: string) => Partial<OwnersWord>) => {
    await test.connected('e1');
    await test.submit(makeContract(), { principal: other });
    const { executionId } = await test.submit(makeContract());
    await test.publish(word(executionId));
    expect(await test.state(executionId)).toBe(ExecutionState.BLOCKED);
  });

  it('ends blocked where that was published while the gate was away', async () => {
    await test.connected('e1');
    await test.submit(makeContract());
    const { executionId } = await test.submit(makeContract());
    await test.stop();
    await test.publish({ freeze });
    await test.reopen();
    expect(await test.state(executionId)).toBe(ExecutionState.BLOCKED);
  });

  it('goes on where another version of its policy allows it, too, once a host holds that', async () => {
    const executor = await test.connected('e1');
    await test.submit(makeContract());
    const { executionId } = await test.submit(makeContract());
    const next = makePolicy('default', { max_timeout_sec: 61 });
    await test.publish({ policies: createPolicySet([next, makePolicy('wide'), makePolicy('limited')]) });
    // New ones wait for the host, which is about to hear of it, and are not turned away; also while it comes back.
    expect((await test.submit(makeContract())).state).toBe(ExecutionState.QUEUED);
    executor.disconnect();
    expect((await test.submit(makeContract())).state).toBe(ExecutionState.QUEUED);
    test.clock.advance(10_000);
    const late = test.submit(makeContract(), { options: noWait });
    await expect(late).rejects.toEqual(rejected('NO_MATCHING_EXECUTOR', 'no executor is connected'));
    expect(await test.state(executionId)).toBe(ExecutionState.QUEUED);
    const updated = await test.connected('e2', { policySha256s: [next.sha256] });
    const offer = await updated.next('offer', executionId);
    expect(JSON.parse(offer.ticketJson.toString())).toMatchObject({ policy_sha256: next.sha256 });
    expect(executor.offered).toHaveLength(1);
  });

  const tier = { labels: { tier: 'deploy' } };

  it('is not placed on a host that is revoked, or that bindings or hosts.yaml keep from it', async () => {
    const rule: Omit<HostRule, 'labels'> = {
      path_roots: ['/'],
      network: 'deny',
      egress_hosts: [],
      secrets: [],
      inline_code: false,
    };
    const host = await test.connected('e1', tier);
    for (const [kind, id] of [
      ['host', 'e1'],
      ['host', host.identity.uri],
      ['principal', host.identity.uri],
      ['key', host.signer.keyId],
      ['key', toBase64(host.signer.publicKey)],
    ] as const) {
      await test.publish(revoked(kind, id));
      const left = rejected(
        'NO_MATCHING_EXECUTOR',
        'no connected executor of those that could run it is left',
      );
      const why = rejected('NO_MATCHING_EXECUTOR', `the owners have revoked the ${kind} `);
      await expect(test.submit(makeContract(), { options: noWait })).rejects.toEqual(left);
      await expect(test.submit(makeContract(), { options: noWait })).rejects.toEqual(why);
    }
    const words: Partial<OwnersWord>[] = [
      { bindings: bind({ identity: agent, policies: ['default'], hosts: { tier: 'build' } }) },
      { hosts: [{ ...rule, labels: { tier: 'build' } }] },
      { hosts: [{ ...rule, labels: {}, policies: ['wide'] }] },
      {
        hosts: [
          { ...rule, labels: {} },
          { ...rule, ...tier, principals: [other] },
        ],
      },
    ];
    for (const word of words) {
      await test.publish(word);
      const refusal = rejected('NO_MATCHING_EXECUTOR', 'is one where the owners let');
      await expect(test.submit(makeContract(), { options: noWait })).rejects.toEqual(refusal);
      // Of a host that was never for it, a submitter learns nothing.
      await test.publish({ ...word, ...revoked('host', 'e1') });
      await expect(test.submit(makeContract(), { options: noWait })).rejects.toEqual(refusal);
    }
    await test.publish({ hosts: [{ ...rule, ...tier, principals: [agent], policies: ['default'] }] });
    expect((await test.submit(makeContract())).state).toBe(ExecutionState.OFFERED);
  });

  function checked() {
    const value = Buffer.from(JSON.stringify(makeContract()));
    return { contract: { $case: 'contractJson', value } as const, policyProfile: '', terminal: false };
  }
});

describe('the policy repository of a gate', () => {
  let root: string;
  // TUF's client goes by the system's clock: only what is still to come can be played.
  let now: Date;
  const advance = (milliseconds: number) => {
    now = new Date(now.getTime() + milliseconds);
  };
  let owners: TestRepository;
  const logged: string[] = [];
  const log = { ...silentLog, error: (_: object, message: string) => void logged.push(message) };

  const build = (timeout: number) =>
    policyMembers('/workspace', { name: 'build', allow_commands: ['ls'], max_timeout_sec: timeout });

  const bound = {
    'policies/build.yaml': build(60),
    'bindings.yaml': {
      bindings_version: 'csc.bindings.v0.2',
      bindings: [{ identity: agent, policies: ['build'] }],
    },
  };

  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), 'csc-gate-repository-'));
    now = new Date();
    owners = new TestRepository(join(root, 'owners'), { now: () => now });
    owners.publish(bound);
    logged.length = 0;
  });
  afterEach(() => rmSync(root, { recursive: true }));

  const repository = (options: object = {}): GateRepository =>
    createGateRepository({
      directory: owners.directory,
      mirrorDirectory: join(root, 'mirror'),
      pinnedRoot: owners.root,
      log,
      clock: { now: () => now },
      ...options,
    });

  it('is taken with every version that is published, and only then', async () => {
    const gate = repository();
    expect((await gate.open()).policies.byName('build')?.policy.max_timeout_sec).toBe(60);
    expect(await gate.look()).toBeUndefined();
    owners.publish({ 'policies/build.yaml': build(90), 'freeze.yaml': frozen });
    const next = await gate.look();
    expect(next).toMatchObject({ version: 2, freeze: { reason: frozen.frozen.reason } });
    expect(next?.policies.byName('build')?.policy.max_timeout_sec).toBe(90);
  });

  it('counts while its disk is full, and says so once, and is kept once there is room', async () => {
    const disk = new SmallDisk(join(root, 'disk'), 2 * 1024 * 1024);
    try {
      const gate = repository({ mirrorDirectory: disk.path });
      await gate.open();
      const first = readFileSync(owners.published('metadata/timestamp.json'));
      disk.fill();
      owners.publish({ 'freeze.yaml': frozen });
      expect((await gate.look())?.freeze).toBeDefined();
      expect(await gate.look()).toBeUndefined();
      expect(logged).toEqual([expect.stringContaining('cannot be kept on disk')]);
      expect(gate.faults()).toBe(1);
      // What is on the disk is older than what counts: it is no news.
      const newest = readFileSync(owners.published('metadata/timestamp.json'));
      writeFileSync(owners.published('metadata/timestamp.json'), first);
      expect(await gate.look()).toBeUndefined();
      expect(logged.at(-1)).toContain('what was verified last goes on');
      expect(gate.current()?.freeze).toBeDefined();
      writeFileSync(owners.published('metadata/timestamp.json'), newest);
      disk.makeRoom();
      await gate.look();
      expect([gate.faults(), gate.current()?.unkept]).toEqual([0, undefined]);
      rmSync(owners.published('metadata/timestamp.json'));
      expect((await repository({ mirrorDirectory: disk.path }).open()).freeze).toBeDefined();
    } finally {
      disk.unmount();
    }
  });

  it('goes on as it was, and says so once, where what lies there is not what the owners have signed', async () => {
    const gate = repository();
    await gate.open();
    const old = readFileSync(owners.published('metadata/timestamp.json'));
    owners.publish({ 'freeze.yaml': frozen });
    await gate.look();
    const newest = readFileSync(owners.published('metadata/timestamp.json'));
    expect([gate.faults(), gate.warnings()]).toEqual([0, []]);
    // Rolled back to before the freeze.
    writeFileSync(owners.published('metadata/timestamp.json'), old);
    expect(await gate.look()).toBeUndefined();
    expect(await gate.look()).toBeUndefined();
    expect(logged).toEqual([expect.stringContaining('what was verified last goes on')]);
    expect(gate.warnings()).toEqual([expect.stringMatching(/cannot be taken as it is: .*less than current/)]);
    expect(gate.faults()).toBe(1);
    // Also where it starts again then.
    expect((await repository().open()).freeze).toBeDefined();
    // And is well with what it knows already.
    writeFileSync(owners.published('metadata/timestamp.json'), newest);
    await gate.look();
    expect([gate.faults(), gate.warnings()]).toEqual([0, []]);
  });

  it('is looked after where it is served: who changes a file of it is told of, once, and hosts would refuse it', async () => {
    const gate = repository();
    await gate.open();
    const folder = owners.published('targets/policies');
    const [name = ''] = readdirSync(folder);
    writeFileSync(join(folder, name), 'name: mine');
    for (let count = 0; count < 2; count += 1) expect(await gate.look()).toBeUndefined();
    expect(logged).toEqual([expect.stringContaining('HAS BEEN CHANGED')]);
    owners.publish();
    await gate.look();
    writeFileSync(join(folder, name), 'name: mine again');
    await gate.look();
    expect(logged).toHaveLength(2);
  });

  it('is not taken from anybody but the owners whose root is pinned', async () => {
    const others = new TestRepository(join(root, 'other'), { seed: 9 });
    others.publish(bound);
    const { root: pinnedRoot } = others;
    await expect(repository({ pinnedRoot }).open()).rejects.toEqual(
      expect.objectContaining({ code: 'POLICY_UNSIGNED' }),
    );
  });

  it('says in words that nobody keeps it fresh, at its start where the key lies beside it, and once it gets old', async () => {
    const warned: string[] = [];
    const warning = { ...log, warn: (_: object, message: string) => void warned.push(message) };
    const gate = repository({ log: warning });
    await gate.open();
    advance(5 * 3_600_000);
    await gate.look();
    expect([...warned, ...gate.warnings()]).toEqual([]);
    advance(2 * 3_600_000);
    for (let count = 0; count < 2; count += 1) await gate.look();
    expect(warned).toEqual([
      expect.stringMatching(/nobody signs any more .* csc policy publish .* online_key/),
    ]);
    expect(gate.warnings()).toEqual([expect.stringContaining('it was signed last at ')]);
    owners.publish(bound);
    await gate.look();
    expect(gate.warnings()).toEqual([]);
    mkdirSync(join(owners.directory, 'keys'), { recursive: true });
    writeFileSync(join(owners.directory, 'keys/online.key'), '');
    await repository({ log: warning, online: owners.online }).open();
    expect(warned).toHaveLength(1);
    await repository({ log: warning }).open();
    expect(warned.at(-1)).toContain('has no online_key, though the key lies in keys/');
  });

  it('is kept fresh with the online key, whatever waits for signatures, and is nothing new by that', async () => {
    const gate = repository({ online: owners.online, resignSec: 60 });
    await gate.open();
    const published = () =>
      JSON.parse(readFileSync(owners.published('metadata/timestamp.json'), 'utf8')).signed;
    const snapshots = () =>
      readdirSync(owners.published('metadata')).filter((name) => name.includes('snapshot')).length;
    const first = published();
    advance(59_000);
    await gate.look();
    expect(published()).toEqual(first);
    // Staged by one who has no second owner at hand: it is none of the gate's business.
    writeFileSync(join(owners.directory, 'staged', 'targets.json'), '{}');
    advance(2000);
    expect(await gate.look()).toBeUndefined();
    expect(Date.parse(published().signed_at)).toBe(Math.floor(now.getTime() / 1000) * 1000);
    expect([published().expires, snapshots()]).toEqual([first.expires, 1]);
    advance(defaultLifetimes.online / 2);
    expect(await gate.look()).toBeUndefined();
    expect(published().expires > first.expires).toBe(true);
    expect(snapshots()).toBe(2);
    rmSync(join(owners.directory, 'staged', 'targets.json'));
    owners.publish({ 'freeze.yaml': frozen });
    expect(await gate.look()).toMatchObject({ version: 2 });
    expect(logged).toEqual([]);
  });

  it('cannot be kept fresh with another key', async () => {
    const gate = repository({ online: owners.owner });
    advance(defaultLifetimes.online - 1000);
    await gate.open();
    expect(logged).toEqual([expect.stringContaining('cannot be refreshed with the online key')]);
  });
});
