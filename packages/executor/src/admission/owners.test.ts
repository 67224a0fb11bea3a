import { toBase64 } from '@csc-fleet/common/crypto';
import { toTimestamp } from '@csc-fleet/common/encoding';
import type { Hello } from '@csc-fleet/common/messages';
import { createRevocations, type Revocation, type Revocations } from '@csc-fleet/common/owners';
import { createPolicySet } from '@csc-fleet/common/policy';
import { type LogFields, silentLog } from '@csc-fleet/common/service';
import { makeContract } from '@csc-fleet/test-kit/contract';
import { alice, bindings, bob, hosts, OwnedHost, revoked } from '@csc-fleet/test-kit/executor/owned-host';
import { identity as hostIdentity, makePolicy } from '@csc-fleet/test-kit/executor/workbench';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { ceilingUnder, defaultCeiling, type HostCeiling } from './host-ceiling.ts';
import type { OwnersWord } from './owners.ts';

const host = new OwnedHost();

beforeEach(() => host.open());
afterEach(() => host.close());

describe('the owners’ word', () => {
  const submitted = async (contract = host.marking()) =>
    host.reasonOf(contract, { submission: host.submit(contract) });

  it('stops everything where they have frozen the fleet', async () => {
    host.word = {
      ...host.word,
      freeze: { since: '2026-11-27T12:00:00Z', reason: 'a key is lost', running: 'finish' },
    };
    const contract = host.marking();
    const refused = await host.bench.gate.next(
      'refused',
      host.offer(contract, { submission: host.submit(contract) }),
    );
    expect(refused.message).toContain('EMERGENCY_DENY_ALL');
  });

  it('does not count where it is too old', async () => {
    host.word = { ...host.word, refreshedAt: new Date(Date.now() - 25 * 3_600_000) };
    expect(await submitted()).toBe('POLICY_STALE');
  });

  it.each<[Revocation['kind'], string, string]>([
    ['principal', alice, 'NOT_PERMITTED'],
    ['key', 'alice-1', 'SUBMISSION_INVALID'],
    ['host', 'executor-1', 'NOT_PERMITTED'],
    ['profile', 'test', 'NOT_PERMITTED'],
  ])('takes a %s from those whom hosts run something for', async (kind, id, reason) => {
    host.word = { ...host.word, revocations: revoked(kind, id) };
    expect(await submitted()).toBe(reason);
  });

  it.each<['key' | 'host' | 'principal', (own: Hello) => string]>([
    ['key', ({ receiptKeyId }) => receiptKeyId],
    ['key', ({ receiptPublicKey }) => toBase64(receiptPublicKey)],
    ['host', () => hostIdentity],
    ['principal', () => hostIdentity],
  ])('is revoked by the key of its receipts or by its whole identity: a host (%s)', async (kind, idOf) => {
    const [own] = host.bench.gate.all('hello');
    if (own === undefined) throw new Error('no Hello');
    host.word = { ...host.word, revocations: revoked(kind, idOf(own)) };
    expect(await submitted()).toBe('NOT_PERMITTED');
  });

  it('is in the log of the host that it names, once for each change, with what to do', async () => {
    const said: string[] = [];
    const say = ({ why }: LogFields, message: string) => void said.push(`${message} ${why}`);
    await host.open({ required: true }, { ...silentLog, error: say, info: say });
    const reconsider = (revocations: Revocations | undefined) => {
      host.word = {
        ...host.word,
        ...(revocations === undefined ? { revocations: revoked('host', 'another') } : { revocations }),
      };
      host.bench.executor.reconsider(host.word);
    };
    reconsider(undefined);
    expect(said.filter((it) => it.includes('revoke'))).toEqual([]);
    for (const running of ['finish', 'finish', 'end'] as const)
      reconsider(revoked('host', 'executor-1', running));
    reconsider(undefined);
    const about = said.filter((it) => it.includes('revoke'));
    expect(about).toHaveLength(3);
    expect(about[0]).toContain(
      'THIS HOST IS REVOKED: the owners have revoked the host executor-1 since 2026-11-27T12:00:00Z: it was lost',
    );
    expect(about[0]).toContain('csc admin restore host executor-1');
    expect(about[1]).toContain('what ran was ended');
    expect(about[2]).toContain('no longer revoke');
  });

  it('keeps a binding to hosts with its labels', async () => {
    host.word = { ...host.word, bindings: bindings('\n    hosts: {tier: deploy}') };
    expect(await submitted()).toBe('NOT_PERMITTED');
  });

  it('binds secrets to principal and profile', async () => {
    const secret = makeContract(host.bench.workspace, [{ argv: ['true'], secret_refs: ['TOKEN'] }]);
    expect(await submitted(secret)).toBe('NOT_PERMITTED');
  });

  it('has what uses secrets run only where its submission names this host', async () => {
    host.word = { ...host.word, bindings: bindings('\n    secrets: {test: [TOKEN]}') };
    const secret = makeContract(host.bench.workspace, [{ argv: ['true'], secret_refs: ['TOKEN'] }]);
    expect(await submitted(secret)).toBe('SUBMISSION_INVALID');
    const audience = { trust_domain: 'csc.local', selector: {}, executor_id: 'executor-1' };
    // Further on, this host has no such secret.
    const reason = await host.reasonOf(secret, { submission: host.submit(secret, { audience }) });
    expect(reason).toBe('HOST_CEILING_EXCEEDED');
  });

  it.each([
    ['names no host with its labels', '  - {labels: {tier: deploy}}\n'],
    ['keeps the profile off it', '  - {labels: {}, policies: [other]}\n'],
    ['lets it run nothing for the principal', `  - {labels: {}, principals: ["${bob}"]}\n`],
    ['opens other paths', '  - {labels: {}, path_roots: [/opt]}\n'],
    ['allows other programs', '  - {labels: {tier: build}, commands: [cat]}\n'],
    ['allows no inline code', '  - {labels: {tier: build}}\n'],
  ])('bounds a host beside its own ceiling: hosts.yaml %s', async (_, rules) => {
    host.word = { ...host.word, hosts: hosts(rules) };
    expect(await submitted()).toBe('HOST_CEILING_EXCEEDED');
  });

  it('ends what runs where a revocation says so, with a receipt', async () => {
    const contract = makeContract(host.bench.workspace, [{ argv: ['sleep', '3'] }]);
    const id = host.offer(contract, { submission: host.submit(contract) });
    await host.bench.gate.next('commandStarted', id);
    host.bench.executor.reconsider({ ...host.word, revocations: revoked('principal', bob, 'end') });
    host.bench.executor.reconsider({ ...host.word, revocations: revoked('principal', alice, 'end') });
    const receipt = await host.bench.gate.receipt(id);
    expect(receipt).toMatchObject({ status: 'failed', ended: 'cancelled' });
    expect(receipt.error).toContain('the owners have revoked it');
  });
});

describe('what hosts.yaml narrows', () => {
  const own: HostCeiling = {
    ...defaultCeiling,
    network: 'full',
    egressHosts: ['a.example.org'],
    secrets: ['ONE', 'TWO'],
  };
  const under = (rules: string) =>
    ceilingUnder(
      own,
      { ...host.word, hosts: hosts(rules) },
      { tier: 'build' },
      { policy_profile: 'test', principal: alice },
    );

  it.each([
    ['the network', '  - {labels: {}, network: allowlisted}\n', { network: 'allowlisted' }],
    ['secrets', '  - {labels: {}, secrets: [TWO, THREE]}\n', { secrets: ['TWO'] }],
    [
      'where the network leads, by a further list',
      '  - {labels: {}, network: allowlisted, egress_hosts: [b.example.org]}\n',
      { egressHosts: own.egressHosts, egressAlso: [[expect.anything()]] },
    ],
  ])('is %s, in the ceiling that the run is granted by', (_, rules, expected) => {
    expect(under(rules)).toMatchObject(expected);
  });
});

describe('what has changed while a ticket waits for its start', () => {
  it.each<[string, string, () => OwnersWord]>([
    [
      'hosts.yaml',
      'HOST_CEILING_EXCEEDED',
      () => ({ ...host.word, hosts: hosts('  - {labels: {tier: deploy}}\n') }),
    ],
    [
      'the policy',
      'POLICY_UNSIGNED',
      () => ({ ...host.word, policies: createPolicySet([narrower(), host.other]) }),
    ],
    [
      'its binding',
      'NOT_PERMITTED',
      () => ({ ...host.word, bindings: bindings('\n    hosts: {tier: deploy}') }),
    ],
  ])('is asked again: %s', async (_what, reason, next) => {
    const contract = host.marking();
    const begins = new Date(Date.now() + 250);
    const submission = host.submit(contract, { not_before: toTimestamp(begins) });
    const refused = host.bench.gate.next('refused', host.offer(contract, { submission }));
    host.word = next();
    expect((await refused).reason).toBe(reason);
  });

  const narrower = () => makePolicy(host.bench.workspace, ['max_timeout_sec: 1']);

  // Two seconds pass on the clock by which a host knows that it has waited.
  it.each<[string, string, () => OwnersWord]>([
    ['runs where nothing has', 'receipt', () => host.word],
    [
      'is built anew where it would be granted less',
      'refused',
      () => ({ ...host.word, hosts: hosts('  - {labels: {tier: build}, network: allowlisted}\n') }),
    ],
  ])('what is built, and then held back by the gate, %s', async (_, kind, next) => {
    const contract = makeContract(host.bench.workspace, [{ argv: ['true'] }]);
    const minted = host.bench.gate.mint(contract, host.bench.policy, {
      submission: host.submit(contract),
      ticket: { principal: alice },
    });
    host.bench.gate.send({ $case: 'offer', value: { ...minted, number: 1 } });
    await host.bench.gate.receipt(host.offer(contract, { submission: host.submit(contract) }));
    host.word = next();
    const now = performance.now.bind(performance);
    const clock = vi.spyOn(performance, 'now').mockImplementation(() => now() + 2000);
    host.bench.gate.send({ $case: 'confirm', value: { number: 1, void: false } });
    if (kind === 'receipt')
      expect((await host.bench.gate.receipt(minted.executionId)).status).toBe('success');
    else {
      const refused = await host.bench.gate.next('refused', minted.executionId);
      expect([refused.reason, refused.receiptJson.length]).toEqual(['SANDBOX_UNAVAILABLE', 0]);
    }
    clock.mockRestore();
  });
});

describe('what ends a run that is under way', () => {
  const [both] = [
    (running: Revocation['running']): Revocation => ({
      kind: 'principal',
      id: alice,
      since: '2026-11-27T12:00:00Z',
      reason: 'it was lost',
      running,
    }),
  ];

  it.each<[string, () => OwnersWord]>([
    [
      'a freeze that says so',
      () => ({ ...host.word, freeze: { since: '2026-11-27T12:00:00Z', reason: 'lost', running: 'end' } }),
    ],
    [
      'the revocation of its key, beside one of its principal that lets it finish',
      () => ({
        ...host.word,
        revocations: createRevocations([both('finish'), { ...both('end'), kind: 'key', id: 'alice-1' }]),
      }),
    ],
    [
      'the stricter of two revocations of one principal',
      () => ({ ...host.word, revocations: createRevocations([both('end'), both('finish')]) }),
    ],
  ])('is %s', async (_, next) => {
    const contract = makeContract(host.bench.workspace, [{ argv: ['sleep', '3'] }]);
    const id = host.offer(contract, { submission: host.submit(contract) });
    await host.bench.gate.next('commandStarted', id);
    host.bench.executor.reconsider(next());
    expect(await host.bench.gate.receipt(id)).toMatchObject({ status: 'failed', ended: 'cancelled' });
  });
});

it('says in one line of its log why it refused an offer', async () => {
  const warn = vi.fn();
  await host.open({ required: true }, { ...silentLog, warn });
  await host.reasonOf(host.marking(), {});
  const [fields] = warn.mock.calls.find(([, message]) => message === 'an offer was refused') ?? [];
  expect(fields).toEqual({
    executionId: expect.any(String),
    code: 'SUBMISSION_INVALID',
    why: expect.stringContaining('none came'),
  });
});

describe('a host that only tries it out', () => {
  it('runs what it would refuse, and tells log, submitter and receipt why', async () => {
    const warn = vi.fn();
    await host.open({ required: true, enforce: 'warn' }, { ...silentLog, warn });
    const contract = makeContract(host.bench.workspace, [{ argv: ['true'] }]);
    const reason = expect.stringMatching(/^SUBMISSION_INVALID: .*csc login/);
    for (const sinceStart of [1, 2]) {
      const id = host.offer(contract, {});
      const { notes } = await host.bench.gate.next('accepted', id);
      expect(notes.at(-1)).toContain('will refuse it once it enforces: SUBMISSION_INVALID');
      const receipt = await host.bench.gate.receipt(id);
      expect(receipt).toMatchObject({ status: 'success', warnings: [reason] });
      const fields = { executionId: id, principal: alice, profile: 'test', reasons: [reason], sinceStart };
      expect(warn).toHaveBeenLastCalledWith(fields, expect.stringContaining('enforce'));
    }
    await host.bench.gate.receipt(host.offer(contract, { submission: host.submit(contract) }));
    expect(warn).toHaveBeenCalledTimes(2);
  });

  it('still runs nothing that is revoked', async () => {
    await host.open({ required: true, enforce: 'warn' });
    host.word = { ...host.word, revocations: revoked('principal', alice) };
    expect(await host.reasonOf(host.marking(), {})).toBe('NOT_PERMITTED');
  });

  it('still runs nothing that a revoked key has signed', async () => {
    await host.open({ required: true, enforce: 'warn' });
    host.word = { ...host.word, revocations: revoked('key', 'alice-1') };
    const contract = host.marking();
    expect(await host.reasonOf(contract, { submission: host.submit(contract) })).toBe('SUBMISSION_INVALID');
  });
});
