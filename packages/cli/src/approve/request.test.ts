import type { CommandContract } from '@csc-fleet/common/contract';
import { contractSha256, parseContract } from '@csc-fleet/common/contract';
import { createSigner, toBase64 } from '@csc-fleet/common/crypto';
import { evaluate } from '@csc-fleet/common/decision';
import { canonicalBytes, parseStrictJson } from '@csc-fleet/common/encoding';
import { orThrow } from '@csc-fleet/common/errors';
import { ApprovalsGetResponse, ExecutionState } from '@csc-fleet/common/messages';
import { policyFromJson } from '@csc-fleet/common/policy';
import { type OwnersFiles, readOwnersFiles } from '@csc-fleet/common/policy-repository';
import { parseSubmission } from '@csc-fleet/common/submission';
import { type CommandShort, makeContract, toBytes } from '@csc-fleet/test-kit/contract';
import { testPolicy } from '@csc-fleet/test-kit/policy';
import { approveSigned, person } from '@csc-fleet/test-kit/signed-approval';
import { signSubmission } from '@csc-fleet/test-kit/submission';
import { describe, expect, it } from 'vitest';
import { describeRequest } from './describe.ts';
import { diffLines } from './diff.ts';
import { findDangers, readRequest } from './request.ts';

const now = new Date('2026-11-28T12:00:00Z');
const alice = 'spiffe://csc.local/client/alice';
const key = createSigner(Buffer.alloc(32, 7), 'alice-1');
const executionId = '3f2a91c0-0000-4000-8000-000000000000';

const policyText = (overrides: Record<string, unknown> = {}): string =>
  testPolicy('/w', { manual_approval_for_classified_effect_types: ['observe'], ...overrides });

function ask(short: CommandShort = {}, overrides: Partial<CommandContract> = {}): CommandContract {
  return makeContract('/w', [{ proposed_effect_type: 'observe', ...short }], overrides);
}

interface Told {
  readonly contract: CommandContract;
  /** As the gate shows it. */
  readonly shown?: CommandContract;
  readonly policy?: string;
  readonly signedBy?: typeof key;
  readonly last?: CommandContract;
  readonly hidesFindings?: boolean;
}

/** What a gate tells of one execution. */
function tell({
  contract,
  shown = contract,
  policy = policyText(),
  signedBy,
  last,
  hidesFindings,
}: Told): ApprovalsGetResponse {
  const execution = {
    executionId,
    state: ExecutionState.AWAITING_APPROVAL,
    contractSha256: contractSha256(contract),
    policyProfile: 'tests',
    principal: alice,
    submittedAt: new Date(now.getTime() - 90_000),
  };
  const submission =
    signedBy === undefined
      ? Buffer.alloc(0)
      : signSubmission(contract, { principal: alice, signer: signedBy, now });
  const document = orThrow(parseStrictJson(Buffer.from(policy), { maxBytes: 100_000 }), 'POLICY_INVALID', '');
  const { findings } = evaluate(shown, orThrow(policyFromJson(document), 'POLICY_INVALID', ''));
  return ApprovalsGetResponse.fromPartial({
    decision: { findings: hidesFindings === true ? [] : [...findings] },
    pending: {
      execution,
      quorum: [{ group: 'sre', count: 2, approvedBy: ['spiffe://csc.local/client/bob'] }],
    },
    contractJson: toBytes(shown),
    submissionJson: submission,
    policyJson: canonicalBytes(JSON.parse(policy)),
    trustDomain: 'csc.local',
    lastApprovedContractJson: last === undefined ? Buffer.alloc(0) : toBytes(last),
    lastApprovedExecutionId: last === undefined ? '' : 'the-last',
  });
}

const bob = person('bob', 3);

function owners(policy = policyText()): OwnersFiles {
  const bindings = {
    bindings_version: 'csc.bindings.v0.2',
    bindings: [{ identity: alice, policies: ['tests'] }],
    submitters: [{ principal: alice, keys: [{ key_id: key.keyId, public_key: toBase64(key.publicKey) }] }],
  };
  const keys = [{ key_id: bob.key.keyId, public_key: toBase64(bob.key.publicKey) }];
  const approvers = {
    approvers_version: 'csc.approvers.v0.1',
    approvers: [{ identity: bob.identity, keys }],
    groups: [{ name: 'sre', members: [bob.identity] }],
  };
  return readOwnersFiles(
    new Map([
      ['policies/tests.yaml', Buffer.from(policy)],
      ['bindings.yaml', Buffer.from(JSON.stringify(bindings))],
      ['approvers.yaml', Buffer.from(JSON.stringify(approvers))],
    ]),
  );
}

const plain = (_: unknown, text: string): string => text;

function show(told: Told, own?: OwnersFiles, columns = 80): string {
  return describeRequest(readRequest(tell(told), executionId, own, now), { paint: plain, columns, now });
}

describe('what an approver is shown', () => {
  it('is the contract in full, what the policy finds, who asks and who has agreed, in 80 columns', () => {
    const contract = ask({ argv: ['git', 'push', 'a b'], read_paths: ['/w/in'], env_allow: ['HOME'] });
    const text = show({ contract, signedBy: key }, owners());
    for (const part of [
      `sha256     ${contractSha256(contract)}`,
      'git push "a b"',
      'reads      /w/in',
      'variables  HOME',
      'at most    30 s',
      'unchecked:\n  intent     a test',
      'NEEDS APPROVAL',
      `${alice}, by a signature of a key that`,
      '1 of 2 of sre: spiffe://csc.local/client/bob',
      'as in the owners’ files here',
      'csc.local, as its submitter has signed',
    ])
      expect(text).toContain(part);
    const unverified = show({ contract, signedBy: key }).replaceAll(/\n\s+/g, ' ');
    expect(unverified).toContain(`${alice}, as the gate says: by a signature that is not verified here`);
    expect(show({ contract }).replaceAll(/\n\s+/g, ' ')).toContain(
      `${alice}, as the gate says: nobody has signed it`,
    );
    for (const only of [unverified, show({ contract })])
      expect(only).toContain('csc.local, as the gate says');
    expect(unverified).toContain('who are wanted, as the gate says');
    expect(text).not.toContain('DOUBT');
    for (const line of text.split('\n')) expect(line.length, line).toBeLessThanOrEqual(80);
  });

  it('a contract cannot move, hide or imitate anything: bidi, zero width, odd spaces, tags, marks, escapes, look-alikes', () => {
    const tag = String.fromCodePoint(0xe0041);
    const hostile = `x\u001b[2J\u202e\u200b\u00a0${tag}e\u0301\u2028\u0007`;
    const contract = ask(
      { argv: ['echo', hostile, 'p\u0430ypal'], id: `main${hostile}` },
      {
        intent: `good\n  network    deny${hostile}`,
        justification: `${'y'.repeat(200)}\r\nCommand`,
        contract_id: `c${hostile}`,
      },
    );
    const text = show({ contract });
    const seen = 'x\\u001b[2J\\u202e\\u200b\\u00a0\\u{e0041}e\\u0301\\u2028\\u0007';
    expect(text.replaceAll(/\s/g, '')).toContain(seen);
    expect(text.replaceAll(/\n\s+/g, '')).toContain('"p\u0430ypal" (exactly "p\\u0430ypal")');
    expect(text.replaceAll('\n', '')).not.toMatch(/[\p{Cc}\p{Cf}\p{M}\u00a0\u2028]/u);
    expect(text.split('\n').filter((line) => line.startsWith('  network '))).toEqual(['  network    deny']);
    expect(text.split('\n').filter((line) => line.startsWith('Command'))).toHaveLength(1);
  });

  it('a gate that shows another contract than is approved is refused, and one that shows another submission', () => {
    const [contract, shown] = [ask(), ask({ argv: ['echo', 'harmless'] })];
    expect(() => show({ contract, shown })).toThrow(/the gate shows a contract of sha256/);
    const answer = tell({ contract, signedBy: key });
    const other = { ...answer, submissionJson: tell({ contract: shown, signedBy: key }).submissionJson };
    expect(() => readRequest(other, executionId, undefined, now)).toThrow(/of another contract/);
    expect(() => readRequest(answer, 'aaaa', undefined, now)).toThrow(/another execution/);
    const borrowed = { ...answer, pending: ApprovalsGetResponse.fromPartial(answer).pending };
    if (borrowed.pending?.execution !== undefined)
      borrowed.pending = {
        ...borrowed.pending,
        execution: { ...borrowed.pending.execution, principal: 'spiffe://csc.local/client/bob' },
      };
    expect(() => readRequest(borrowed, executionId, undefined, now)).toThrow(
      /client\/bob asks, and .*alice signed/,
    );
  });

  it('a submission that the owners’ key has not signed is refused where the owners’ files are here', () => {
    const forger = createSigner(Buffer.alloc(32, 9), key.keyId);
    expect(() => show({ contract: ask(), signedBy: forger }, owners())).toThrow(
      /not signed with a key that bindings/,
    );
    expect(show({ contract: ask(), signedBy: forger })).toContain(
      'DOUBT whose key signed the submission is not',
    );
    expect(show({ contract: ask() }, owners())).toContain('DOUBT nobody has signed the submission');
  });

  it('somebody’s agreement to something else is no agreement to this, however good its signature is', async () => {
    const contract = ask();
    const own = owners();
    const answer = tell({ contract, signedBy: key });
    const agreed = async (of: ApprovalsGetResponse, over: Parameters<typeof approveSigned>[3] = {}) => {
      const policy = own.policies.byName('tests');
      if (policy === undefined) throw new Error('no policy');
      const submission = orThrow(parseSubmission(of.submissionJson), 'SUBMISSION_INVALID', '');
      const shown = orThrow(parseContract(of.contractJson), 'CONTRACT_INVALID', '');
      const subject = { contract: shown, policy, principal: alice, submission, now };
      const approvalsJson = [await approveSigned(subject, bob, 'sre', over)];
      const request = readRequest({ ...answer, approvalsJson }, executionId, own, now);
      return describeRequest(request, { paint: plain, columns: 200, now });
    };
    expect(await agreed(answer)).toContain(
      'agreed     spiffe://csc.local/client/bob for sre, 0.0 s ago (signature verified)',
    );
    const other = tell({ contract: ask({ argv: ['echo', 'harmless'] }), signedBy: key });
    for (const text of [
      await agreed(other),
      await agreed(tell({ contract, signedBy: key })),
      await agreed(answer, { policy_sha256: 'a'.repeat(64) }),
      await agreed(answer, { approved_at: '2026-11-27T12:00:00Z', expires_at: '2026-11-27T13:00:00Z' }),
    ]) {
      expect(text).toContain('(NOT TO THIS, OR NOT THEIRS: DOES NOT COUNT)');
      expect(text).not.toContain('signature verified');
    }
  });

  it('a CI job’s submission is shown with the owners’ files too: its token is not here', () => {
    const contract = ask();
    const overrides = { token_sha256: 'a'.repeat(64) };
    const submissionJson = signSubmission(contract, { principal: alice, signer: key, now, overrides });
    const request = readRequest({ ...tell({ contract }), submissionJson }, executionId, owners(), now);
    expect(request).toMatchObject({
      principalBy: 'unverified',
      doubts: [expect.stringContaining('a CI job asks')],
    });
  });

  it('a gate that keeps findings to itself, or shows a milder policy, is found out', () => {
    const contract = ask();
    const text = show({ contract, hidesFindings: true });
    expect(text).toMatch(/NEEDS APPROVAL[\s\S]*DOUBT the gate keeps \d of the findings below to itself/);
    const milder = policyText({ manual_approval_for_classified_effect_types: [] });
    expect(show({ contract, policy: milder, signedBy: key }, owners()).replaceAll(/\n\s+/g, ' ')).toMatch(
      /DOUBT the policy "tests" is another one than that of the owners’ files[\s\S]*no matter of approval: allow/,
    );
    const denied = ask({ argv: ['rm', '-rf', '/'] });
    expect(show({ contract: denied })).toContain('no matter of approval: deny');
  });

  it('names what is dangerous, for which it is asked twice', () => {
    const dangers = (short: CommandShort, overrides: Partial<CommandContract> = {}) => {
      const contract = ask(short, overrides);
      return findDangers(readRequest(tell({ contract }), executionId, undefined, now));
    };
    expect(dangers({})).toEqual([]);
    expect(dangers({}, { risk_class: 'critical' })).toEqual(['risk critical']);
    expect(dangers({ secret_refs: ['db'], network: 'full' })).toEqual(
      expect.arrayContaining(['the secrets db', 'the whole network']),
    );
    expect(dangers({ proposed_effect_type: 'deploy' })).toContain('effect deploy');
  });

  it('shows what has changed since the last one of its kind, and leaves out what has not', () => {
    const last = ask({ argv: ['git', 'push', 'staging'], read_paths: ['/w/a', '/w/b'] });
    const text = show({
      contract: ask({ argv: ['git', 'push', 'live'], read_paths: ['/w/a', '/w/c'] }),
      last,
    });
    expect(text).toContain(
      '\n  - runs git push staging\n  + runs git push live\n  - reads /w/b\n  + reads /w/c\n',
    );
    expect(show({ contract: ask({}, { intent: 'other words' }), last: ask() })).toContain(
      'nothing but ids and words',
    );
    expect(show({ contract: ask() })).toContain('none of this kind was approved before, says the gate');
    const many = Array.from({ length: 3000 }, (_, at) => `${at}`);
    expect(diffLines(many, many)).toBeUndefined();
  });
});
