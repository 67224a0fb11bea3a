// A gate that is taken over, with its certificate, its ticket key, its store and its queue, before a host that has its
// owners' word from a policy repository, and a client whose submissions are signed. What it can still do is at the top.
import { execFileSync } from 'node:child_process';
import { cpSync, existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { CommandContract } from '@csc-fleet/common/contract';
import { createSigner, type Signer, toBase64 } from '@csc-fleet/common/crypto';
import { canonicalBytes, sha256Hex, toTimestamp } from '@csc-fleet/common/encoding';
import { orThrow } from '@csc-fleet/common/errors';
import type { TerminalFrame } from '@csc-fleet/common/messages';
import { readPolicyFile } from '@csc-fleet/common/policy';
import {
  addFile,
  createDirectorySource,
  defaultLifetimes,
  publishStaged,
  signStaged,
} from '@csc-fleet/common/policy-repository';
import { parseReceipt, type ReceiptV02 } from '@csc-fleet/common/receipt';
import { parseSubmission, submissionSha256, type UnsignedSubmission } from '@csc-fleet/common/submission';
import { signFrame } from '@csc-fleet/common/terminal';
import type { UnsignedTicket } from '@csc-fleet/common/ticket';
import { beginNewEpoch } from '@csc-fleet/executor/new-epoch';
import { type Fleet, startFleet } from '@csc-fleet/test-kit/fleet';
import { testPolicy } from '@csc-fleet/test-kit/policy';
import { publishUnread, TestRepository } from '@csc-fleet/test-kit/policy-repository';
import { RogueGate } from '@csc-fleet/test-kit/rogue-gate';
import { signSubmission } from '@csc-fleet/test-kit/submission';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const identity = (name: string) => `spiffe://csc.local/client/${name}`;
const alice = { principal: identity('alice'), signer: createSigner(Buffer.alloc(32, 11), 'alice-1') };
const bob = { principal: identity('bob'), signer: createSigner(Buffer.alloc(32, 12), 'bob-1') };
const mallory = createSigner(Buffer.alloc(32, 13), alice.signer.keyId);

const bindings = {
  bindings_version: 'csc.bindings.v0.2',
  bindings: [
    { identity: alice.principal, policies: ['tests', 'typed'] },
    { identity: bob.principal, policies: ['wide'] },
  ],
  submitters: [alice, bob].map(({ principal, signer: { keyId, publicKey } }) => ({
    principal,
    keys: [{ key_id: keyId, public_key: toBase64(publicKey) }],
  })),
};
const revocation = (kind: string, id: string) => ({
  revoked_version: 'csc.revoked.v0.1',
  revoked: [{ kind, id, since: '2026-01-01T00:00:00Z', reason: 'lost' }],
});

let fleet: Fleet;
let owners: TestRepository;
let rogue: RogueGate;
let out: string;
let stateDir: string;
let marks = 0;

const host = (name: string) => ({
  name,
  config: {
    policies: undefined,
    // Nothing is asked for but what the gate says there is.
    policy_repository: { root: '', from: 'gate', refresh_sec: 86_400, max_owners_age_sec: 7 * 86_400 },
    accept_unsigned_approvals: false,
    slots: 8,
  },
});
const [victim, twin] = [host('victim'), host('twin')];

beforeAll(async () => {
  fleet = await startFleet({
    executors: [victim, twin],
    prepare: (directory) => {
      owners = new TestRepository(join(directory, 'owners'));
      owners.publish({
        'policies/tests.yaml': testPolicy(join(directory, 'workspace')),
        'policies/wide.yaml': testPolicy(join(directory, 'workspace'), { name: 'wide', network: 'full' }),
        'policies/typed.yaml': testPolicy(join(directory, 'workspace'), {
          policy_schema_version: 'csc.policy.v0.2',
          name: 'typed',
          terminal: {},
        }),
        'bindings.yaml': bindings,
        'revoked.yaml': { revoked_version: 'csc.revoked.v0.1', revoked: [] },
      });
      writeFileSync(join(directory, 'root.json'), owners.root);
      for (const { config } of [victim, twin]) config.policy_repository.root = join(directory, 'root.json');
    },
  });
  out = fleet.writable('out');
  stateDir = join(fleet.directory, 'executor-victim');
  rogue = await RogueGate.takeOver(fleet);
  for (const name of ['twin', 'victim']) await take(name, 0);
});
afterAll(async () => {
  await rogue[Symbol.asyncDispose]();
  await fleet[Symbol.asyncDispose]();
});

/** What is published now, as a gate keeps it for later. */
function snapshot(name: string): string {
  const copy = join(fleet.directory, 'kept', name);
  cpSync(owners.published(''), copy, { recursive: true });
  return copy;
}

/** Serves a folder as the policy repository, and gives what became of it at the host. */
function serve(directory: string): Promise<string> {
  return serveBy(createDirectorySource(directory).fetch);
}

// It says hello once more, with the policies that it has then.
const takenUp = /published something new[\s\S]*connected to the gate/;

async function serveBy(files: RogueGate['files']): Promise<string> {
  const service = fleet.executor('victim');
  const begun = Promise.withResolvers<number>();
  rogue.files = (path) => {
    // What it asks for first, each time.
    if (path.endsWith('.root.json')) begun.resolve(service.log.length);
    return files(path);
  };
  rogue.send({ $case: 'policyChanged', value: {} });
  const from = await begun.promise;
  const [line] = await service.waitFor(/.*(published something new|could not be refreshed).*/, from);
  return line.includes('something new') ? 'taken' : (/"code":"(\w+)"/.exec(line)?.[1] ?? line);
}

/** Serves what the owners have published now; resolves once it counts at the host. */
async function take(name = 'victim', from = fleet.executor(name).log.length): Promise<void> {
  const service = fleet.executor(name);
  rogue.files = createDirectorySource(owners.published('')).fetch;
  await rogue.isMet(name);
  rogue.speaksTo = name;
  rogue.send({ $case: 'policyChanged', value: {} });
  rogue.speaksTo = 'victim';
  await service.waitFor(takenUp, from);
}

function marking(overrides: Partial<CommandContract> = {}) {
  marks += 1;
  const mark = join(out, `mark-${marks}`);
  const contract = fleet.contract({ argv: ['touch', mark], write_paths: [out] }, overrides);
  return { contract, ran: () => existsSync(mark) };
}

interface Submitting {
  readonly by?: typeof alice;
  readonly signer?: Signer;
  readonly overrides?: Partial<UnsignedSubmission>;
}

function submit(
  contract: CommandContract,
  { by = alice, signer = by.signer, overrides = {} }: Submitting = {},
) {
  return signSubmission(contract, { principal: by.principal, signer, now: new Date(), overrides });
}

const hashOf = (submission: Buffer) => {
  const parsed = parseSubmission(submission);
  return parsed.ok ? submissionSha256(parsed.value) : 'f'.repeat(64);
};

/** A ticket that agrees with the submission in all that the overrides do not say. */
function ticketFor(contract: CommandContract, submission: Buffer, overrides: Partial<UnsignedTicket> = {}) {
  const named = rogue.epochOf(overrides.audience ?? 'victim');
  const epoch = named === undefined ? {} : { executor_epoch: named };
  return rogue.ticket(contract, { submission_sha256: hashOf(submission), ...epoch, ...overrides });
}

async function offer(
  contract: CommandContract,
  submission: Buffer,
  overrides: Partial<UnsignedTicket> = {},
): Promise<{ readonly reason: string; readonly receipt: ReceiptV02 | undefined }> {
  const ticketJson = ticketFor(contract, submission, overrides);
  const { execution_id: executionId } = JSON.parse(ticketJson.toString());
  const answer = await rogue.offerRaw({
    executionId,
    ticketJson,
    contractJson: Buffer.from(JSON.stringify(contract)),
    approvalsJson: [],
    submissionJson: submission,
  });
  const outcome = answer.$case === 'accepted' ? await rogue.receiptFor(ticketJson) : answer;
  if (outcome.$case !== 'receipt' && outcome.$case !== 'refused') throw new Error(outcome.$case);
  const reason = outcome.$case === 'refused' ? outcome.value.reason : 'ran';
  const { receiptJson } = outcome.value;
  return { reason, receipt: receiptJson.length === 0 ? undefined : toReceipt(receiptJson) };
}

function toReceipt(receiptJson: Buffer): ReceiptV02 {
  const receipt = orThrow(parseReceipt(receiptJson), 'RECEIPT_INVALID', 'the receipt');
  if (receipt.receipt_version !== 'csc.receipt.v0.2') throw new Error(receipt.receipt_version);
  return receipt;
}

const none = Buffer.alloc(0);

describe('a gate with its real key can', () => {
  it('bring to a host what a submitter asked for, whose receipt says so', async () => {
    const { contract, ran } = marking();
    const submission = submit(contract);
    const { reason, receipt } = await offer(contract, submission);
    expect([reason, ran()]).toEqual(['ran', true]);
    expect(receipt).toMatchObject({
      principal: alice.principal,
      submission_sha256: hashOf(submission),
      policy_version: 1,
    });
  });
});

describe('a gate with its real key cannot have run', () => {
  it.each<[string, string, (contract: CommandContract) => Parameters<typeof offer>]>([
    ['what nobody asked for', 'SUBMISSION_INVALID', (contract) => [contract, none]],
    [
      'what it says that somebody asked for',
      'SUBMISSION_INVALID',
      (contract) => [contract, submit(contract, { signer: mallory })],
    ],
    [
      'it for a principal whom it made up',
      'SUBMISSION_INVALID',
      (contract) => [
        contract,
        submit(contract, { by: { principal: identity('root'), signer: mallory } }),
        { principal: identity('root') },
      ],
    ],
    [
      'a contract of its own behind a submission',
      'CONTRACT_HASH_MISMATCH',
      (contract) => [contract, submit(fleet.contract({}))],
    ],
    [
      'it for another principal than asked',
      'TICKET_INVALID',
      (contract) => [contract, submit(contract), { principal: bob.principal }],
    ],
    [
      'it under a policy that nobody bound to who asked',
      'NOT_PERMITTED',
      (contract) => [contract, submit(contract, { overrides: { policy_profile: 'wide' } }), wide()],
    ],
    [
      'it under another policy than was asked for',
      'TICKET_INVALID',
      (contract) => [contract, submit(contract, { overrides: { policy_profile: 'tests' } }), wide()],
    ],
    [
      'it by another submission than the ticket names',
      'TICKET_INVALID',
      (contract) => [contract, submit(contract), { submission_sha256: 'f'.repeat(64) }],
    ],
    [
      'it under a ticket that names no epoch of it',
      'TICKET_INVALID',
      (contract) => [contract, submit(contract), { executor_epoch: 'f'.repeat(32) }],
    ],
    [
      'what was asked of another host',
      'WRONG_AUDIENCE',
      (contract) => [contract, submit(contract, audience({ executor_id: 'twin' }))],
    ],
    [
      'what was asked of hosts with other labels',
      'WRONG_AUDIENCE',
      (contract) => [contract, submit(contract, audience({ selector: { tier: 'deploy' } }))],
    ],
    [
      'what was asked of another fleet',
      'WRONG_AUDIENCE',
      (contract) => [contract, submit(contract, audience({ trust_domain: 'other.example' }))],
    ],
    [
      'what was asked yesterday',
      'SUBMISSION_EXPIRED',
      (contract) => [contract, submitAt(contract, -23.5 * 3600, -3600)],
    ],
    [
      'what is to be asked tomorrow',
      'SUBMISSION_INVALID',
      (contract) => [contract, submitAt(contract, 3600, 7200)],
    ],
  ])('%s', async (_what, reason, make) => {
    const { contract, ran } = marking();
    expect((await offer(...make(contract))).reason).toBe(reason);
    expect(ran()).toBe(false);
  });

  it('one submission twice, whatever the ticket, nor after the host was killed', async () => {
    const { contract } = marking();
    const submission = submit(contract);
    expect((await offer(contract, submission)).reason).toBe('ran');
    expect((await offer(contract, submission)).reason).toBe('SUBMISSION_REPLAYED');
    await restart();
    expect((await offer(contract, submission)).reason).toBe('SUBMISSION_REPLAYED');
  });
});

const wide = (): Partial<UnsignedTicket> => under('wide');

function under(profile: string): Partial<UnsignedTicket> {
  const path = join(owners.directory, `targets/policies/${profile}.yaml`);
  return { policy_profile: profile, policy_sha256: readPolicyFile(path).sha256 };
}

function audience(more: object): Submitting {
  return { overrides: { audience: { trust_domain: 'csc.local', selector: {}, ...more } } };
}

function submitAt(contract: CommandContract, fromSec: number, untilSec: number): Buffer {
  const at = (seconds: number) => new Date(Date.now() + seconds * 1000);
  const overrides = { not_before: toTimestamp(at(fromSec)), expires_at: toTimestamp(at(untilSec)) };
  return signSubmission(contract, { ...alice, now: at(fromSec), overrides });
}

async function restart(change: () => void = () => undefined): Promise<void> {
  await fleet.executor('victim').stop('SIGKILL');
  change();
  await fleet.startExecutor(victim);
}

/** That what alice asks for runs, or why it does not. */
async function aliceGets(): Promise<string> {
  const { contract } = marking();
  return (await offer(contract, submit(contract))).reason;
}

describe('a gate with its real key cannot have two outcomes of one submission', () => {
  it.each<[string, (contract: CommandContract) => Partial<UnsignedTicket>]>([
    ['by a policy that is not bound', () => wide()],
    ['by a ticket that does not agree with it', () => ({ principal: bob.principal })],
  ])('having it refused %s, and run', async (_what, how) => {
    const { contract, ran } = marking();
    const submission = submit(contract);
    const refused = await offer(contract, submission, how(contract));
    expect(refused.receipt).toMatchObject({ status: 'blocked', submission_sha256: hashOf(submission) });
    expect(await offer(contract, submission)).toEqual({ reason: 'SUBMISSION_REPLAYED', receipt: undefined });
    expect(ran()).toBe(false);
  });

  it('having it refused for a policy that the host does not hold, which nobody signs, and run', async () => {
    const { contract, ran } = marking();
    const submission = submit(contract);
    const refused = await offer(contract, submission, { policy_sha256: 'a'.repeat(64) });
    expect(refused).toEqual({ reason: 'POLICY_UNSIGNED', receipt: undefined });
    expect(ran()).toBe(false);
    expect((await offer(contract, submission)).receipt).toMatchObject({ status: 'success' });
    expect((await offer(contract, submission)).reason).toBe('SUBMISSION_REPLAYED');
  });

  it('but on two hosts, where both receipts name it', async () => {
    const { contract } = marking();
    const submission = submit(contract);
    const here = await offer(contract, submission);
    rogue.speaksTo = 'twin';
    const there = await offer(contract, submission, { audience: 'twin' });
    rogue.speaksTo = 'victim';
    expect([here.reason, there.reason]).toEqual(['ran', 'ran']);
    expect(here.receipt?.submission_sha256).toBe(there.receipt?.submission_sha256);
  });
});

describe('a gate with its real key cannot leave a refusal or a run out of what a host has signed', () => {
  it('as each names the one before it', async () => {
    const chain: ReceiptV02[] = [];
    for (const profile of [{}, wide(), {}]) {
      const { contract } = marking();
      const { receipt } = await offer(contract, submit(contract), profile);
      if (receipt !== undefined) chain.push(receipt);
    }
    const [first = 0] = chain.map(({ sequence = 0 }) => sequence);
    expect(chain.map(({ sequence }) => sequence)).toEqual([first, first + 1, first + 2]);
    expect(chain.slice(1).map((it) => it.previous_receipt_sha256)).toEqual(
      chain.slice(0, 2).map((it) => sha256Hex(canonicalBytes(it))),
    );
  });
});

describe('a gate with its real key cannot have counted in the place of the owners’ word', () => {
  const withMallory = JSON.stringify({
    ...bindings,
    submitters: [
      {
        principal: alice.principal,
        keys: [{ key_id: mallory.keyId, public_key: toBase64(mallory.publicKey) }],
      },
    ],
  });
  const deep = `{"signed":${'['.repeat(100_000)}${']'.repeat(100_000)},"signatures":[]}`;

  /** What is published, with one file changed. */
  const changed = (name: RegExp, content: string | Buffer | undefined) => {
    const { fetch } = createDirectorySource(owners.published(''));
    const bytes = content === undefined ? undefined : Buffer.from(content);
    return (path: string) => (name.test(path) ? bytes : fetch(path));
  };

  it.each<[string, string, () => RogueGate['files']]>([
    ['a repository of its own', 'POLICY_UNSIGNED', () => createDirectorySource(ownRepository()).fetch],
    ['bindings of its own', 'POLICY_UNSIGNED', () => changed(/bindings\.yaml$/, withMallory)],
    [
      'targets that are signed with its ticket key',
      'POLICY_UNSIGNED',
      () => changed(/targets\.json$/, resigned()),
    ],
    ['targets without their signature', 'POLICY_UNSIGNED', () => changed(/targets\.json$/, unsigned())],
    ['a root that it signed itself', 'POLICY_UNSIGNED', () => changed(/2\.root\.json$/, ownRoot())],
    ['a repository with a file missing', 'POLICY_UNSIGNED', () => changed(/revoked\.yaml$/, undefined)],
    ['nothing', 'REPOSITORY_UNREACHABLE', () => () => undefined],
    ['JSON that is no end of brackets', 'POLICY_UNSIGNED', () => changed(/timestamp\.json$/, deep)],
    [
      'a file beyond all measure',
      'POLICY_UNSIGNED',
      () => changed(/timestamp\.json$/, Buffer.alloc(8 << 20)),
    ],
    [
      'a file that no message may hold',
      'MESSAGE_TOO_LARGE',
      () => changed(/timestamp\.json$/, Buffer.alloc(10 << 20)),
    ],
  ])('%s', async (_what, code, make) => {
    owners.publish({ 'revoked.yaml': revocation('principal', identity('nobody')) });
    expect(await serveBy(make())).toBe(code);
    const { contract, ran } = marking();
    const made = submit(contract, { signer: mallory });
    expect((await offer(contract, made)).reason).toBe('SUBMISSION_INVALID');
    expect(ran()).toBe(false);
  });

  const ownRepository = () => {
    const own = new TestRepository(join(fleet.directory, crypto.randomUUID()), { seed: 77 });
    own.publish({
      'policies/tests.yaml': testPolicy(fleet.workspace),
      'policies/wide.yaml': testPolicy(fleet.workspace, { name: 'wide' }),
      'policies/typed.yaml': testPolicy(fleet.workspace, { name: 'typed' }),
      'bindings.yaml': withMallory,
    });
    return own.published('');
  };
  const newestTargets = () =>
    JSON.parse(readFileSync(owners.published(`metadata/${owners.publish()}.targets.json`), 'utf8'));
  const unsigned = () => JSON.stringify({ ...newestTargets(), signatures: [] });
  const resigned = () => {
    const targets = newestTargets();
    const sig = Buffer.from(rogue.signer.sign(canonicalBytes(targets.signed))).toString('hex');
    return JSON.stringify({ ...targets, signatures: [{ ...targets.signatures[0], sig }] });
  };
  const ownRoot = () => readFileSync(join(ownRepository(), 'metadata/1.root.json'));

  it('what they said before, once it has heard the next: replayed, or mixed with it', async () => {
    const before = snapshot('before');
    owners.publish({ 'revoked.yaml': revocation('key', alice.signer.keyId) });
    await take();
    expect(await aliceGets()).toBe('SUBMISSION_INVALID');
    expect(await serve(before)).toBe('POLICY_UNSIGNED');
    // Something newer, which the host has not heard: what it has, it asks for no more.
    owners.publish({ 'revoked.yaml': revocation('principal', identity('nobody')) });
    const now = createDirectorySource(owners.published('')).fetch;
    const then = createDirectorySource(before).fetch;
    const mixed = (part: RegExp) => (path: string) => (part.test(path) ? now : then)(path);
    expect(await serveBy(mixed(/timestamp/))).not.toBe('taken');
    expect(await serveBy(mixed(/timestamp|snapshot/))).not.toBe('taken');
    expect(await aliceGets()).toBe('SUBMISSION_INVALID');
    await restart();
    expect(await aliceGets()).toBe('SUBMISSION_INVALID');
    await take();
    expect(await aliceGets()).toBe('ran');
  });

  it('an old word that it keeps the host on, for longer than the owner of the host lets it', async () => {
    publishAt({ signed: -25 * hour, vouched: -25 * hour });
    // It is good for two days, and however late a gate hands it over, it is of yesterday.
    await take();
    expect(await aliceGets()).toBe('POLICY_STALE');
    // What has expired makes it no younger.
    publishStaged(owners.directory, owners.online, new Date(Date.now() - 25 * hour));
    expect(await serve(owners.published(''))).toBe('POLICY_STALE');
    expect(await aliceGets()).toBe('POLICY_STALE');
    await takeAnew();
  });

  it('an old word by signing for ever that there is nothing newer, where it has the online key', async () => {
    publishAt({ signed: -8 * 24 * hour, vouched: 0 });
    await take();
    expect(await aliceGets()).toBe('POLICY_STALE');
    // Nor is the date of anything that it signs ahead.
    publishAt({ signed: 0, vouched: hour });
    await take();
    expect(await aliceGets()).toBe('POLICY_STALE');
    await takeAnew();
  });

  const hour = 3_600_000;
  /** Something new that the owners have signed, and the holder of the online key, at these times from now. */
  function publishAt({ signed, vouched }: { readonly signed: number; readonly vouched: number }): void {
    const at = (ms: number) => new Date(Date.now() + ms);
    const lifetimes = { ...defaultLifetimes, online: 48 * hour };
    const { directory, owner, online } = owners;
    const revoked = revocation('principal', identity(`nobody-${crypto.randomUUID()}`));
    addFile(directory, 'revoked.yaml', Buffer.from(JSON.stringify(revoked)));
    signStaged(directory, owner, at(signed), lifetimes);
    publishStaged(directory, online, at(vouched), lifetimes);
  }

  async function takeAnew(): Promise<void> {
    publishAt({ signed: 0, vouched: 0 });
    await take();
    expect(await aliceGets()).toBe('ran');
  }

  it('anything at all while it answers no question, or says a thousand times that there is news', async () => {
    const asked: string[] = [];
    const { promise, resolve } = Promise.withResolvers<undefined>();
    rogue.files = (path) => {
      asked.push(path);
      return promise;
    };
    for (let count = 0; count < 1000; count += 1) rogue.send({ $case: 'policyChanged', value: {} });
    expect(await aliceGets()).toBe('ran');
    resolve(undefined);
    expect(asked.length).toBeLessThan(10);
  });

  it('anything for a person whom the owners have revoked, by whatever key of theirs, until they say otherwise', async () => {
    owners.publish({ 'revoked.yaml': revocation('principal', alice.principal) });
    await take();
    const { contract, ran } = marking();
    const refused = await offer(contract, submit(contract));
    expect([refused.reason, refused.receipt?.status]).toEqual(['NOT_PERMITTED', 'blocked']);
    expect(refused.receipt?.error).toContain(
      `have revoked the principal ${alice.principal} since 2026-01-01`,
    );
    expect(ran()).toBe(false);
    // Also from what it has on its disk.
    await restart();
    expect(await aliceGets()).toBe('NOT_PERMITTED');
    await takeAnew();
  });

  it('anything for a person whom they have revoked by publishing, or passing on, revocations that the host cannot read', async () => {
    owners.publish({ 'revoked.yaml': revocation('principal', alice.principal) });
    await take();
    // As a later release writes them: the host keeps what it has, whole, and says so.
    for (const unread of ['revoked_version: csc.revoked.v9\nrevoked: []\n', 'revoked: [']) {
      publishUnread(owners.directory, owners, 'revoked.yaml', unread);
      expect(await serve(owners.published(''))).toBe('POLICY_INVALID');
      expect(await aliceGets()).toBe('NOT_PERMITTED');
    }
    await restart();
    expect(await aliceGets()).toBe('NOT_PERMITTED');
    // One that has lost what it knew runs nothing at all by it.
    rogue.files = createDirectorySource(owners.published('')).fetch;
    await restart(() => rmSync(stateDir, { recursive: true }));
    expect(await aliceGets()).toBe('POLICY_STALE');
    owners.publish({ 'revoked.yaml': revocation('principal', identity('nobody')) });
    await take();
    expect(await aliceGets()).toBe('ran');
  });

  it('a submission that the owners have revoked, under whatever execution id, nor as signed again for one host', async () => {
    const { contract, ran } = marking();
    const submission = submit(contract);
    owners.publish({ 'revoked.yaml': revocation('submission', hashOf(submission)) });
    await take();
    expect((await offer(contract, submission)).reason).toBe('NOT_PERMITTED');
    const nonce = 'abcdef0123456789'.repeat(2);
    owners.publish({ 'revoked.yaml': revocation('submission', nonce) });
    await take();
    const audience = { trust_domain: 'csc.local', selector: {}, executor_id: 'victim' };
    const bound = submit(contract, { overrides: { nonce, audience } });
    expect((await offer(contract, bound)).reason).toBe('NOT_PERMITTED');
    expect(ran()).toBe(false);
  });
});

describe('a gate with its real key cannot use it that a host has lost its state', () => {
  it('to have run again what was submitted before, or anything before the owners are heard', async () => {
    const { contract } = marking();
    const submission = submit(contract);
    expect((await offer(contract, submission)).reason).toBe('ran');
    rogue.files = () => undefined;
    await restart(() => rmSync(stateDir, { recursive: true }));
    expect(await aliceGets()).toBe('POLICY_STALE');
    await take();
    expect((await offer(contract, submission)).reason).toBe('SUBMISSION_REPLAYED');
    expect(await aliceGets()).toBe('ran');
  });

  it('to have run again what a restored disk has forgotten, once its owner has begun a new epoch', async () => {
    const { contract } = marking();
    const submission = submit(contract);
    const copy = join(fleet.directory, 'copy-of-the-disk');
    const copyDisk = (from: string, to: string) => execFileSync('cp', ['-a', from, to]);
    await restart(() => copyDisk(stateDir, copy));
    expect((await offer(contract, submission)).reason).toBe('ran');
    await expect(beginNewEpoch(stateDir)).rejects.toMatchObject({ code: 'CONFIG_INVALID' });
    await fleet.executor('victim').stop('SIGKILL');
    rmSync(stateDir, { recursive: true });
    copyDisk(copy, stateDir);
    await beginNewEpoch(stateDir);
    await fleet.startExecutor(victim);
    expect((await offer(contract, submission)).reason).toBe('SUBMISSION_REPLAYED');
    expect(await aliceGets()).toBe('ran');
  });

  it('as nothing runs before its submission begins, which a later journal is younger than', async () => {
    const { contract } = marking();
    const soon = new Date(Date.now() + 400);
    const submission = submit(contract, { overrides: { not_before: toTimestamp(soon) } });
    const { receipt } = await offer(contract, submission);
    expect(new Date(receipt?.ended_at ?? 0).getTime()).toBeGreaterThanOrEqual(soon.getTime());
  });
});

describe('a gate with its real key cannot use a terminal', () => {
  const keyboard = createSigner(Buffer.alloc(32, 21), 'keyboard');
  const own = createSigner(Buffer.alloc(32, 22), 'of the gate');
  const wish = { columns: 80, rows: 24, type: 'xterm', input_key: toBase64(keyboard.publicKey) };
  const limits = { stdout_bytes: 1 << 20, stderr_bytes: 1 << 20 };
  const grant = { receipt_version: 'csc.receipt.v0.2', limits } as const;
  const asked = (contract: CommandContract, profile = 'typed') =>
    submit(contract, { overrides: { policy_profile: profile, options: { terminal: wish } } });
  const unasked = (contract: CommandContract) => submit(contract, { overrides: { policy_profile: 'typed' } });
  /** A ticket under the profile that grants terminals, with this one. */
  const granting = (terminal = wish, profile = 'typed') => ({
    ...under(profile),
    grant: { ...grant, terminal },
  });

  it.each<[string, string, (contract: CommandContract) => Parameters<typeof offer>]>([
    ['that nobody asked for', 'TICKET_INVALID', (it) => [it, unasked(it), granting()]],
    ['by taking it away', 'TICKET_INVALID', (it) => [it, asked(it), { ...under('typed'), grant }]],
    [
      'whose input key is its own',
      'TICKET_INVALID',
      (it) => [it, asked(it), granting({ ...wish, input_key: toBase64(own.publicKey) })],
    ],
    [
      'of another size than was asked for',
      'TICKET_INVALID',
      (it) => [it, asked(it), granting({ ...wish, columns: 500 })],
    ],
    ['that nobody has signed for', 'SUBMISSION_INVALID', (it) => [it, none, granting()]],
    [
      'for a submission that it signed itself',
      'SUBMISSION_INVALID',
      (it) => [
        it,
        submit(it, {
          signer: mallory,
          overrides: { policy_profile: 'typed', options: { terminal: wish } },
        }),
        granting(),
      ],
    ],
    [
      'under a policy that grants none',
      'NOT_PERMITTED',
      (it) => [it, asked(it, 'tests'), granting(wish, 'tests')],
    ],
  ])('%s', async (_what, reason, make) => {
    const { contract, ran } = marking();
    expect((await offer(...make(contract))).reason).toBe(reason);
    expect(ran()).toBe(false);
  });

  const typing = (run: string, sequence: number, text: string, signer = keyboard): TerminalFrame =>
    signFrame({ sequence, kind: { $case: 'input', value: Buffer.from(text) } }, run, (it) => signer.sign(it));

  /** A command of alice's that keeps what is typed, line by line. */
  async function typed() {
    marks += 1;
    const file = join(out, `typed-${marks}`);
    const contract = fleet.contract({ argv: ['tee', file], write_paths: [out] });
    const submission = asked(contract);
    const ticketJson = ticketFor(contract, submission, granting());
    const { execution_id: executionId } = JSON.parse(ticketJson.toString());
    const { nonce: run } = orThrow(parseSubmission(submission), 'SUBMISSION_INVALID', 'it');
    const answer = await rogue.offerRaw({
      executionId,
      ticketJson,
      approvalsJson: [],
      submissionJson: submission,
      contractJson: Buffer.from(JSON.stringify(contract)),
    });
    expect(answer.$case).toBe('accepted');
    await rogue.runs(executionId);
    return {
      run,
      executionId,
      /** Resolves once it has kept this. */
      keeps: (text: string) => expect.poll(() => readFileSync(file, 'utf8')).toBe(text),
      type: (...frames: TerminalFrame[]) => rogue.type(executionId, frames),
      /** What was kept, once it has ended. */
      ended: async () => {
        const outcome = await rogue.receiptFor(ticketJson);
        if (outcome.$case !== 'receipt') throw new Error(outcome.$case);
        return { receipt: toReceipt(outcome.value.receiptJson), lines: readFileSync(file, 'utf8') };
      },
    };
  }

  it('to type: what it makes up, changes, or has from another run', async () => {
    const [here, there] = [await typed(), await typed()];
    const note = /not signed with the key of this run/;
    const other = typing(there.run, 1, 'pay\r');
    const changed = { ...typing(here.run, 1, 'ls\r'), kind: other.kind };
    const forged = [
      typing(here.run, 1, 'evil\r', own),
      typing(here.run, 1, 'evil\r', rogue.signer),
      typing(here.run, 1, 'evil\r', alice.signer),
      { ...other, signature: Buffer.alloc(64) },
      { ...typing(here.run, 2, 'ls\r'), sequence: 1 },
      changed,
      other,
    ];
    for (const it of forged) expect((await here.type(it)).ended).toMatch(note);
    // And alice types on, there as here.
    expect(await there.type(other, typing(there.run, 2, '\x04'))).toMatchObject({ sequence: 2 });
    expect(await here.type(typing(here.run, 1, 'mine\r'), typing(here.run, 2, '\x04'))).toMatchObject({
      sequence: 2,
    });
    expect(await there.ended()).toMatchObject({ lines: 'pay\n', receipt: { status: 'success' } });
    expect(await here.ended()).toMatchObject({ lines: 'mine\n', receipt: { status: 'success' } });
  });

  it('to type once more what alice has typed, or in another order, or without its middle', async () => {
    const { run, executionId, type, keeps, ended } = await typed();
    const [first, second, third] = [
      typing(run, 1, 'rm -rf ./build\r'),
      typing(run, 2, 'cd '),
      typing(run, 4, '/\r'),
    ];
    for (let count = 0; count < 3; count += 1) await type(first);
    await type(second, first, second);
    expect((await type(third)).ended).toMatch(/frame 3 is missing/);
    expect((await type(typing(run, 3, 'tmp\r'), third)).ended).toMatch(/frame 3 is missing/);
    await keeps('rm -rf ./build\n');
    rogue.send({ $case: 'cancel', value: { executionId, gracePeriod: undefined } });
    expect(await ended()).toMatchObject({ lines: 'rm -rf ./build\n', receipt: { ended: 'cancelled' } });
    expect((await type(typing(run, 3, 'tmp\r'))).ended).toMatch(/no terminal here/);
  });
});
