import type { CommandContract } from '@csc-fleet/common/contract';
import { createSigner, generateKeyPair } from '@csc-fleet/common/crypto';
import { orThrow } from '@csc-fleet/common/errors';
import { ExecutionState, type SubmitRequest } from '@csc-fleet/common/messages';
import { createRevocations } from '@csc-fleet/common/owners';
import { type Bindings, bindingsFromJson } from '@csc-fleet/common/policy';
import { parseSubmission, submissionSha256, type UnsignedSubmission } from '@csc-fleet/common/submission';
import { parseTicket } from '@csc-fleet/common/ticket';
import { approve, contractForApproval, makeContract } from '@csc-fleet/test-kit/gate/contracts';
import {
  agent,
  noWait,
  other,
  policyLimits,
  TestGate,
  type TestGateOptions,
} from '@csc-fleet/test-kit/gate/test-gate';
import { signSubmission } from '@csc-fleet/test-kit/submission';
import { afterEach, describe, expect, it, vi } from 'vitest';

const signer = createSigner(generateKeyPair().seed, 'agent-1');
const forger = createSigner(generateKeyPair().seed, 'agent-1');

const bindings: Bindings = orThrow(
  bindingsFromJson({
    bindings_version: 'csc.bindings.v0.2',
    bindings: [
      { identity: agent, policies: ['default', 'limited', 'bound'] },
      { identity: other, policies: ['default'] },
      { identity: 'spiffe://csc.local/client/nobody', policies: ['default'] },
    ],
    submitters: [
      {
        principal: agent,
        keys: [{ key_id: 'agent-1', public_key: Buffer.from(signer.publicKey).toString('base64') }],
      },
    ],
  }),
  'POLICY_INVALID',
  'the bindings of the tests',
);

let test: TestGate;

async function open(options: TestGateOptions = { bindings }): Promise<void> {
  test = await TestGate.open(options);
}

afterEach(async () => {
  await test.close();
  expect(test.errors).toEqual([]);
});

interface Signed {
  readonly overrides?: Partial<UnsignedSubmission>;
  readonly by?: typeof signer;
  readonly from?: string;
  readonly request?: Partial<SubmitRequest>;
}

function submission(contract: CommandContract, { overrides = {}, by = signer }: Signed = {}): Buffer {
  return signSubmission(contract, { principal: agent, signer: by, now: test.clock.now(), overrides });
}

const submitSigned = (contract: CommandContract, signed: Signed = {}) =>
  test.submit(contract, {
    submissionJson: submission(contract, signed),
    principal: signed.from ?? agent,
    ...signed.request,
  });

const rejected = (code: string, message: RegExp = /./) =>
  expect.objectContaining({ code, message: expect.stringMatching(message) });

describe('a signed submission', () => {
  it('goes to the host as it came, named by the ticket and with the terms that it says', async () => {
    await open();
    const executor = test.executor('e1', { labels: { tier: 'build' } });
    const epoch = 'e'.repeat(32);
    await executor.connect([], { epoch });
    const contract = makeContract();
    const overrides: Partial<UnsignedSubmission> = {
      policy_profile: 'limited',
      receipt_version: 'csc.receipt.v0.1',
      audience: { trust_domain: 'csc.local', selector: { tier: 'build' } },
      options: {
        limits: { memory_bytes: policyLimits.memory_bytes / 2, stdout_bytes: 2 ** 40, open_files: 64 },
      },
    };
    const submissionJson = submission(contract, { overrides });
    const { executionId } = await test.submit(contract, { submissionJson });
    const offer = await executor.next('offer', executionId);
    expect(offer.submissionJson).toEqual(submissionJson);
    const ticket = orThrow(parseTicket(offer.ticketJson), 'TICKET_INVALID', 'the ticket');
    const parsed = orThrow(parseSubmission(submissionJson), 'SUBMISSION_INVALID', 'it');
    expect(ticket).toMatchObject({
      principal: agent,
      submission_sha256: submissionSha256(parsed),
      executor_epoch: epoch,
      policy_profile: 'limited',
      grant: {
        receipt_version: 'csc.receipt.v0.1',
        // Narrower only.
        limits: { ...policyLimits, memory_bytes: policyLimits.memory_bytes / 2, open_files: 64 },
      },
    });
  });

  it('runs on a host of the release before, whose ticket holds nothing that it does not know', async () => {
    await open();
    const executor = await test.connected('e1');
    const contract = makeContract();
    const { executionId } = await test.submit(contract, { submissionJson: submission(contract) });
    const offer = await executor.next('offer', executionId);
    const ticket = orThrow(parseTicket(offer.ticketJson), 'TICKET_INVALID', 'the ticket');
    for (const member of ['submission_sha256', 'executor_epoch', 'policy_version'])
      expect(ticket).not.toHaveProperty(member);
    await executor.finish(offer);
    expect(await test.state(executionId)).toBe(ExecutionState.SUCCEEDED);
  });

  it.each([
    ['key', () => 'agent-1'],
    ['submission', (sha256: string) => sha256],
  ] as const)('is denied at once where the owners have revoked its %s', async (kind, idOf) => {
    await open();
    const executor = await test.connected('e1');
    const contract = makeContract();
    const submissionJson = submission(contract);
    const sha256 = submissionSha256(orThrow(parseSubmission(submissionJson), 'SUBMISSION_INVALID', 'it'));
    const since = '2026-01-01T00:00:00Z';
    const revocation = { kind, id: idOf(sha256), since, reason: 'stolen', running: 'finish' } as const;
    await test.publish({ bindings, revocations: createRevocations([revocation]) });
    const why = rejected('NOT_PERMITTED', new RegExp(`revoked the ${kind} .*stolen`));
    await expect(test.submit(contract, { submissionJson })).rejects.toEqual(why);
    expect(executor.offered).toEqual([]);
    await test.publish({ bindings });
    expect((await test.submit(contract, { submissionJson })).state).toBe(ExecutionState.OFFERED);
  });

  it('is with its execution after a restart', async () => {
    await open();
    await test.connected('e1');
    await submitSigned(makeContract());
    const contract = makeContract();
    const submissionJson = submission(contract);
    const { executionId, state } = await test.submit(contract, { submissionJson });
    expect(state).toBe(ExecutionState.QUEUED);
    await test.reopen();
    const executor = await test.connected('e2');
    expect((await executor.next('offer', executionId)).submissionJson).toEqual(submissionJson);
  });

  it('is one execution, by its nonce, however often it is handed in', async () => {
    await open();
    await test.connected('e1');
    const contract = makeContract();
    const submissionJson = submission(contract);
    const first = await test.submit(contract, { submissionJson });
    const again = await test.submit(contract, { submissionJson });
    expect(again).toMatchObject({ executionId: first.executionId, existing: true });
    expect((await submitSigned(contract)).existing).toBe(false);
  });

  it('comes once more with the approval that it waits for, and is the one that the host gets', async () => {
    await open();
    const executor = await test.connected('e1');
    const contract = contractForApproval();
    const { executionId } = await submitSigned(contract);
    const submissionJson = submission(contract);
    const approvalsJson = [approve(contract, test.clock.now())];
    expect((await test.submit(contract, { submissionJson, approvalsJson })).executionId).toBe(executionId);
    expect((await executor.next('offer', executionId)).submissionJson).toEqual(submissionJson);
  });

  it('waits for an executor no longer than it stands', async () => {
    await open();
    await test.connected('e1');
    await test.submit(makeContract());
    const expires_at = new Date(test.clock.now().getTime() + 1000).toISOString();
    const { executionId } = await submitSigned(makeContract(), { overrides: { expires_at } });
    expect(await test.state(executionId)).toBe(ExecutionState.QUEUED);
    await test.stop();
    expect(new Date(String(test.storedDeadline(executionId)))).toEqual(new Date(expires_at));
  });

  it.each<[string, Signed, string, RegExp]>([
    [
      'another principal hands it in',
      { from: other },
      'SUBMISSION_INVALID',
      /client\/other has handed it in/,
    ],
    ['another key has signed it', { by: forger }, 'SUBMISSION_INVALID', /not signed with a key/],
    [
      'it is for another fleet',
      { overrides: { audience: { trust_domain: 'other', selector: {} } } },
      'WRONG_AUDIENCE',
      /trust domain/,
    ],
    [
      'it is for another contract',
      { overrides: { contract_sha256: 'a'.repeat(64) } },
      'CONTRACT_HASH_MISMATCH',
      /./,
    ],
    [
      'it names a profile that the caller may not use',
      { overrides: { policy_profile: 'held' } },
      'NOT_PERMITTED',
      /./,
    ],
    [
      'the request says another profile',
      { request: { policyProfile: 'limited' } },
      'REQUEST_INVALID',
      /policy_profile/,
    ],
    [
      'the request says another key',
      { request: { idempotencyKey: 'x' } },
      'REQUEST_INVALID',
      /idempotency_key/,
    ],
    [
      'the request says another selector',
      { request: { selector: { a: 'b' } } },
      'REQUEST_INVALID',
      /selector/,
    ],
    [
      'the request says another receipt version',
      { request: { options: { receiptVersion: 'csc.receipt.v0.1', queueTimeout: undefined } } },
      'REQUEST_INVALID',
      /receipt_version/,
    ],
    ['it is no submission', { request: { submissionJson: Buffer.from('{}') } }, 'SUBMISSION_INVALID', /./],
  ])('is refused where %s', async (_, signed, code, message) => {
    await open();
    await test.connected('e1');
    await expect(submitSigned(makeContract(), signed)).rejects.toEqual(rejected(code, message));
  });

  it('is refused once it has expired', async () => {
    await open();
    const contract = makeContract();
    const submissionJson = submission(contract);
    test.clock.advance(11 * 60_000);
    await expect(test.submit(contract, { submissionJson })).rejects.toEqual(rejected('SUBMISSION_EXPIRED'));
  });

  it.each([
    ['no submitters', {}],
    ['no key of the caller', { bindings }],
  ])(
    'is passed on unverified by a gate whose bindings name %s, if it is the caller’s',
    async (_, options) => {
      await open(options);
      const executor = await test.connected('e1');
      const contract = makeContract();
      const submissionJson = submission(contract, { by: forger, overrides: { principal: other } });
      const { executionId } = await test.submit(contract, { submissionJson, principal: other });
      expect((await executor.next('offer', executionId)).submissionJson).toEqual(submissionJson);
      const another = test.submit(contract, { submissionJson });
      await expect(another).rejects.toEqual(rejected('SUBMISSION_INVALID'));
    },
  );

  it('must be there where the gate’s owner says so, and be verified', async () => {
    await open({ bindings, requireSignedSubmissions: true });
    await test.connected('e1');
    await expect(test.submit(makeContract())).rejects.toEqual(rejected('SUBMISSION_INVALID', /csc login/));
    const keyless = submitSigned(makeContract(), { overrides: { principal: other }, from: other });
    await expect(keyless).rejects.toEqual(rejected('SUBMISSION_INVALID', /names no/));
    expect((await submitSigned(makeContract())).state).toBe(ExecutionState.OFFERED);
  });
});

describe('a submission that must name its host', () => {
  const any = { trust_domain: 'csc.local', selector: {} };
  const onHost = (executor_id: string) => ({ ...any, executor_id });
  const bound: Partial<UnsignedSubmission> = { policy_profile: 'bound', nonce: 'b'.repeat(32) };
  const wanted = async (executionId: string) =>
    (await test.events(executionId)).flatMap(({ event }) =>
      event?.$case === 'bindingWanted' ? [event.value.executorId] : [],
    );

  it('is offered once it does, and not before', async () => {
    await open();
    const executor = test.executor('e1');
    await executor.connect([], { epoch: 'e'.repeat(32) });
    const contract = makeContract();
    const { executionId, state } = await submitSigned(contract, { overrides: bound });
    await test.flushed();
    expect([state, await wanted(executionId), executor.offered]).toEqual([ExecutionState.QUEUED, ['e1'], []]);
    const submissionJson = submission(contract, { overrides: { ...bound, audience: onHost('e1') } });
    await test.as(agent).bind({ executionId, submissionJson });
    // As its answer may be lost.
    await test.as(agent).bind({ executionId, submissionJson });
    const offer = await executor.next('offer', executionId);
    expect(offer.submissionJson).toEqual(submissionJson);
    const named = orThrow(parseSubmission(submissionJson), 'SUBMISSION_INVALID', 'it');
    const ticket = orThrow(parseTicket(offer.ticketJson), 'TICKET_INVALID', 'the ticket');
    expect(ticket.submission_sha256).toBe(submissionSha256(named));
  });

  it.each<[string, Signed, string]>([
    ['another host', { overrides: { audience: onHost('e2') } }, 'SUBMISSION_INVALID'],
    ['no host', { overrides: { audience: any } }, 'SUBMISSION_INVALID'],
    ['another nonce', { overrides: { nonce: 'c'.repeat(32), audience: onHost('e1') } }, 'SUBMISSION_INVALID'],
    [
      'other limits',
      { overrides: { options: { limits: { processes: 9 } }, audience: onHost('e1') } },
      'SUBMISSION_INVALID',
    ],
    ['a forger’s signature', { by: forger, overrides: { audience: onHost('e1') } }, 'SUBMISSION_INVALID'],
    ['another caller', { from: other, overrides: { audience: onHost('e1') } }, 'EXECUTION_UNKNOWN'],
  ])('is not bound by one with %s', async (_, { from = agent, ...signed }, code) => {
    await open();
    const executor = await test.connected('e1');
    const contract = makeContract();
    const { executionId } = await submitSigned(contract, { overrides: bound });
    const overrides = { ...bound, ...signed.overrides };
    const submissionJson = submission(contract, { ...signed, overrides });
    await expect(test.as(from).bind({ executionId, submissionJson })).rejects.toEqual(rejected(code));
    expect(executor.offered).toEqual([]);
  });

  it('goes to no other host, however often it must be offered again', async () => {
    await open();
    const executor = await test.connected('e1');
    const contract = makeContract();
    const { executionId } = await submitSigned(contract, { overrides: bound });
    await test.flushed();
    const submissionJson = submission(contract, { overrides: { ...bound, audience: onHost('e1') } });
    await test.as(agent).bind({ executionId, submissionJson });
    const another = await test.connected('e2');
    await executor.connect();
    await test.flushed();
    expect([executor.all('offer', executionId).length, another.offered]).toEqual([2, []]);
    // Whoever reads it all again is not asked what has been answered.
    expect(await wanted(executionId)).toEqual([]);
  });

  it('may name one at once, which then gets it and no other', async () => {
    await open();
    const first = await test.connected('e1');
    const named = await test.connected('e2');
    const overrides = { ...bound, audience: onHost('e2') };
    const { executionId, state } = await submitSigned(makeContract(), { overrides });
    expect([state, named.offered, first.offered]).toEqual([ExecutionState.OFFERED, [executionId], []]);
    const nowhere = submitSigned(makeContract(), {
      overrides: { audience: onHost('e3') },
      request: { options: noWait },
    });
    await expect(nowhere).rejects.toEqual(
      rejected('NO_MATCHING_EXECUTOR', /executor\/e3, which the submission/),
    );
  });

  it('gives its seat back where its submitter does not answer, or ends it, or the host leaves, and asks for no host twice', async () => {
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] });
    try {
      await open();
      const executor = await test.connected('e1');
      const slow = await submitSigned(makeContract(), { overrides: bound });
      test.clock.advance(60_000);
      await test.sweep();
      expect((await test.as(agent).getStatus()).waiting.map((it) => it.execution?.executionId)).toContain(
        slow.executionId,
      );
      const ended = await submitSigned(makeContract(), { overrides: { policy_profile: 'bound' } });
      await test.as(agent).cancel({ executionId: ended.executionId, gracePeriod: undefined });
      const left = await submitSigned(makeContract(), { overrides: { policy_profile: 'bound' } });
      executor.disconnect();
      await test.connected('e2');
      await test.sweep();
      await test.flushed();
      expect(await wanted(left.executionId)).toEqual(['e2']);
    } finally {
      vi.useRealTimers();
    }
  });

  it('waits for a submitter who has left, until the time that status tells, and is placed once that one is back', async () => {
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] });
    try {
      await open();
      await test.connected('e1');
      const contract = makeContract();
      const { executionId } = await submitSigned(contract, { overrides: bound });
      const submissionJson = submission(contract, { overrides: { ...bound, audience: onHost('e1') } });
      const late = await submitSigned(makeContract(), { overrides: { policy_profile: 'bound' } });
      await test.flushed();
      for (const _ of [executionId, late]) {
        test.clock.advance(60_000);
        await test.sweep();
        await test.flushed();
      }
      const { waiting } = await test.as(agent).getStatus();
      expect(waiting.map(({ reason }) => reason)).toEqual([
        expect.stringMatching(/its submitter, who is to name the host/),
        expect.stringMatching(/its submitter, who is to name the host/),
      ]);
      for await (const _ of test.as(agent).watch({ executionId, fromSequence: 0 })) break;
      await test.flushed();
      expect((await wanted(executionId)).at(-1)).toBe('e1');
      await test.as(agent).bind({ executionId, submissionJson });
      expect((await test.as(agent).getExecution({ executionId })).execution?.state).toBe(
        ExecutionState.OFFERED,
      );
      const until = waiting.find(({ execution }) => execution?.executionId === late.executionId)?.until;
      test.clock.advance((until?.getTime() ?? 0) - test.clock.now().getTime());
      await test.sweep();
      expect(await test.receipt(late.executionId)).toMatchObject({
        status: 'expired',
        error: expect.stringMatching(/its submitter did not come in time/),
      });
    } finally {
      vi.useRealTimers();
    }
  });

  it('is asked of nobody who has signed nothing', async () => {
    await open();
    await test.connected('e1');
    const { state } = await test.submit(makeContract(), { policyProfile: 'bound' });
    expect(state).toBe(ExecutionState.OFFERED);
  });
});
