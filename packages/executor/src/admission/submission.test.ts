import { readdirSync } from 'node:fs';
import { type CommandContract, contractSha256 } from '@csc-fleet/common/contract';
import { createSigner, type Signer, toBase64 } from '@csc-fleet/common/crypto';
import { sha256Hex, sha256Tagged, toTimestamp } from '@csc-fleet/common/encoding';
import { orThrow } from '@csc-fleet/common/errors';
import { signArtifact } from '@csc-fleet/common/evidence';
import type { Hello } from '@csc-fleet/common/messages';
import { createRevocations, parseHosts, type Revocation, type Revocations } from '@csc-fleet/common/owners';
import { createPolicySet, type PolicyDocument, parseBindings } from '@csc-fleet/common/policy';
import { createOpener, makeSealKey } from '@csc-fleet/common/seal';
import { type Log, type LogFields, silentLog } from '@csc-fleet/common/service';
import { parseSubmission, submissionSha256, type UnsignedSubmission } from '@csc-fleet/common/submission';
import { makeApproval } from '@csc-fleet/test-kit/approval';
import { makeContract } from '@csc-fleet/test-kit/contract';
import type { OfferOverrides } from '@csc-fleet/test-kit/executor/scripted-gate';
import {
  identity as hostIdentity,
  makePolicy,
  openWorkbench,
  type Workbench,
} from '@csc-fleet/test-kit/executor/workbench';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { ceilingUnder, defaultCeiling, type HostCeiling } from './host-ceiling.ts';
import type { OwnersWord } from './owners.ts';

const alice = 'spiffe://csc.local/client/alice';
const bob = 'spiffe://csc.local/client/bob';
const keys: Record<string, Signer> = {
  [alice]: createSigner(Buffer.alloc(32, 1), 'alice-1'),
  [bob]: createSigner(Buffer.alloc(32, 2), 'bob-1'),
};

let bench: Workbench;
let other: PolicyDocument;
let acceptUnsignedApprovals = false;
let word: OwnersWord = { policies: createPolicySet([]) };

const entry = ([principal, { keyId, publicKey }]: [string, Signer]) => `
  - principal: ${principal}
    keys: [{key_id: ${keyId}, public_key: "${toBase64(publicKey)}"}]`;

const twoProfiles = () => bindings('', '[other]', '[test, other]');

function bindings(more = '', bobs = '[other]', alices = '[test]'): NonNullable<OwnersWord['bindings']> {
  const text = `bindings_version: csc.bindings.v0.2
bindings:
  - identity: ${alice}
    policies: ${alices}${more}
  - identity: ${bob}
    policies: ${bobs}
submitters:${Object.entries(keys).map(entry).join('')}
`;
  return orThrow(parseBindings(Buffer.from(text)), 'POLICY_INVALID', 'the bindings');
}

const hosts = (rules: string) =>
  orThrow(
    parseHosts(Buffer.from(`hosts_version: csc.hosts.v0.1\nhosts:\n${rules}`)),
    'POLICY_INVALID',
    'hosts',
  ).hosts;

const revoked = (kind: Revocation['kind'], id: string, running: Revocation['running'] = 'finish') =>
  createRevocations([{ kind, id, since: '2026-11-27T12:00:00Z', reason: 'it was lost', running }]);

async function openBench(submissions: object = { required: true }, log: Log = silentLog): Promise<void> {
  bench = await openWorkbench({
    executor: { labels: { tier: 'build' }, submissions, acceptUnsignedApprovals },
    deps: { owners: { current: () => word }, log },
    policyLines: ['allow_secret_refs: true'],
  });
  other = makePolicy(bench.workspace, ['name: other', 'max_timeout_sec: 3600']);
  word = {
    policies: createPolicySet([bench.policy, other]),
    bindings: bindings(),
    version: 7,
    refreshedAt: new Date(),
  };
}

beforeEach(() => {
  acceptUnsignedApprovals = false;
  return openBench();
});
afterEach(() => bench.close());

let nonces = 0;

function unsigned(contract: CommandContract, now = new Date()): UnsignedSubmission {
  nonces += 1;
  return {
    submission_version: 'csc.submission.v0.1',
    contract_sha256: contractSha256(contract),
    principal: alice,
    policy_profile: 'test',
    nonce: nonces.toString(16).padStart(32, '0'),
    audience: { trust_domain: 'csc.local', selector: {} },
    not_before: toTimestamp(now),
    expires_at: toTimestamp(new Date(Date.now() + 600_000)),
    receipt_version: 'csc.receipt.v0.2',
    options: {},
    approvals: [],
  };
}

function signerOf(principal: string): Signer {
  const signer = keys[principal];
  if (signer === undefined) throw new Error(`${principal} has no key`);
  return signer;
}

function submit(
  contract: CommandContract,
  over: Partial<UnsignedSubmission> = {},
  by?: Signer,
  now = new Date(),
): Buffer {
  const submission = { ...unsigned(contract, now), ...over };
  return signArtifact(submission, by ?? signerOf(submission.principal), now);
}

function marking(over: Parameters<typeof makeContract>[2] = {}): CommandContract {
  const command = { argv: ['sh', '-c', 'echo ran > out/mark'], write_paths: [bench.out] };
  return makeContract(bench.workspace, [command], over);
}

/** What the gate offers by itself: its ticket says whatever it likes. */
function offer(contract: CommandContract, over: OfferOverrides, policy = bench.policy): string {
  return bench.gate.offer(contract, policy, { ...over, ticket: { principal: alice, ...over.ticket } });
}

async function reasonOf(
  contract: CommandContract,
  over: OfferOverrides,
  policy?: PolicyDocument,
): Promise<string> {
  const { reason } = await bench.gate.next('refused', offer(contract, over, policy));
  expect(readdirSync(bench.out)).toEqual([]);
  return reason;
}

describe('what its principal signed', () => {
  it('runs, and the receipt says for whom, by which submission and under which version of the owners’ word', async () => {
    const contract = marking();
    const submission = submit(contract);
    const receipt = await bench.gate.receipt(offer(contract, { submission }));
    expect(receipt).toMatchObject({
      status: 'success',
      principal: alice,
      submission_sha256: submissionSha256(orThrow(parseSubmission(submission), 'INTERNAL', 'it')),
      policy_version: 7,
    });
    expect(receipt).not.toHaveProperty('warnings');
  });

  it('gets less where it asked for less, whatever the ticket says', async () => {
    const contract = makeContract(bench.workspace, [{ argv: ['sh', '-c', 'echo 0123456789'] }]);
    const submission = submit(contract, { options: { limits: { stdout_bytes: 4 } } });
    const { commands } = await bench.gate.receipt(offer(contract, { submission }));
    expect(commands[0]).toMatchObject({ stdout_bytes: 4, stdout_truncated: true });
  });
});

const grant = {
  receipt_version: 'csc.receipt.v0.2',
  limits: { stdout_bytes: 1000, stderr_bytes: 1000 },
} as const;
const terminal = { columns: 80, rows: 24, type: 'xterm', input_key: `${'A'.repeat(43)}=` };

describe('a gate with its real key cannot have run', () => {
  it.each<[string, string, (contract: CommandContract) => OfferOverrides]>([
    ['what nobody has signed', 'SUBMISSION_INVALID', () => ({})],
    [
      'what it has signed itself',
      'SUBMISSION_INVALID',
      (contract) => ({ submission: submit(contract, {}, createSigner(Buffer.alloc(32, 9), 'alice-1')) }),
    ],
    [
      'a contract of its own behind a submission',
      'CONTRACT_HASH_MISMATCH',
      () => ({ submission: submit(makeContract(bench.workspace, [{ argv: ['true'] }])) }),
    ],
    [
      'one principal’s submission as another’s',
      'TICKET_INVALID',
      (contract) => ({ submission: submit(contract, { principal: bob, policy_profile: 'other' }) }),
    ],
    [
      'it with another kind of receipt than was asked for',
      'TICKET_INVALID',
      (contract) => ({ submission: submit(contract, { receipt_version: 'csc.receipt.v0.1' }) }),
    ],
    [
      'it under a ticket that names no submission',
      'TICKET_INVALID',
      (contract) => ({ submission: submit(contract), ticket: { submission_sha256: 'f'.repeat(64) } }),
    ],
    [
      'it on a terminal that nobody asked for',
      'TICKET_INVALID',
      (contract) => ({ submission: submit(contract), ticket: { grant: { ...grant, terminal } } }),
    ],
    [
      'it without the terminal that was asked for',
      'TICKET_INVALID',
      (contract) => ({ submission: submit(contract, { options: { terminal } }) }),
    ],
    [
      'it on a terminal into which another key types',
      'TICKET_INVALID',
      (contract) => ({
        submission: submit(contract, { options: { terminal } }),
        ticket: { grant: { ...grant, terminal: { ...terminal, input_key: `${'B'.repeat(43)}=` } } },
      }),
    ],
    [
      'it on another host than it is for',
      'WRONG_AUDIENCE',
      (contract) => ({
        submission: submit(contract, {
          audience: { trust_domain: 'csc.local', selector: {}, executor_id: 'executor-2' },
        }),
      }),
    ],
    [
      'it on a host without the label that it asks for',
      'WRONG_AUDIENCE',
      (contract) => ({
        submission: submit(contract, {
          audience: { trust_domain: 'csc.local', selector: { tier: 'deploy' } },
        }),
      }),
    ],
  ])('%s', async (_, reason, over) => {
    const contract = marking();
    expect(await reasonOf(contract, over(contract))).toBe(reason);
  });

  it('what was submitted before this host’s journal began', async () => {
    const contract = marking();
    const past = new Date(Date.now() - 7_200_000);
    const submission = submit(contract, { not_before: toTimestamp(past) }, undefined, past);
    expect(await reasonOf(contract, { submission })).toBe('SUBMISSION_REPLAYED');
  });

  it('a submission under a ticket that names no epoch of this host', async () => {
    const contract = marking();
    const older = { submission: submit(contract), withoutEpoch: true } as const;
    expect(await reasonOf(contract, older)).toBe('TICKET_INVALID');
  });

  it('a contract under a policy that nobody has bound to its principal', async () => {
    const contract = marking();
    const submission = submit(contract, { policy_profile: 'other' });
    expect(await reasonOf(contract, { submission }, other)).toBe('NOT_PERMITTED');
  });

  it('another policy than the profile that was asked for', async () => {
    const contract = marking();
    const ticket = { policy_profile: 'test' };
    expect(await reasonOf(contract, { submission: submit(contract), ticket }, other)).toBe('POLICY_UNSIGNED');
  });

  it('one submission twice', async () => {
    const contract = makeContract(bench.workspace, [{ argv: ['true'] }]);
    const submission = submit(contract);
    await bench.gate.receipt(offer(contract, { submission }));
    expect(await reasonOf(contract, { submission })).toBe('SUBMISSION_REPLAYED');
    await bench.restart();
    expect(await reasonOf(contract, { submission })).toBe('SUBMISSION_REPLAYED');
  });

  it('a submission after the journal itself refused it, as its approval was used up', async () => {
    await bench.close();
    acceptUnsignedApprovals = true;
    await openBench();
    const contract = makeContract(bench.workspace, [{ argv: ['true'] }], { approval_mode: 'human_required' });
    const approvals = [{ ...makeApproval(contract) }];
    await bench.gate.receipt(offer(contract, { submission: submit(contract), approvals }));
    const submission = submit(contract);
    const refused = await bench.gate.next('refused', offer(contract, { submission, approvals }));
    expect(refused.reason).toBe('APPROVAL_INVALID');
    expect(await bench.gate.chained(refused.executionId)).toMatchObject({
      status: 'blocked',
      submission_sha256: sha256Hex(submission),
    });
    const again = [{ ...makeApproval(contract, { approval_id: 'another' }) }];
    expect(await reasonOf(contract, { submission, approvals: again })).toBe('SUBMISSION_REPLAYED');
  });

  it('a submission after its refusal was signed', async () => {
    const contract = marking({ approval_mode: 'human_required' });
    const submission = submit(contract);
    const refused = await bench.gate.next('refused', offer(contract, { submission }));
    expect(bench.gate.verify(refused.receiptJson)).toMatchObject({ status: 'blocked' });
    expect(await reasonOf(contract, { submission })).toBe('SUBMISSION_REPLAYED');
  });
});

describe('output that its submitter wants sealed', () => {
  const key = makeSealKey();
  const seal = { algorithm: 'csc.seal.v0.1', public_key: toBase64(key.publicKey) } as const;
  const printing = () => makeContract(bench.workspace, [{ argv: ['sh', '-c', 'echo secret; echo why >&2'] }]);

  async function open(executionId: string, stream: 1 | 2): Promise<string> {
    const name = stream === 1 ? 'stdout' : 'stderr';
    const opener = createOpener(() => key, { executionId, commandId: 'main', stream: name });
    const chunks = bench.gate.output.chunks(executionId).filter((it) => it.stream === stream);
    const opened = await opener.push(Buffer.concat(chunks.map(({ data }) => data)));
    expect(opener.isWhole).toBe(true);
    return opened.toString();
  }

  it('leaves its host sealed, as the receipt says, and opens with the key', async () => {
    const contract = printing();
    const id = offer(contract, { submission: submit(contract, { options: { seal } }) });
    const receipt = await bench.gate.receipt(id);
    const log = bench.gate.output.log(id);
    expect(log.length).toBeGreaterThan(0);
    expect([log.includes('secret'), log.includes('why')]).toEqual([false, false]);
    expect([await open(id, 1), await open(id, 2)]).toEqual(['secret\n', 'why\n']);
    expect(receipt).toMatchObject({ status: 'success', sealed: seal });
    // The gate knows this hash: of what was printed, it could try out what that may have been.
    expect(receipt.stdout_hash).not.toBe(sha256Tagged('secret\n'));
    const sent = bench.gate.output.chunks(id).filter((it) => it.stream === 1);
    expect(receipt.stdout_hash).toBe(sha256Tagged(Buffer.concat(sent.map(({ data }) => data))));
  });

  it.each<[string, (contract: CommandContract) => OfferOverrides]>([
    [
      'with the wish for it taken out of what was signed',
      (contract) => {
        const signed = JSON.parse(submit(contract, { options: { seal } }).toString());
        return { submission: Buffer.from(JSON.stringify({ ...signed, options: {} })) };
      },
    ],
    [
      'with another key put in the place of the one that was signed',
      (contract) => {
        const signed = JSON.parse(submit(contract, { options: { seal } }).toString());
        const own = { ...seal, public_key: toBase64(makeSealKey().publicKey) };
        return { submission: Buffer.from(JSON.stringify({ ...signed, options: { seal: own } })) };
      },
    ],
    ['with the submission left out', () => ({})],
    [
      'to a key that protects nothing',
      (contract) => {
        const weak = { ...seal, public_key: toBase64(Buffer.alloc(32)) };
        return { submission: submit(contract, { options: { seal: weak } }) };
      },
    ],
    [
      'with a receipt that cannot say so',
      (contract) => ({
        submission: submit(contract, { options: { seal }, receipt_version: 'csc.receipt.v0.1' }),
        ticket: { grant: { ...grant, receipt_version: 'csc.receipt.v0.1' } },
      }),
    ],
  ])('does not run %s', async (_what, over) => {
    const contract = marking();
    expect(await reasonOf(contract, over(contract))).toBe('SUBMISSION_INVALID');
  });

  it('does not run for a wish that nobody has signed, where the owner asks for no submissions', async () => {
    await bench.close();
    await openBench({ required: false, enforce: 'warn' });
    const contract = marking();
    const submission = submit(contract, { options: { seal } }, createSigner(Buffer.alloc(32, 9), 'alice-1'));
    expect(await reasonOf(contract, { submission })).toBe('SUBMISSION_INVALID');
  });
});

describe('the owners’ word', () => {
  const submitted = async (contract = marking()) => reasonOf(contract, { submission: submit(contract) });

  it('stops everything where they have frozen the fleet', async () => {
    word = { ...word, freeze: { since: '2026-11-27T12:00:00Z', reason: 'a key is lost', running: 'finish' } };
    const contract = marking();
    const refused = await bench.gate.next('refused', offer(contract, { submission: submit(contract) }));
    expect(refused.message).toContain('EMERGENCY_DENY_ALL');
  });

  it('does not count where it is too old', async () => {
    word = { ...word, refreshedAt: new Date(Date.now() - 25 * 3_600_000) };
    expect(await submitted()).toBe('POLICY_STALE');
  });

  it.each<[Revocation['kind'], string, string]>([
    ['principal', alice, 'NOT_PERMITTED'],
    ['key', 'alice-1', 'SUBMISSION_INVALID'],
    ['host', 'executor-1', 'NOT_PERMITTED'],
    ['profile', 'test', 'NOT_PERMITTED'],
  ])('takes a %s from those whom hosts run something for', async (kind, id, reason) => {
    word = { ...word, revocations: revoked(kind, id) };
    expect(await submitted()).toBe(reason);
  });

  it.each<['key' | 'host' | 'principal', (own: Hello) => string]>([
    ['key', ({ receiptKeyId }) => receiptKeyId],
    ['key', ({ receiptPublicKey }) => toBase64(receiptPublicKey)],
    ['host', () => hostIdentity],
    ['principal', () => hostIdentity],
  ])('is revoked by the key of its receipts or by its whole identity: a host (%s)', async (kind, idOf) => {
    const [own] = bench.gate.all('hello');
    if (own === undefined) throw new Error('no Hello');
    word = { ...word, revocations: revoked(kind, idOf(own)) };
    expect(await submitted()).toBe('NOT_PERMITTED');
  });

  it('is in the log of the host that it names, once for each change, with what to do', async () => {
    await bench.close();
    const said: string[] = [];
    const say = ({ why }: LogFields, message: string) => void said.push(`${message} ${why}`);
    await openBench({ required: true }, { ...silentLog, error: say, info: say });
    const reconsider = (revocations: Revocations | undefined) => {
      word = {
        ...word,
        ...(revocations === undefined ? { revocations: revoked('host', 'another') } : { revocations }),
      };
      bench.executor.reconsider(word);
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
    word = { ...word, bindings: bindings('\n    hosts: {tier: deploy}') };
    expect(await submitted()).toBe('NOT_PERMITTED');
  });

  it('binds secrets to principal and profile', async () => {
    const secret = makeContract(bench.workspace, [{ argv: ['true'], secret_refs: ['TOKEN'] }]);
    expect(await submitted(secret)).toBe('NOT_PERMITTED');
  });

  it('has what uses secrets run only where its submission names this host', async () => {
    word = { ...word, bindings: bindings('\n    secrets: {test: [TOKEN]}') };
    const secret = makeContract(bench.workspace, [{ argv: ['true'], secret_refs: ['TOKEN'] }]);
    expect(await submitted(secret)).toBe('SUBMISSION_INVALID');
    const audience = { trust_domain: 'csc.local', selector: {}, executor_id: 'executor-1' };
    // Further on, this host has no such secret.
    const reason = await reasonOf(secret, { submission: submit(secret, { audience }) });
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
    word = { ...word, hosts: hosts(rules) };
    expect(await submitted()).toBe('HOST_CEILING_EXCEEDED');
  });

  it('ends what runs where a revocation says so, with a receipt', async () => {
    const contract = makeContract(bench.workspace, [{ argv: ['sleep', '3'] }]);
    const id = offer(contract, { submission: submit(contract) });
    await bench.gate.next('commandStarted', id);
    bench.executor.reconsider({ ...word, revocations: revoked('principal', bob, 'end') });
    bench.executor.reconsider({ ...word, revocations: revoked('principal', alice, 'end') });
    const receipt = await bench.gate.receipt(id);
    expect(receipt).toMatchObject({ status: 'failed', ended: 'cancelled' });
    expect(receipt.error).toContain('the owners have revoked it');
  });
});

describe('a gate cannot make more of a submission than was asked for', () => {
  it('by taking another profile where none is named, than the first that is bound', async () => {
    word = { ...word, bindings: twoProfiles() };
    const contract = marking();
    const open = (): Buffer => {
      const { policy_profile: _, ...rest } = unsigned(contract);
      return signArtifact(rest, signerOf(alice), new Date());
    };
    const ticket = { policy_profile: 'other' };
    expect(await reasonOf(contract, { submission: open(), ticket }, other)).toBe('TICKET_INVALID');
    const receipt = await bench.gate.receipt(offer(contract, { submission: open() }));
    expect(receipt).toMatchObject({ status: 'success', policy_profile: 'test' });
  });

  it('by taking another profile than is named, that is bound as well', async () => {
    word = { ...word, bindings: twoProfiles() };
    const contract = marking();
    const ticket = { policy_profile: 'other' };
    expect(await reasonOf(contract, { submission: submit(contract), ticket }, other)).toBe('TICKET_INVALID');
  });

  it('by naming another principal who is bound to the same', async () => {
    word = { ...word, bindings: bindings('', '[test]') };
    const contract = marking();
    expect(await reasonOf(contract, { submission: submit(contract, { principal: bob }) })).toBe(
      'TICKET_INVALID',
    );
  });

  it('by counting approvals that the submitter did not name', async () => {
    const contract = marking();
    const submission = submit(contract, { approvals: ['of-the-boss'] });
    const ticket = { approval_ids: ['of-a-friend'] };
    expect(await reasonOf(contract, { submission, ticket })).toBe('TICKET_INVALID');
  });

  it('and two principals may have used one nonce', async () => {
    word = { ...word, bindings: bindings('', '[test]') };
    const contract = makeContract(bench.workspace, [{ argv: ['true'] }]);
    const nonce = 'a'.repeat(32);
    for (const principal of [alice, bob]) {
      const submission = submit(contract, { principal, nonce });
      const receipt = await bench.gate.receipt(offer(contract, { submission, ticket: { principal } }));
      expect(receipt.status).toBe('success');
    }
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
      { ...word, hosts: hosts(rules) },
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

it('says in one line of its log why it refused an offer', async () => {
  await bench.close();
  const warn = vi.fn();
  await openBench({ required: true }, { ...silentLog, warn });
  await reasonOf(marking(), {});
  const [fields] = warn.mock.calls.find(([, message]) => message === 'an offer was refused') ?? [];
  expect(fields).toEqual({
    executionId: expect.any(String),
    code: 'SUBMISSION_INVALID',
    why: expect.stringContaining('none came'),
  });
});

describe('what has changed while a ticket waits for its start', () => {
  it.each<[string, string, () => OwnersWord]>([
    [
      'hosts.yaml',
      'HOST_CEILING_EXCEEDED',
      () => ({ ...word, hosts: hosts('  - {labels: {tier: deploy}}\n') }),
    ],
    ['the policy', 'POLICY_UNSIGNED', () => ({ ...word, policies: createPolicySet([narrower(), other]) })],
    ['its binding', 'NOT_PERMITTED', () => ({ ...word, bindings: bindings('\n    hosts: {tier: deploy}') })],
  ])('is asked again: %s', async (_what, reason, next) => {
    const contract = marking();
    const begins = new Date(Date.now() + 250);
    const submission = submit(contract, { not_before: toTimestamp(begins) });
    const refused = bench.gate.next('refused', offer(contract, { submission }));
    word = next();
    expect((await refused).reason).toBe(reason);
  });

  const narrower = () => makePolicy(bench.workspace, ['max_timeout_sec: 1']);

  // Two seconds pass on the clock by which a host knows that it has waited.
  it.each<[string, string, () => OwnersWord]>([
    ['runs where nothing has', 'receipt', () => word],
    [
      'is built anew where it would be granted less',
      'refused',
      () => ({ ...word, hosts: hosts('  - {labels: {tier: build}, network: allowlisted}\n') }),
    ],
  ])('what is built, and then held back by the gate, %s', async (_, kind, next) => {
    const contract = makeContract(bench.workspace, [{ argv: ['true'] }]);
    const minted = bench.gate.mint(contract, bench.policy, {
      ...{ submission: submit(contract), ticket: { principal: alice } },
    });
    bench.gate.send({ $case: 'offer', value: { ...minted, number: 1 } });
    await bench.gate.receipt(offer(contract, { submission: submit(contract) }));
    word = next();
    const now = performance.now.bind(performance);
    const clock = vi.spyOn(performance, 'now').mockImplementation(() => now() + 2000);
    bench.gate.send({ $case: 'confirm', value: { number: 1, void: false } });
    if (kind === 'receipt') expect((await bench.gate.receipt(minted.executionId)).status).toBe('success');
    else {
      const refused = await bench.gate.next('refused', minted.executionId);
      expect([refused.reason, refused.receiptJson.length]).toEqual(['SANDBOX_UNAVAILABLE', 0]);
    }
    clock.mockRestore();
  });
});

describe('what ends a run that is under way', () => {
  const [both] = [
    (running: Revocation['running']): Revocation => ({
      ...{ kind: 'principal', id: alice, since: '2026-11-27T12:00:00Z', reason: 'it was lost' },
      running,
    }),
  ];

  it.each<[string, () => OwnersWord]>([
    [
      'a freeze that says so',
      () => ({ ...word, freeze: { since: '2026-11-27T12:00:00Z', reason: 'lost', running: 'end' } }),
    ],
    [
      'the revocation of its key, beside one of its principal that lets it finish',
      () => ({
        ...word,
        revocations: createRevocations([both('finish'), { ...both('end'), kind: 'key', id: 'alice-1' }]),
      }),
    ],
    [
      'the stricter of two revocations of one principal',
      () => ({ ...word, revocations: createRevocations([both('end'), both('finish')]) }),
    ],
  ])('is %s', async (_, next) => {
    const contract = makeContract(bench.workspace, [{ argv: ['sleep', '3'] }]);
    const id = offer(contract, { submission: submit(contract) });
    await bench.gate.next('commandStarted', id);
    bench.executor.reconsider(next());
    expect(await bench.gate.receipt(id)).toMatchObject({ status: 'failed', ended: 'cancelled' });
  });
});

describe('a host that only tries it out', () => {
  it('runs what it would refuse, and tells log, submitter and receipt why', async () => {
    await bench.close();
    const warn = vi.fn();
    await openBench({ required: true, enforce: 'warn' }, { ...silentLog, warn });
    const contract = makeContract(bench.workspace, [{ argv: ['true'] }]);
    const reason = expect.stringMatching(/^SUBMISSION_INVALID: .*csc login/);
    for (const sinceStart of [1, 2]) {
      const id = offer(contract, {});
      const { notes } = await bench.gate.next('accepted', id);
      expect(notes.at(-1)).toContain('will refuse it once it enforces: SUBMISSION_INVALID');
      const receipt = await bench.gate.receipt(id);
      expect(receipt).toMatchObject({ status: 'success', warnings: [reason] });
      const fields = { executionId: id, principal: alice, profile: 'test', reasons: [reason], sinceStart };
      expect(warn).toHaveBeenLastCalledWith(fields, expect.stringContaining('enforce'));
    }
    await bench.gate.receipt(offer(contract, { submission: submit(contract) }));
    expect(warn).toHaveBeenCalledTimes(2);
  });

  it('still runs nothing that is revoked', async () => {
    await bench.close();
    await openBench({ required: true, enforce: 'warn' });
    word = { ...word, revocations: revoked('principal', alice) };
    expect(await reasonOf(marking(), {})).toBe('NOT_PERMITTED');
  });

  it('still runs nothing that a revoked key has signed', async () => {
    await bench.close();
    await openBench({ required: true, enforce: 'warn' });
    word = { ...word, revocations: revoked('key', 'alice-1') };
    const contract = marking();
    expect(await reasonOf(contract, { submission: submit(contract) })).toBe('SUBMISSION_INVALID');
  });
});
