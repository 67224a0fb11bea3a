import type { SignedApproval } from '@csc-fleet/common/approval';
import { withoutRevoked } from '@csc-fleet/common/approval';
import type { CommandContract } from '@csc-fleet/common/contract';
import { createSigner, generateKeyPair } from '@csc-fleet/common/crypto';
import { toTimestamp } from '@csc-fleet/common/encoding';
import { orThrow } from '@csc-fleet/common/errors';
import { type ApprovalsWatchResponse, ExecutionState } from '@csc-fleet/common/messages';
import { tokenAudience, tokenSha256 } from '@csc-fleet/common/oidc';
import { createRevocations, parseIssuers } from '@csc-fleet/common/owners';
import { bindingsFromJson, createPolicySet } from '@csc-fleet/common/policy';
import { parseSubmission, type Submission } from '@csc-fleet/common/submission';
import { parseTicket } from '@csc-fleet/common/ticket';
import { makeContract } from '@csc-fleet/test-kit/gate/contracts';
import { openGateForEach } from '@csc-fleet/test-kit/gate/each-test';
import { agent, makePolicy, other, type TestGate } from '@csc-fleet/test-kit/gate/test-gate';
import { githubClaims, githubPrincipal, TestIssuer } from '@csc-fleet/test-kit/issuer';
import {
  approveSigned,
  breakGlass,
  makeApprovers,
  person,
  type TestPerson,
} from '@csc-fleet/test-kit/signed-approval';
import { signSubmission } from '@csc-fleet/test-kit/submission';
import { beforeEach, describe, expect, it, vi } from 'vitest';

const [alice, bob, carol, dora] = ['alice', 'bob', 'carol', 'dora'].map((name, at) =>
  person(name, at + 1),
) as [TestPerson, TestPerson, TestPerson, TestPerson];
const submitter = createSigner(Buffer.alloc(32, 9), 'agent-1');

const approvers = makeApprovers(
  [alice, bob, carol, dora],
  `groups:
  - {name: release, members: ["${alice.identity}", "${bob.identity}"]}
  - {name: security, members: ["${carol.identity}", "${bob.identity}"]}
  - {name: oncall, members: ["${dora.identity}"]}
break_glass: {groups: [oncall], max_sec: 1800}
`,
);

const policy = makePolicy('guarded', {
  policy_schema_version: 'csc.policy.v0.2',
  approvals: [{ quorum: [{ group: 'release' }, { group: 'security' }] }],
});

const bindings = orThrow(
  bindingsFromJson({
    bindings_version: 'csc.bindings.v0.2',
    bindings: [
      { identity: agent, policies: ['guarded'] },
      { identity: githubPrincipal, policies: ['guarded'] },
      { identity: 'spiffe://csc.local/client/nobody', policies: ['guarded'] },
    ],
    submitters: [
      {
        principal: agent,
        keys: [{ key_id: 'agent-1', public_key: Buffer.from(submitter.publicKey).toString('base64') }],
      },
    ],
  }),
  'POLICY_INVALID',
  'the bindings',
);

const refused = (text: string) =>
  expect.objectContaining({ code: 'APPROVAL_INVALID', message: expect.stringContaining(text) });

let test: TestGate;

openGateForEach((it) => {
  test = it;
});

beforeEach(async () => {
  await test.publish({ policies: createPolicySet([policy]), bindings, approvers, version: 4 });
});

interface Asked {
  readonly id: string;
  readonly contract: CommandContract;
  readonly submission: Submission;
}

async function ask(contract = makeContract(), overrides: Partial<Submission> = {}): Promise<Asked> {
  const submissionJson = signSubmission(contract, {
    principal: agent,
    signer: submitter,
    now: test.clock.now(),
    overrides,
  });
  const { executionId: id, state } = await test.submit(contract, { submissionJson });
  expect(state).toBe(ExecutionState.AWAITING_APPROVAL);
  return { id, contract, submission: orThrow(parseSubmission(submissionJson), 'SUBMISSION_INVALID', 'it') };
}

const subject = ({ contract, submission }: Asked) => ({
  contract,
  policy,
  principal: agent,
  submission,
  now: test.clock.now(),
});

const approval = (asked: Asked, who: TestPerson, group: string, over: Partial<SignedApproval> = {}) =>
  approveSigned(subject(asked), who, group, over);

async function review(asked: Asked, who: TestPerson, group: string, over: Partial<SignedApproval> = {}) {
  return test.as(who.identity).review(asked.id, await approval(asked, who, group, over));
}

describe('the people who are asked', () => {
  it('see what waits for them, all that it is, and who is still missing', async () => {
    const asked = await ask();
    const { pending } = await test.as(carol.identity).listApprovals();
    expect(pending).toEqual([
      expect.objectContaining({
        execution: expect.objectContaining({ executionId: asked.id, principal: agent }),
        quorum: [
          { group: 'release', count: 1, approvedBy: [] },
          { group: 'security', count: 1, approvedBy: [] },
        ],
        reviewed: false,
        people: 2,
        groups: ['security'],
        mayBreakGlass: false,
      }),
    ]);
    const got = await test.as(dora.identity).getApproval(asked.id.slice(0, 8));
    expect(JSON.parse(got.contractJson.toString())).toEqual(asked.contract);
    expect(JSON.parse(got.submissionJson.toString())).toEqual(asked.submission);
    expect(got).toMatchObject({ trustDomain: 'csc.local', policyVersion: 4, breakGlassMaxSec: 1800 });
    expect(got).toMatchObject({ groups: [], breakGlassGroups: ['oncall'] });
    expect(got.pending).toMatchObject({ groups: [], mayBreakGlass: true });
    for (const nobody of [agent, other])
      await expect(test.as(nobody).listApprovals()).rejects.toEqual(
        expect.objectContaining({ code: 'NOT_PERMITTED' }),
      );
  });

  it('are told of what they have submitted themselves that it is for others', async () => {
    const approver = makeApprovers(
      [{ identity: agent, key: alice.key }],
      `groups: [{name: release, members: ["${agent}"]}]\n`,
    );
    await test.publish({ policies: createPolicySet([policy]), bindings, approvers: approver, version: 5 });
    const { id } = await ask();
    expect((await test.as(agent).listApprovals()).pending).toEqual([]);
    for (const named of [id, id.slice(0, 8)])
      await expect(test.as(agent).getApproval(named)).rejects.toEqual(
        expect.objectContaining({
          code: 'NOT_PERMITTED',
          message: expect.stringContaining('others must agree'),
        }),
      );
  });

  it('have it queued once all groups agree, each once, with what they signed for the host', async () => {
    const asked = await ask();
    const first = await approval(asked, alice, 'release');
    const { pending, existing } = await test.as(alice.identity).review(asked.id, first);
    expect(pending).toMatchObject({ reviewed: true, execution: { state: ExecutionState.AWAITING_APPROVAL } });
    expect(existing).toBe(false);
    expect((await test.as(alice.identity).review(asked.id, first)).existing).toBe(true);
    await test.reopen();
    const executor = await test.connected('e1', { policySha256s: [policy.sha256] });
    await review(asked, bob, 'security');
    await test.flushed();
    const [offer] = executor.all('offer');
    const ticket = orThrow(parseTicket(offer?.ticketJson ?? Buffer.alloc(0)), 'TICKET_INVALID', 'it');
    expect(ticket.approval_ids).toHaveLength(2);
    expect(offer?.approvalsJson.map((it) => JSON.parse(it.toString()).approver.identity)).toEqual([
      alice.identity,
      bob.identity,
    ]);
    const events = await test.events(asked.id);
    expect(events.flatMap(({ event }) => (event?.$case === 'reviewed' ? [event.value] : []))).toMatchObject([
      { approver: alice.identity, verdict: 'approve', missing: '1 of security' },
      { approver: bob.identity, verdict: 'approve', missing: '' },
    ]);
    const late = review(asked, carol, 'security');
    await expect(late).rejects.toEqual(refused('waits for no approval any more'));
  });

  it('end it with one rejection by a member, and no approval brings it back', async () => {
    const asked = await ask();
    await review(asked, alice, 'release');
    await review(asked, carol, 'security', { verdict: 'reject', reason: 'not on a Friday' });
    expect(await test.state(asked.id)).toBe(ExecutionState.BLOCKED);
    expect(await test.receipt(asked.id)).toMatchObject({
      status: 'blocked',
      error: expect.stringContaining(
        `${carol.identity} of the group security has rejected it: not on a Friday`,
      ),
    });
    await expect(review(asked, bob, 'security')).rejects.toEqual(refused('was rejected'));
  });

  it('are asked until what was submitted by a token could not begin any more, and so is its submitter told', async () => {
    const issuer = await TestIssuer.make(undefined, 'ES256');
    const described = {
      issuers_version: 'csc.issuers.v0.1',
      issuers: [issuer.pinned({ max_wait_sec: 900 })],
    };
    const read = orThrow(
      parseIssuers(Buffer.from(JSON.stringify(described))),
      'POLICY_INVALID',
      'the issuers',
    );
    await test.publish({
      policies: createPolicySet([policy]),
      bindings,
      approvers,
      issuers: read.issuers,
      version: 4,
    });
    const { seed, publicKey } = generateKeyPair();
    const signer = createSigner(seed, Buffer.from(publicKey).toString('base64'));
    const now = test.clock.now();
    const token = await issuer.sign({ ...githubClaims, aud: tokenAudience('csc.local', publicKey) }, { now });
    const contract = makeContract();
    const overrides = {
      token_sha256: tokenSha256(token),
      expires_at: toTimestamp(new Date(now.getTime() + 20 * 3_600_000)),
    };
    const submissionJson = signSubmission(contract, { principal: githubPrincipal, signer, now, overrides });
    const asked = await test.submit(contract, {
      principal: githubPrincipal,
      submissionJson,
      submissionToken: token,
    });
    // Its end, what the owners let it wait after that, and by what clocks may differ.
    const ends = new Date(now.getTime() + (300 + 900 + 60) * 1000);
    expect(asked.decision?.expiresAt).toEqual(ends);
    const { pending } = await test.as(alice.identity).listApprovals();
    expect(pending.map(({ until }) => until)).toEqual([ends]);
    // Once they have agreed, it waits for a host for no longer.
    const submission = orThrow(parseSubmission(submissionJson), 'SUBMISSION_INVALID', 'it');
    for (const [who, group] of [
      [alice, 'release'],
      [carol, 'security'],
    ] as const)
      await test.as(who.identity).review(
        asked.executionId,
        await approveSigned({ contract, policy, principal: githubPrincipal, submission, now }, who, group, {
          expires_at: toTimestamp(new Date(now.getTime() + 3_600_000)),
        }),
      );
    expect(await test.state(asked.executionId, githubPrincipal)).toBe(ExecutionState.QUEUED);
    test.clock.advance(ends.getTime() - now.getTime());
    await vi.advanceTimersByTimeAsync(60_000);
    expect(await test.state(asked.executionId, githubPrincipal)).toBe(ExecutionState.EXPIRED);
  });

  it('are told of what comes and goes', async () => {
    const gone = new AbortController();
    const seen: ApprovalsWatchResponse[] = [];
    const watching = test.as(alice.identity).watchApprovals(async (it) => void seen.push(it), gone.signal);
    const asked = await ask();
    await expect.poll(() => seen).toHaveLength(1);
    await review(asked, carol, 'security');
    await expect.poll(() => seen).toHaveLength(2);
    await test.as(agent).cancel({ executionId: asked.id, gracePeriod: undefined });
    await expect.poll(() => seen).toHaveLength(3);
    expect(seen.map(({ over, pending }) => [over, pending?.quorum[1]?.approvedBy.length])).toEqual([
      [false, 0],
      [false, 1],
      [true, 1],
    ]);
    gone.abort();
    await watching;
  });

  it.each<[string, (asked: Asked) => Promise<unknown>, string]>([
    [
      'of one person for two groups',
      async (it) => {
        await review(it, bob, 'release');
        return review(it, bob, 'security');
      },
      'counted once',
    ],
    [
      'of another contract',
      (it) => review(it, alice, 'release', { contract_sha256: 'a'.repeat(64) }),
      'another contract',
    ],
    [
      'of another submission',
      (it) => review(it, alice, 'release', { submission_sha256: 'a'.repeat(64) }),
      'another submission',
    ],
    [
      'of another version of the profile',
      (it) => review(it, alice, 'release', { policy_sha256: 'a'.repeat(64) }),
      'another version',
    ],
    [
      'of a version of the repository that is still to come',
      (it) => review(it, alice, 'release', { policy_version: 5 }),
      'version 5',
    ],
    [
      'for another fleet',
      (it) => review(it, alice, 'release', { audience: { trust_domain: 'other' } }),
      'trust domain',
    ],
    ['of another principal’s', (it) => review(it, alice, 'release', { principal: other }), other],
    [
      'that has expired',
      (it) =>
        review(it, alice, 'release', {
          approved_at: '2025-12-31T00:00:00Z',
          expires_at: '2026-01-01T00:00:00Z',
        }),
      'it expired at',
    ],
    [
      'as a member of a group that is not theirs',
      (it) => review(it, alice, 'security'),
      'not of the group security',
    ],
    [
      'with the key of somebody else',
      (it) => review(it, { ...alice, key: createSigner(Buffer.alloc(32, 2), 'alice-approves') }, 'release'),
      'does not fit',
    ],
    [
      'with a key that nobody names',
      (it) => review(it, { ...alice, key: bob.key }, 'release'),
      'names no key',
    ],
    [
      'of whom nobody names',
      (it) => review(it, { identity: alice.identity, key: submitter }, 'release'),
      'names no key',
    ],
    [
      'that another has handed in',
      async (it) => test.as(bob.identity).review(it.id, await approval(it, alice, 'release')),
      'hands in their own',
    ],
  ])('hand in nothing that does not count: %s', async (_, act, why) => {
    const asked = await ask();
    await expect(act(asked)).rejects.toEqual(refused(why));
    expect(await test.state(asked.id)).toBe(ExecutionState.AWAITING_APPROVAL);
  });

  it('no more count once they are revoked, and what they gave goes with them', async () => {
    const asked = await ask();
    await review(asked, alice, 'release');
    const since = '2026-01-01T00:00:00Z';
    const entry = { kind: 'key', id: 'alice-approves', since, reason: 'lost', running: 'finish' } as const;
    const revoked = withoutRevoked(approvers, createRevocations([entry]));
    await test.publish({ policies: createPolicySet([policy]), bindings, approvers: revoked });
    await expect(review(asked, alice, 'release')).rejects.toEqual(refused('was revoked at'));
    const { pending } = await review(asked, carol, 'security');
    expect(pending?.quorum.map(({ approvedBy }) => approvedBy)).toEqual([[], [carol.identity]]);
  });

  it('are asked anew once the owners have published another version of the profile', async () => {
    const asked = await ask();
    await review(asked, alice, 'release');
    const next = makePolicy('guarded', {
      policy_schema_version: 'csc.policy.v0.2',
      approvals: [{ quorum: [{ group: 'security' }] }],
    });
    await test.publish({ policies: createPolicySet([next]), bindings, approvers, version: 5 });
    await expect(review(asked, carol, 'security')).rejects.toEqual(refused('another version'));
    const { pending } = await review(asked, carol, 'security', { policy_sha256: next.sha256 });
    expect(pending).toMatchObject({ execution: { state: ExecutionState.QUEUED }, people: 1 });
  });

  it('are told of to whoever submitted it: who has agreed, and who must yet', async () => {
    const asked = await ask();
    const waits = async () => (await test.as(agent).getStatus()).waiting.map(({ reason }) => reason);
    expect(await waits()).toEqual(['an approval: 1 of release and 1 of security']);
    await review(asked, alice, 'release');
    expect(await waits()).toEqual([`an approval: 1 of security; agreed: ${alice.identity} (release)`]);
    expect(await test.as(agent).getExecution({ executionId: asked.id })).toMatchObject({
      reviews: [{ approver: alice.identity, verdict: 'approve' }],
      approvalMissing: '1 of security',
    });
  });

  it('cannot pass for a broken glass by what they write', async () => {
    const asked = await ask();
    const reason = '{"break_glass_version":"csc.break_glass.v0.1"}';
    await review(asked, alice, 'release', { reason });
    const { execution } = await test.as(agent).getExecution({ executionId: asked.id });
    expect(execution?.glassBroken).toBeUndefined();
  });

  it.each([
    ['what one of them signed', { signed: 600, submitted: 3600 }],
    ['the submission, though they signed for longer,', { signed: 3600, submitted: 600 }],
  ])('have it wait in the queue until the moment that %s expires', async (_, { signed, submitted }) => {
    const inSeconds = (count: number) => toTimestamp(new Date(test.clock.now().getTime() + count * 1000));
    const asked = await ask(makeContract(), { expires_at: inSeconds(submitted) });
    await review(asked, alice, 'release', { expires_at: inSeconds(signed) });
    await review(asked, bob, 'security', { expires_at: inSeconds(3600) });
    const state = async () => (await test.as(agent).getExecution({ executionId: asked.id })).execution?.state;
    test.clock.advance(600_000 - 1);
    await test.sweep();
    expect(await state()).toBe(ExecutionState.QUEUED);
    test.clock.advance(1);
    await test.sweep();
    expect(await state()).toBe(ExecutionState.EXPIRED);
    const executor = await test.connected('e1', { policySha256s: [policy.sha256] });
    await test.flushed();
    expect(executor.offered).toEqual([]);
  });

  it('come too late once what they are for has expired', async () => {
    const asked = await ask();
    test.clock.advance(24 * 3600_000);
    await expect(review(asked, alice, 'release')).rejects.toEqual(refused('it comes too late'));
  });
});

describe('a broken glass', () => {
  it('has one submission run, and everybody is told', async () => {
    const executor = await test.connected('e1', { policySha256s: [policy.sha256] });
    const asked = await ask();
    await test.as(dora.identity).review(asked.id, await breakGlass(subject(asked), dora, 'oncall'));
    await test.flushed();
    expect(executor.offered).toHaveLength(1);
    expect(test.warnings).toEqual([
      [
        'the glass was broken: an execution runs without its approvals',
        expect.objectContaining({ approver: dora.identity }),
      ],
    ]);
    const kinds = (await test.events(asked.id)).flatMap(({ event }) =>
      event?.$case === 'reviewed' ? [event.value.verdict] : [],
    );
    expect(kinds).toEqual(['break_glass']);
    const { execution } = await test.as(agent).getExecution({ executionId: asked.id });
    expect(execution?.glassBroken).toBe(true);
    const audited = await test.as(agent).listExecutions({
      states: [],
      pageSize: 0,
      pageToken: '',
      allPrincipals: false,
    });
    expect(audited.executions.map(({ glassBroken }) => glassBroken)).toEqual([true]);
  });

  it.each<[string, (asked: Asked) => Promise<Buffer>, TestPerson, string]>([
    [
      'by nobody of its group',
      (it) => breakGlass(subject(it), alice, 'oncall'),
      alice,
      'not of the group oncall',
    ],
    [
      'by a group that is not for it',
      (it) => breakGlass(subject(it), alice, 'release'),
      alice,
      'does not name the group',
    ],
    [
      'for too long',
      (it) => breakGlass(subject(it), dora, 'oncall', { expires_at: '2026-01-01T00:30:01Z' }),
      dora,
      'more than 1800 seconds',
    ],
    [
      'of another submission',
      (it) => breakGlass(subject(it), dora, 'oncall', { submission_sha256: 'a'.repeat(64) }),
      dora,
      'another submission',
    ],
    ['as an approval of that group', (it) => approval(it, dora, 'oncall'), dora, 'for breaking the glass'],
  ])('is refused: %s', async (_, make, who, why) => {
    const asked = await ask();
    const act = async () => test.as(who.identity).review(asked.id, await make(asked));
    await expect(act()).rejects.toEqual(refused(why));
  });
});
