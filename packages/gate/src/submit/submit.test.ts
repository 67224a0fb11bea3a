import { randomUUID } from 'node:crypto';
import { type CommandContract, contractSha256 } from '@csc-fleet/common/contract';
import { createKeyRing } from '@csc-fleet/common/crypto';
import type { JsonObject } from '@csc-fleet/common/encoding';
import { verifyArtifact } from '@csc-fleet/common/evidence';
import { ExecutionState, type CommandContract as TypedContract, Verdict } from '@csc-fleet/common/messages';
import { parseReceipt } from '@csc-fleet/common/receipt';
import {
  approve,
  contractForApproval,
  deniedContract,
  makeCommand,
  makeContract,
} from '@csc-fleet/test-kit/gate/contracts';
import { agent, noWait, other, stranger, TestGate, toRequest } from '@csc-fleet/test-kit/gate/test-gate';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

let test: TestGate;

beforeEach(async () => {
  test = await TestGate.open();
});

afterEach(async () => {
  await test.close();
  expect(test.errors).toEqual([]);
});

const gateKeys = () => createKeyRing([{ keyId: test.signer.keyId, publicKey: test.signer.publicKey }]);

const kinds = async (executionId: string) =>
  (await test.events(executionId)).map(({ event }) => event?.$case);

const rejected = (code: string) => expect.objectContaining({ code });

describe('a contract that is allowed', () => {
  it('is recorded and offered', async () => {
    const executor = await test.connected('e1');
    const contract = makeContract();
    const response = await test.submit(contract);
    expect(response).toMatchObject({ state: ExecutionState.OFFERED, existing: false });
    expect(response.decision).toMatchObject({
      verdict: Verdict.ALLOW,
      reasonCodes: ['ALLOW'],
      contractSha256: contractSha256(contract),
      policyProfile: 'default',
      policySha256: test.policies.byName('default')?.sha256,
    });
    expect(executor.offered).toEqual([response.executionId]);
    expect(await kinds(response.executionId)).toEqual(['decided', 'queued', 'placed']);
  });

  it('waits where all executors are busy', async () => {
    await test.connected('e1');
    await test.submit(makeContract());
    const { executionId, state } = await test.submit(makeContract());
    expect(state).toBe(ExecutionState.QUEUED);
    expect(await kinds(executionId)).toEqual(['decided', 'queued']);
  });

  it('is held against the profile that the caller names', async () => {
    await test.connected('e1');
    const { decision } = await test.submit(makeContract(), { policyProfile: 'wide' });
    expect(decision?.policyProfile).toBe('wide');
    expect(decision?.policySha256).toBe(test.policies.byName('wide')?.sha256);
  });

  it('goes out with a ticket for this execution, executor and contract', async () => {
    const executor = await test.connected('e1');
    const contract = makeContract();
    const { executionId } = await test.submit(contract, {
      options: { receiptVersion: 'csc.receipt.v0.1', queueTimeout: undefined },
    });
    const offer = await executor.next('offer');
    const ticket = JSON.parse(offer.ticketJson.toString()) as JsonObject;
    verifyArtifact(ticket, gateKeys());
    expect(ticket).toMatchObject({
      audience: 'e1',
      execution_id: executionId,
      contract_sha256: contractSha256(contract),
      policy_profile: 'default',
      principal: agent,
      approval_ids: [],
      grant: { receipt_version: 'csc.receipt.v0.1' },
    });
    expect(JSON.parse(offer.contractJson.toString())).toEqual(contract);
  });

  it('gives the same hash and offer in its typed form', async () => {
    const executor = await test.connected('e1', { slots: 2 });
    const contract = makeContract({ commands: [makeCommand(), pipeline()] });
    const inJson = await test.submit(contract);
    const typed = await test.submit(contract, {
      contract: { $case: 'typedContract', value: toTyped(contract) },
    });
    expect(typed.decision?.contractSha256).toBe(inJson.decision?.contractSha256);
    const [first, second] = executor.all('offer');
    expect(second?.contractJson).toEqual(first?.contractJson);
  });
});

function pipeline(): CommandContract['commands'][number] {
  const { exec: _exec, ...rest } = makeCommand({ id: 'count' });
  return { ...rest, pipeline: { segments: [{ argv: ['echo', 'a'] }, { argv: ['cat'] }] } };
}

function toTyped(contract: CommandContract): TypedContract {
  const { actor } = contract;
  return {
    version: contract.version,
    contractId: contract.contract_id,
    intent: contract.intent,
    actor: {
      agentId: actor.agent_id,
      sessionId: actor.session_id,
      initiatingUser: actor.initiating_user,
      delegationScope: actor.delegation_scope,
    },
    commands: contract.commands.map((command) => ({
      id: command.id,
      form: toForm(command),
      cwd: command.cwd,
      readPaths: command.read_paths,
      writePaths: command.write_paths,
      network: command.network,
      envAllow: command.env_allow,
      secretRefs: command.secret_refs,
      timeoutSec: command.timeout_sec,
      proposedEffectType: command.proposed_effect_type,
    })),
    riskClass: contract.risk_class,
    approvalMode: contract.approval_mode,
    expectedOutputs: contract.expected_outputs,
    justification: contract.justification,
  };
}

function toForm({
  exec,
  pipeline,
}: CommandContract['commands'][number]): TypedContract['commands'][number]['form'] {
  if (exec !== undefined) return { $case: 'exec', value: exec };
  return pipeline === undefined ? undefined : { $case: 'pipeline', value: pipeline };
}

describe('a contract that is denied', () => {
  it('is a result with a PolicyDecision that the gate has signed', async () => {
    const contract = deniedContract();
    const { state, decision, executionId } = await test.submit(contract);
    expect(state).toBe(ExecutionState.BLOCKED);
    expect(decision).toMatchObject({ verdict: Verdict.DENY, reasonCodes: ['COMMAND_NOT_ALLOWED'] });
    expect(decision?.findings[0]).toMatchObject({ commandId: 'main', member: 'commands[0].exec.argv[0]' });
    const artifact = JSON.parse(decision?.decisionJson.toString() ?? '') as JsonObject;
    expect(verifyArtifact(artifact, gateKeys()).key_id).toBe('gate-key');
    expect(artifact).toMatchObject({
      decision: 'deny',
      contract_sha256: contractSha256(contract),
      reason_codes: ['COMMAND_NOT_ALLOWED'],
    });
    expect(await kinds(executionId)).toEqual(['decided', 'finished']);
  });

  it.each(['csc.receipt.v0.1', 'csc.receipt.v0.2'])('has a blocked receipt in %s', async (receiptVersion) => {
    const contract = deniedContract();
    const { executionId } = await test.submit(contract, {
      options: { receiptVersion, queueTimeout: undefined },
    });
    const { receiptJson } = await test.as(agent).getReceipt({ executionId });
    expect(parseReceipt(receiptJson)).toMatchObject({
      ok: true,
      value: {
        receipt_version: receiptVersion,
        status: 'blocked',
        execution_id: executionId,
        contract_id: contract.contract_id,
        contract_sha256: contractSha256(contract),
        policy_profile: 'default',
        completed_command_ids: [],
      },
    });
    verifyArtifact(JSON.parse(receiptJson.toString()) as JsonObject, gateKeys());
    const [finished] = (await test.events(executionId)).slice(-1);
    expect(finished?.event).toMatchObject({ $case: 'finished', value: { receiptJson } });
  });

  it('does not need an executor, nor room in the queue', async () => {
    expect((await test.submit(deniedContract())).state).toBe(ExecutionState.BLOCKED);
  });

  it('stays denied with an approval', async () => {
    const contract = deniedContract();
    const approvalsJson = [approve(contract, test.clock.now())];
    expect((await test.submit(contract, { approvalsJson })).state).toBe(ExecutionState.BLOCKED);
  });
});

describe('a contract that needs approval', () => {
  it('waits, and goes on as the same execution once it is approved', async () => {
    const executor = await test.connected('e1');
    const contract = contractForApproval();
    const waiting = await test.submit(contract);
    expect(waiting.state).toBe(ExecutionState.AWAITING_APPROVAL);
    expect(waiting.decision?.verdict).toBe(Verdict.NEEDS_APPROVAL);
    const approval = approve(contract, test.clock.now(), { approval_id: 'approval-1' });
    const approved = await test.submit(contract, { approvalsJson: [approval] });
    expect(approved.executionId).toBe(waiting.executionId);
    const offer = await executor.next('offer', waiting.executionId);
    expect(offer.approvalsJson).toEqual([approval]);
    expect(JSON.parse(offer.ticketJson.toString())).toMatchObject({ approval_ids: ['approval-1'] });
    expect(await kinds(waiting.executionId)).toEqual(['decided', 'queued', 'placed']);
  });

  it('goes on in a gate that was reopened', async () => {
    const contract = contractForApproval();
    const { executionId } = await test.submit(contract);
    await test.reopen();
    expect(await test.state(executionId)).toBe(ExecutionState.AWAITING_APPROVAL);
    const executor = await test.connected('e1');
    await test.submit(contract, { approvalsJson: [approve(contract, test.clock.now())] });
    await executor.next('offer', executionId);
  });

  it('is not the one of another principal with the same contract', async () => {
    await test.connected('e1');
    const contract = contractForApproval();
    const waiting = await test.submit(contract);
    const approvalsJson = [approve(contract, test.clock.now())];
    const theirs = await test.submit(contract, { principal: other, approvalsJson });
    expect(theirs.executionId).not.toBe(waiting.executionId);
    expect(await test.state(waiting.executionId)).toBe(ExecutionState.AWAITING_APPROVAL);
  });

  it('is not the one that was decided under another policy', async () => {
    const executor = await test.connected('e1');
    const contract = contractForApproval();
    const waiting = await test.submit(contract);
    const approvalsJson = [approve(contract, test.clock.now())];
    const wide = await test.submit(contract, { policyProfile: 'wide', approvalsJson });
    expect(wide.executionId).not.toBe(waiting.executionId);
    expect(await test.state(waiting.executionId)).toBe(ExecutionState.AWAITING_APPROVAL);
    const { ticketJson } = await executor.next('offer', wide.executionId);
    expect(JSON.parse(ticketJson.toString())).toMatchObject({ policy_profile: 'wide' });
  });

  it('waits only as long as there is room', async () => {
    const small = await TestGate.open({ limits: { maxQueued: 1 } });
    try {
      await small.submit(contractForApproval());
      await expect(small.submit(contractForApproval())).rejects.toEqual(rejected('QUEUE_FULL'));
    } finally {
      await small.close();
    }
  });

  it('runs as the request with the approval says', async () => {
    const executor = await test.connected('e1');
    const chosen = await test.connected('e2', { labels: { pool: 'two' } });
    const contract = contractForApproval();
    const { executionId } = await test.submit(contract);
    await test.submit(contract, {
      approvalsJson: [approve(contract, test.clock.now())],
      selector: { pool: 'two' },
      options: { receiptVersion: 'csc.receipt.v0.1', queueTimeout: undefined },
    });
    const { ticketJson } = await chosen.next('offer', executionId);
    expect(JSON.parse(ticketJson.toString())).toMatchObject({
      grant: { receipt_version: 'csc.receipt.v0.1' },
    });
    expect(executor.offered).toEqual([]);
  });

  it('runs at once where the approval comes with it', async () => {
    const executor = await test.connected('e1');
    const contract = contractForApproval();
    const { executionId } = await test.submit(contract, {
      approvalsJson: [approve(contract, test.clock.now())],
    });
    expect(executor.offered).toEqual([executionId]);
  });
});

describe('an approval', () => {
  const submitWith = (contract: CommandContract, ...approvalsJson: Buffer[]) =>
    test.submit(contract, { approvalsJson });

  beforeEach(async () => {
    await test.connected('e1', { slots: 10 });
  });

  it('is for one contract', async () => {
    const contract = contractForApproval();
    const wrong = approve(contractForApproval(), test.clock.now());
    await expect(submitWith(contract, wrong)).rejects.toEqual(rejected('APPROVAL_INVALID'));
  });

  it('expires', async () => {
    const contract = contractForApproval();
    const approval = approve(contract, test.clock.now());
    test.clock.advance(3_600_000);
    await expect(submitWith(contract, approval)).rejects.toEqual(rejected('APPROVAL_INVALID'));
  });

  it('must be well formed, each of them', async () => {
    const contract = contractForApproval();
    const good = approve(contract, test.clock.now());
    await expect(submitWith(contract, good, Buffer.from('{}'))).rejects.toEqual(rejected('APPROVAL_INVALID'));
    expect((await submitWith(contract, good)).state).toBe(ExecutionState.OFFERED);
  });

  it('does not count where the gate’s owner has not said so, and then leaves the execution waiting', async () => {
    const strict = await TestGate.open({ acceptUnsignedApprovals: false });
    try {
      const contract = contractForApproval();
      const { executionId } = await strict.submit(contract);
      const approvalsJson = [approve(contract, strict.clock.now())];
      await expect(strict.submit(contract, { approvalsJson })).rejects.toEqual(rejected('APPROVAL_INVALID'));
      expect(await strict.state(executionId)).toBe(ExecutionState.AWAITING_APPROVAL);
    } finally {
      await strict.close();
    }
  });

  it('is no two people’s: a contract that asks for them is refused, whether or not one came', async () => {
    const contract = makeContract({ approval_mode: 'dual_control_required' });
    const refused = expect.objectContaining({
      code: 'APPROVAL_INVALID',
      message: expect.stringContaining('dual_control: one_approval in gate.yaml'),
      faults: [expect.objectContaining({ path: 'approval_mode' })],
    });
    await expect(submitWith(contract)).rejects.toEqual(refused);
    await expect(submitWith(contract, approve(contract, test.clock.now()))).rejects.toEqual(refused);
    // What a policy says of it is the reference's, and a denial is a result as ever.
    const { decision } = await test.as(agent).check({
      contract: toRequest(contract).contract,
      policyProfile: '',
      terminal: false,
    });
    expect(decision).toMatchObject({ verdict: Verdict.NEEDS_APPROVAL, reasonCodes: ['APPROVAL_REQUIRED'] });
    const denied = await test.submit({ ...deniedContract(), approval_mode: 'dual_control_required' });
    expect(denied.state).toBe(ExecutionState.BLOCKED);
  });

  it('stands for two people’s where the gate’s owner has said so', async () => {
    const lenient = await TestGate.open({ dualControl: 'one_approval' });
    try {
      await lenient.connected('e1');
      const contract = makeContract({ approval_mode: 'dual_control_required' });
      expect((await lenient.submit(contract)).state).toBe(ExecutionState.AWAITING_APPROVAL);
      const approvalsJson = [approve(contract, lenient.clock.now())];
      expect((await lenient.submit(contract, { approvalsJson })).state).toBe(ExecutionState.OFFERED);
    } finally {
      await lenient.close();
    }
  });

  it('of a single execution is used up by it, also for a gate that was reopened', async () => {
    const contract = contractForApproval();
    const approval = approve(contract, test.clock.now());
    await submitWith(contract, approval);
    await expect(submitWith(contract, approval)).rejects.toEqual(rejected('APPROVAL_INVALID'));
    await test.reopen();
    await test.connected('e2', { slots: 10 });
    await expect(submitWith(contract, approval)).rejects.toEqual(rejected('APPROVAL_INVALID'));
  });

  it('of a single execution lets one of two through that come at once', async () => {
    const contract = contractForApproval();
    const approval = approve(contract, test.clock.now());
    const both = await Promise.allSettled([submitWith(contract, approval), submitWith(contract, approval)]);
    expect(both.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected']);
    expect(both).toContainEqual({ status: 'rejected', reason: rejected('APPROVAL_INVALID') });
    const { executions } = await test.as(agent).listExecutions({ states: [], pageSize: 0, pageToken: '' });
    expect(executions).toHaveLength(1);
  });

  it('moves on what waits once, where it comes twice at once', async () => {
    const contract = contractForApproval();
    const { executionId } = await test.submit(contract);
    const approval = approve(contract, test.clock.now());
    const both = await Promise.allSettled([submitWith(contract, approval), submitWith(contract, approval)]);
    expect(both).toContainEqual({ status: 'rejected', reason: rejected('APPROVAL_INVALID') });
    expect(both).toContainEqual({ status: 'fulfilled', value: expect.objectContaining({ executionId }) });
    await test.flushed();
    const placed = (await kinds(executionId)).filter((kind) => kind === 'placed');
    expect(placed).toHaveLength(1);
  });

  it('is not used up where the executions’ queue is full', async () => {
    const full = await TestGate.open({ limits: { maxQueued: 1 } });
    try {
      const executor = await full.connected('e1');
      const { executionId: first } = await full.submit(makeContract());
      const { executionId: second } = await full.submit(makeContract());
      const contract = contractForApproval();
      const approvalsJson = [approve(contract, full.clock.now())];
      await expect(full.submit(contract, { approvalsJson })).rejects.toEqual(rejected('QUEUE_FULL'));
      await executor.finish(await executor.next('offer', first));
      await executor.finish(await executor.next('offer', second));
      expect((await full.submit(contract, { approvalsJson })).state).toBe(ExecutionState.OFFERED);
    } finally {
      await full.close();
    }
  });

  it('of a time window counts again, until it ends', async () => {
    const contract = contractForApproval();
    const approval = approve(contract, test.clock.now(), { scope: 'time_window' });
    const first = await submitWith(contract, approval);
    const second = await submitWith(contract, approval);
    expect(second.executionId).not.toBe(first.executionId);
    test.clock.advance(3_600_000);
    await expect(submitWith(contract, approval)).rejects.toEqual(rejected('APPROVAL_INVALID'));
  });
});

describe('an idempotency key', () => {
  beforeEach(async () => {
    await test.connected('e1', { slots: 10 });
  });

  it('gives the same execution for the same contract, also where it has ended or the gate was reopened', async () => {
    const contract = makeContract();
    const first = await test.submit(contract, { idempotencyKey: 'key' });
    expect(await test.submit(contract, { idempotencyKey: 'key' })).toMatchObject({
      executionId: first.executionId,
      existing: true,
    });
    await test.reopen();
    expect(await test.submit(contract, { idempotencyKey: 'key' })).toMatchObject({
      executionId: first.executionId,
      existing: true,
      decision: first.decision,
    });
  });

  it('gives a denial again', async () => {
    const contract = deniedContract();
    const first = await test.submit(contract, { idempotencyKey: 'key' });
    const again = await test.submit(contract, { idempotencyKey: 'key' });
    expect(again).toEqual({ ...first, existing: true });
  });

  it('of what awaits approval takes the approval too', async () => {
    const contract = contractForApproval();
    const waiting = await test.submit(contract, { idempotencyKey: 'key' });
    const approvalsJson = [approve(contract, test.clock.now())];
    const approved = await test.submit(contract, { idempotencyKey: 'key', approvalsJson });
    expect(approved).toMatchObject({ executionId: waiting.executionId, existing: true });
    expect(await test.state(waiting.executionId)).not.toBe(ExecutionState.AWAITING_APPROVAL);
    const again = await test.submit(contract, { idempotencyKey: 'key', approvalsJson });
    expect(again).toMatchObject({ executionId: waiting.executionId, existing: true });
  });

  it('that came with an approval stands for what it approved', async () => {
    const contract = contractForApproval();
    const { executionId } = await test.submit(contract, { idempotencyKey: 'first' });
    const request = { idempotencyKey: 'second', approvalsJson: [approve(contract, test.clock.now())] };
    expect(await test.submit(contract, request)).toMatchObject({ executionId, existing: false });
    expect(await test.submit(contract, request)).toMatchObject({ executionId, existing: true });
    await test.reopen();
    expect(await test.submit(contract, request)).toMatchObject({ executionId, existing: true });
  });

  it('is not for another contract', async () => {
    await test.submit(makeContract(), { idempotencyKey: 'key' });
    await expect(test.submit(makeContract(), { idempotencyKey: 'key' })).rejects.toEqual(
      rejected('IDEMPOTENCY_CONFLICT'),
    );
  });

  it('belongs to its principal', async () => {
    const contract = makeContract();
    const mine = await test.submit(contract, { idempotencyKey: 'key' });
    const theirs = await test.submit(contract, { idempotencyKey: 'key', principal: other });
    expect(theirs.existing).toBe(false);
    expect(theirs.executionId).not.toBe(mine.executionId);
  });

  it('gives one execution to two that come at once', async () => {
    const contract = makeContract();
    const both = await Promise.all([
      test.submit(contract, { idempotencyKey: 'key' }),
      test.submit(contract, { idempotencyKey: 'key' }),
    ]);
    expect(both.map(({ existing }) => existing).sort()).toEqual([false, true]);
    expect(new Set(both.map(({ executionId }) => executionId)).size).toBe(1);
  });

  it('keeps no slot for the one of two that lost', async () => {
    const executor = await test.connected('e2', { slots: 2, labels: { pool: 'two' } });
    const contract = makeContract();
    const request = { idempotencyKey: 'key', selector: { pool: 'two' } };
    await Promise.all([test.submit(contract, request), test.submit(contract, request)]);
    const next = await test.submit(makeContract(), { selector: { pool: 'two' } });
    expect(next.state).toBe(ExecutionState.OFFERED);
    expect(executor.offered).toHaveLength(2);
  });

  it('is refused for one of two contracts that come at once', async () => {
    const both = await Promise.allSettled([
      test.submit(makeContract(), { idempotencyKey: 'key' }),
      test.submit(makeContract(), { idempotencyKey: 'key' }),
    ]);
    expect(both.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected']);
    expect(both).toContainEqual({ status: 'rejected', reason: rejected('IDEMPOTENCY_CONFLICT') });
  });

  it('may be empty, and then means nothing', async () => {
    const contract = makeContract();
    const first = await test.submit(contract);
    expect((await test.submit(contract)).executionId).not.toBe(first.executionId);
  });
});

describe('a request that is refused', () => {
  const codeOf = async (promise: Promise<unknown>) => promise.catch((error: { code: string }) => error.code);

  it('names every fault of its contract', async () => {
    const value = Buffer.from(JSON.stringify({ ...makeContract(), intent: '', risk_class: 'none' }));
    const refusal = await test
      .as(agent)
      .submit(toRequest(makeContract(), { contract: { $case: 'contractJson', value } }))
      .catch((error: unknown) => error);
    expect(refusal).toMatchObject({
      code: 'CONTRACT_INVALID',
      faults: [{ path: 'intent' }, { path: 'risk_class' }],
    });
  });

  it('names every fault of a typed contract', async () => {
    const value = { ...toTyped(makeContract()), version: 'csc.v9', commands: [] };
    const refusal = await test
      .as(agent)
      .submit(toRequest(makeContract(), { contract: { $case: 'typedContract', value } }))
      .catch((error: unknown) => error);
    expect(refusal).toMatchObject({
      code: 'CONTRACT_INVALID',
      faults: [{ path: 'version' }, { path: 'commands' }],
    });
  });

  it('has no contract at all', async () => {
    const request = toRequest(makeContract(), { contract: undefined });
    expect(await codeOf(test.as(agent).submit(request))).toBe('CONTRACT_INVALID');
  });

  it.each([
    { idempotencyKey: 'x'.repeat(257) },
    { approvalsJson: Array<Buffer>(17).fill(Buffer.from('{}')) },
    { selector: Object.fromEntries(Array.from({ length: 65 }, (_, index) => [`label-${index}`, 'x'])) },
    { selector: { pool: 'x'.repeat(257) } },
    { options: { receiptVersion: 'csc.receipt.v9', queueTimeout: undefined } },
  ])('asks for too much: %o', async (request) => {
    expect(await codeOf(test.submit(makeContract(), request))).toBe('REQUEST_INVALID');
  });

  it('comes from an identity without a binding', async () => {
    expect(await codeOf(test.submit(makeContract(), { principal: stranger }))).toBe('NOT_PERMITTED');
  });

  it.each(['wide', 'held', 'no-such-profile'])(
    'wants a profile that its identity is not bound to: %s',
    async (it) => {
      const refused = test.submit(makeContract(), { principal: other, policyProfile: it });
      expect(await codeOf(refused)).toBe('NOT_PERMITTED');
    },
  );

  it('leaves nothing behind', async () => {
    const idempotencyKey = randomUUID();
    expect(await codeOf(test.submit(makeContract(), { idempotencyKey, options: noWait }))).toBe(
      'NO_MATCHING_EXECUTOR',
    );
    const { executions } = await test.as(agent).listExecutions({ states: [], pageSize: 0, pageToken: '' });
    expect(executions).toEqual([]);
    await test.connected('e1');
    expect((await test.submit(makeContract(), { idempotencyKey })).existing).toBe(false);
  });
});

describe('check', () => {
  it('decides like submit, and records nothing', async () => {
    const contract = deniedContract();
    const { decision } = await test.as(agent).check({
      contract: toRequest(contract).contract,
      policyProfile: '',
      terminal: false,
    });
    expect(decision).toEqual((await test.submit(contract)).decision);
    const { executions } = await test.as(agent).listExecutions({ states: [], pageSize: 0, pageToken: '' });
    expect(executions).toHaveLength(1);
  });
});
