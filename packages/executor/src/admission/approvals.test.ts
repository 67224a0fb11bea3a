import { type SignedApproval, withoutRevoked } from '@csc-fleet/common/approval';
import { type CommandContract, contractSha256 } from '@csc-fleet/common/contract';
import { createSigner, toBase64 } from '@csc-fleet/common/crypto';
import type { JsonObject } from '@csc-fleet/common/encoding';
import { orThrow } from '@csc-fleet/common/errors';
import { createRevocations } from '@csc-fleet/common/owners';
import { createPolicySet, parseBindings } from '@csc-fleet/common/policy';
import { parseSubmission, type Submission } from '@csc-fleet/common/submission';
import { makeContract } from '@csc-fleet/test-kit/contract';
import { makePolicy, openWorkbench, type Workbench } from '@csc-fleet/test-kit/executor/workbench';
import {
  approveSigned,
  breakGlass,
  makeApprovers,
  person,
  type TestPerson,
} from '@csc-fleet/test-kit/signed-approval';
import { signSubmission } from '@csc-fleet/test-kit/submission';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { OwnersWord } from './owners.ts';

// The gate of these tests is ours, with its real key: it mints what it likes, and sends what it has got hold of.

const agent = 'spiffe://csc.local/client/agent';
const submitter = createSigner(Buffer.alloc(32, 9), 'agent-1');
const atWork = 'spiffe://csc.local/client/alice-at-work';
const alice: TestPerson = { ...person('alice', 1), also: [atWork] };
const [bob, carol, dora] = ['bob', 'carol', 'dora'].map((name, at) => person(name, at + 2)) as [
  TestPerson,
  TestPerson,
  TestPerson,
];
/** The agent's own key, as somebody else's. */
const sock: TestPerson = { identity: 'spiffe://csc.local/client/sock', key: submitter };

/** The same again: with another key to approve, and with that one to submit. */
const twin = person('twin', 20);
/** Alice again, by the key that both submit with. */
const erin = person('erin', 21);
const common = toBase64(createSigner(Buffer.alloc(32, 22), 'common').publicKey);

const approvers = makeApprovers(
  [
    alice,
    bob,
    carol,
    dora,
    sock,
    twin,
    erin,
    { identity: agent, key: createSigner(Buffer.alloc(32, 8), 'agent-approves') },
  ],
  `groups:
  - {name: release, members: ["${alice.identity}", "${bob.identity}", "${sock.identity}", "${twin.identity}", "${agent}"]}
  - {name: security, members: ["${carol.identity}", "${bob.identity}", "${erin.identity}"]}
  - {name: oncall, members: ["${dora.identity}"]}
break_glass: {groups: [oncall], max_sec: 1800}
`,
);

const guarded = [
  'policy_schema_version: csc.policy.v0.2',
  'approvals: [{quorum: [{group: release}, {group: security}]}]',
];

let bench: Workbench;
let word: OwnersWord = { policies: createPolicySet([]) };
let owners: OwnersWord;

beforeAll(async () => {
  bench = await openWorkbench({
    executor: { labels: { tier: 'build' }, submissions: { required: true } },
    deps: { owners: { current: () => word } },
    policyLines: guarded,
  });
  const bindings = orThrow(
    parseBindings(
      Buffer.from(`bindings_version: csc.bindings.v0.2
bindings:
  - {identity: "${agent}", policies: [test, open, elsewhere]}
submitters:
  - {principal: "${agent}", keys: [{key_id: agent-1, public_key: "${toBase64(submitter.publicKey)}"}]}
  - {principal: "${twin.identity}", keys: [{key_id: twin-1, public_key: "${toBase64(submitter.publicKey)}"}]}
  - {principal: "${alice.identity}", keys: [{key_id: laptop, public_key: "${common}"}]}
  - {principal: "${erin.identity}", keys: [{key_id: erin-1, public_key: "${common}"}]}
`),
    ),
    'POLICY_INVALID',
    'the bindings',
  );
  const v02 = 'policy_schema_version: csc.policy.v0.2';
  const policies = createPolicySet([
    bench.policy,
    makePolicy(bench.workspace, ['name: open', v02]),
    makePolicy(bench.workspace, ['name: elsewhere', v02, 'hosts: {tier: deploy}']),
  ]);
  owners = { policies, bindings, approvers, version: 7, refreshedAt: new Date() };
});
beforeEach(() => {
  word = owners;
});
afterAll(() => bench.close());

interface Case {
  readonly contract: CommandContract;
  readonly submissionJson: Buffer;
  readonly submission: Submission;
}

function submitted(profile = 'test', over: Partial<CommandContract> = {}): Case {
  const contract = makeContract(bench.workspace, [{}], over);
  const parts = {
    principal: agent,
    signer: submitter,
    now: new Date(),
    overrides: { policy_profile: profile },
  };
  const submissionJson = signSubmission(contract, parts);
  return {
    contract,
    submissionJson,
    submission: orThrow(parseSubmission(submissionJson), 'SUBMISSION_INVALID', ''),
  };
}

const policyOf = (profile: string) => {
  const found = owners.policies.byName(profile);
  if (found === undefined) throw new Error(profile);
  return found;
};

const subject = ({ contract, submission }: Case, profile = 'test') => ({
  contract,
  submission,
  principal: agent,
  policy: policyOf(profile),
  now: new Date(),
});

const approve = async (
  it: Case,
  who: TestPerson,
  group: string,
  over: Partial<SignedApproval> = {},
): Promise<JsonObject> => JSON.parse((await approveSigned(subject(it), who, group, over)).toString());

const both = async (it: Case, over: Partial<SignedApproval> = {}): Promise<JsonObject[]> => [
  await approve(it, alice, 'release', over),
  await approve(it, carol, 'security', over),
];

const idOf = (it: JsonObject): string => String(it['approval_id'] ?? it['break_glass_id']);

function offer(it: Case, approvals: readonly JsonObject[], profile = 'test'): string {
  const ticket = { principal: agent, approval_ids: [...new Set(approvals.map(idOf))] };
  return bench.gate.offer(it.contract, policyOf(profile), {
    ticket,
    approvals,
    submission: it.submissionJson,
  });
}

async function whyRefused(it: Case, approvals: readonly JsonObject[], profile = 'test'): Promise<string> {
  const { reason, message } = await bench.gate.next('refused', offer(it, approvals, profile));
  return `${reason}: ${message}`;
}

describe('signed approvals on the host', () => {
  it('let it run where each group has agreed, and the receipt has what they signed', async () => {
    const asked = submitted();
    const approvals = await both(asked);
    const receipt = await bench.gate.receipt(offer(asked, approvals));
    expect(receipt).toMatchObject({
      status: 'success',
      approvals: [
        { approver: alice.identity, group: 'release', kind: 'approval', sha256: expect.any(String) },
        { approver: carol.identity, group: 'security', kind: 'approval', sha256: expect.any(String) },
      ],
    });
    const used = receipt['approvals'] as { artifact: string }[];
    expect(used.map(({ artifact }) => JSON.parse(artifact))).toEqual(approvals);
  });

  it.each<[string, (it: Case) => Promise<JsonObject[]>, RegExp]>([
    [
      'that is missing',
      async (it) => [await approve(it, alice, 'release')],
      /1 of release and 1 of security, 2 in all/,
    ],
    [
      'forged by the gate',
      async (it) => [await approve(it, { ...alice, key: bench.gate.signer }, 'release')],
      /names no key/,
    ],
    [
      'forged by the gate under the name of the key',
      async (it) => {
        const key = createSigner(Buffer.alloc(32, 77), alice.key.keyId);
        return [await approve(it, { ...alice, key }, 'release'), await approve(it, carol, 'security')];
      },
      /does not fit/,
    ],
    ['borrowed from another contract', async () => both(submitted()), /another contract/],
    [
      'borrowed from another submission',
      (it) => both({ ...submitted(), contract: it.contract }),
      /another submission/,
    ],
    [
      'borrowed from another version of the profile',
      (it) => both(it, { policy_sha256: 'a'.repeat(64) }),
      /another version/,
    ],
    ['borrowed from another profile', (it) => both(it, { policy_profile: 'open' }), /for the profile/],
    [
      'borrowed from another fleet',
      (it) => both(it, { audience: { trust_domain: 'other' } }),
      /trust domain/,
    ],
    [
      'borrowed from another host',
      (it) => both(it, { audience: { trust_domain: 'csc.local', executor_id: 'executor-2' } }),
      /for the executor/,
    ],
    [
      'by the submitter as an approver',
      async (it) => [
        await approve(
          it,
          { identity: agent, key: createSigner(Buffer.alloc(32, 8), 'agent-approves') },
          'release',
        ),
        await approve(it, carol, 'security'),
      ],
      /nobody approves what is their own/,
    ],
    [
      'by the submitter under another name with the same key',
      async (it) => [await approve(it, sock, 'release'), await approve(it, carol, 'security')],
      /also signs what/,
    ],
    [
      'by the submitter under another name that submits with the same key',
      async (it) => [await approve(it, twin, 'release'), await approve(it, carol, 'security')],
      /also signs what/,
    ],
    [
      'of one person through two groups',
      async (it) => [await approve(it, bob, 'release'), await approve(it, bob, 'security')],
      /counted once/,
    ],
    [
      'of one person under two names that submit with the same key',
      async (it) => [await approve(it, alice, 'release'), await approve(it, erin, 'security')],
      /has a key in common, and is counted once/,
    ],
    [
      'that has expired',
      (it) => both(it, { approved_at: '2026-01-01T00:00:00Z', expires_at: '2026-01-01T01:00:00Z' }),
      /it expired/,
    ],
    [
      'that says no',
      async (it) => [
        ...(await both(it)),
        await approve(it, bob, 'security', { verdict: 'reject', reason: 'no' }),
      ],
      /has rejected it: no/,
    ],
    [
      'of a version of the owners’ files that has not come',
      (it) => both(it, { policy_version: 8 }),
      /has not come here yet/,
    ],
    [
      'changed behind its signature',
      async (it) => (await both(it)).map((one) => ({ ...one, scope: 'time_window' })),
      /does not fit/,
    ],
    [
      'that nobody has signed',
      async (it) => [
        {
          approval_version: 'csc.approval.v0.1',
          approval_id: 'old',
          contract_sha256: contractSha256(it.contract),
          approver: { identity: alice.identity, method: 'cli' },
          approved_at: '2026-01-01T00:00:00Z',
          expires_at: '2036-01-01T00:00:00Z',
          scope: 'single_execution',
        },
      ],
      /nobody has signed them/,
    ],
  ])('do not count: one %s', async (_, make, why) => {
    const asked = submitted();
    expect(await whyRefused(asked, await make(asked))).toMatch(why);
  });

  it('are used up by one execution, though another submission of the contract comes', async () => {
    const first = submitted();
    const any = await both(first, { submission_sha256: 'any' });
    await bench.gate.receipt(offer(first, any));
    const again = signSubmission(first.contract, {
      principal: agent,
      signer: submitter,
      now: new Date(),
      overrides: { policy_profile: 'test' },
    });
    const second = { ...first, submissionJson: again };
    expect(await whyRefused(second, any)).toMatch(/has been used up/);
  });

  it('for whichever submission do not count where this journal may have lost that they were used', async () => {
    const asked = submitted();
    const at = new Date(Date.now() - 2 * 3_600_000).toISOString();
    expect(await whyRefused(asked, await both(asked, { approved_at: at }))).toMatch(
      /before this host's journal began/,
    );
  });

  it('are used up no earlier than they were signed: this journal’s successor must know that they may have been', async () => {
    const asked = submitted();
    const ahead = new Date(Date.now() + 2000);
    const approvals = await both(asked, { submission_sha256: 'any', approved_at: ahead.toISOString() });
    const receipt = await bench.gate.receipt(offer(asked, approvals));
    expect(new Date(String(receipt['started_at'])).getTime()).toBeGreaterThanOrEqual(ahead.getTime());
  });

  it('of somebody whom the owners have revoked do not count, whenever they were signed', async () => {
    const asked = submitted();
    const approvals = await both(asked);
    const since = '2026-01-01T00:00:00Z';
    for (const [kind, id, why] of [
      ['key', 'alice-approves', /was revoked/],
      ['principal', alice.identity, /names no approver/],
      // A person is all that they are called.
      ['principal', atWork, /names no approver/],
    ] as const) {
      const revocations = createRevocations([{ kind, id, since, reason: 'left', running: 'finish' }]);
      word = { ...owners, approvers: withoutRevoked(approvers, revocations) };
      expect(await whyRefused(asked, approvals)).toMatch(why);
      Object.assign(asked, submitted());
      approvals.splice(0, 2, ...(await both(asked)));
    }
  });

  it('come from two people where the contract asks for dual control', async () => {
    const dual = submitted('open', { approval_mode: 'dual_control_required' });
    const one = async (who: TestPerson, group: string): Promise<JsonObject> =>
      JSON.parse((await approveSigned(subject(dual, 'open'), who, group)).toString());
    const alone = [await one(alice, 'release')];
    expect(await whyRefused(dual, alone, 'open')).toMatch(/2 in all/);
    const again = submitted('open', { approval_mode: 'dual_control_required' });
    Object.assign(dual, again);
    const two = [await one(alice, 'release'), await one(bob, 'security')];
    expect(await bench.gate.receipt(offer(dual, two, 'open'))).toMatchObject({ status: 'success' });
  });
});

describe('a broken glass on the host', () => {
  const glass = async (it: Case, over: object = {}, who = dora, group = 'oncall'): Promise<JsonObject> =>
    JSON.parse((await breakGlass(subject(it), who, group, over)).toString());

  it('stands in for the quorum once, and the receipt says so', async () => {
    const asked = submitted();
    const receipt = await bench.gate.receipt(offer(asked, [await glass(asked)]));
    expect(receipt).toMatchObject({
      status: 'success',
      approvals: [
        { approver: dora.identity, kind: 'break_glass', scope: 'single_execution', group: 'oncall' },
      ],
    });
  });

  it('changes nothing that the policy denies', async () => {
    const asked = submitted('test', { risk_class: 'critical' });
    expect(await whyRefused(asked, [await glass(asked)])).toMatch(/^NOT_PERMITTED.*RISK_CLASS_NOT_ALLOWED/);
  });

  it.each<[string, (it: Case) => Promise<JsonObject>, RegExp]>([
    ['by nobody of its group', (it) => glass(it, {}, alice), /not of the group oncall/],
    ['by a group that is not for it', (it) => glass(it, {}, alice, 'release'), /does not name the group/],
    [
      'for longer than the owners let it',
      (it) => glass(it, { expires_at: new Date(Date.now() + 1_802_000).toISOString() }),
      /more than 1800 seconds/,
    ],
    ['of another submission', (it) => glass({ ...submitted(), contract: it.contract }), /another submission/],
  ])('does not count: %s', async (_, make, why) => {
    const asked = submitted();
    expect(await whyRefused(asked, [await make(asked)])).toMatch(why);
  });
});

describe('the hosts of a profile', () => {
  it('are those with its labels, whatever gate and contract say', async () => {
    const asked = submitted('elsewhere');
    expect(await whyRefused(asked, [], 'elsewhere')).toMatch(
      /^NOT_PERMITTED.*lets nothing run on a host with the labels/,
    );
  });
});
