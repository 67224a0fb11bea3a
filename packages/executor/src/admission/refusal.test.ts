import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { contractSha256 } from '@csc-fleet/common/contract';
import { createSigner, generateKeyPair } from '@csc-fleet/common/crypto';
import { canonicalBytes, type JsonObject, toTimestamp } from '@csc-fleet/common/encoding';
import { CscError } from '@csc-fleet/common/errors';
import { makeContract } from '@csc-fleet/test-kit/contract';
import type { OfferOverrides } from '@csc-fleet/test-kit/executor/scripted-gate';
import { makePolicy, openWorkbench, type Workbench } from '@csc-fleet/test-kit/executor/workbench';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { toUnsigned } from './refusal.ts';

let bench: Workbench;

beforeEach(async () => {
  bench = await openWorkbench({ policyLines: ['network: full', 'allow_secret_refs: true'] });
});

afterEach(() => bench.close());

const inSeconds = (seconds: number) => toTimestamp(new Date(Date.now() + 1000 * seconds));

/** Offers a contract that would leave a file, and gives the refusal; makes sure that nothing ran. */
async function refusal(overrides: OfferOverrides = {}, contract = marking()) {
  const id = bench.gate.offer(contract, bench.policy, overrides);
  const refused = await bench.gate.next('refused', id);
  expect(bench.gate.all('accepted')).toEqual([]);
  expect(readdirSync(bench.out)).toEqual([]);
  expect(readdirSync(join(bench.stateDir, 'spool'))).toEqual([]);
  return refused;
}

function marking(overrides: Parameters<typeof makeContract>[2] = {}) {
  return makeContract(
    bench.workspace,
    [{ argv: ['sh', '-c', 'echo ran > out/mark'], write_paths: [bench.out] }],
    overrides,
  );
}

function approval(contractHash: string, overrides: JsonObject = {}): JsonObject {
  return {
    approval_version: 'csc.approval.v0.1',
    approval_id: 'approval-1',
    contract_sha256: contractHash,
    approver: { identity: 'ann@example.com', method: 'cli' },
    approved_at: inSeconds(-60),
    expires_at: inSeconds(600),
    scope: 'single_execution',
    ...overrides,
  };
}

describe('a ticket that is not genuine is refused without a receipt', () => {
  const stranger = createSigner(generateKeyPair().seed, 'gate-test');
  const unknown = createSigner(generateKeyPair().seed, 'gate-other');

  it.each<[string, string, OfferOverrides | (() => OfferOverrides)]>([
    ['signed by another key', 'TICKET_INVALID', { signer: stranger }],
    ['signed by a key that is not trusted', 'TICKET_INVALID', { signer: unknown }],
    ['for another executor', 'WRONG_AUDIENCE', { ticket: { audience: 'executor-2' } }],
    ['for another execution', 'TICKET_INVALID', { executionId: 'exec_other' }],
    [
      'not yet valid',
      'TICKET_EXPIRED',
      () => ({ ticket: { not_before: inSeconds(20), expires_at: inSeconds(40) } }),
    ],
    ['valid for more than 60 s', 'TICKET_INVALID', () => ({ ticket: { expires_at: inSeconds(61) } })],
    ['without a readable contract', 'CONTRACT_INVALID', { contractJson: Buffer.from('{}') }],
    [
      'for another contract',
      'CONTRACT_HASH_MISMATCH',
      () => ({ contractJson: canonicalBytes(marking({ intent: 'else' })) }),
    ],
    [
      'for another contract, and expired',
      'TICKET_EXPIRED',
      () => ({
        contractJson: canonicalBytes(marking({ intent: 'else' })),
        ticket: { not_before: inSeconds(-50), expires_at: inSeconds(-1) },
      }),
    ],
    ['for another epoch of this host', 'TICKET_INVALID', { ticket: { executor_epoch: '0'.repeat(32) } }],
    ['with a ticket id that is too long', 'TICKET_INVALID', { ticket: { ticket_id: 't'.repeat(257) } }],
  ])('%s', async (_name, reason, given) => {
    const refused = await refusal(typeof given === 'function' ? given() : given);
    expect(refused.reason).toBe(reason);
    expect(refused.receiptJson).toHaveLength(0);
  });

  it('no ticket at all', async () => {
    const offer = { ...bench.gate.mint(marking(), bench.policy), ticketJson: Buffer.from('[]') };
    bench.gate.send({ $case: 'offer', value: offer });
    const refused = await bench.gate.next('refused', offer.executionId);
    expect([refused.reason, refused.receiptJson.length]).toEqual(['TICKET_INVALID', 0]);
  });
});

async function blocked(overrides: OfferOverrides = {}, contract = marking()) {
  const refused = await refusal(overrides, contract);
  const receipt = bench.gate.verify(refused.receiptJson);
  expect(receipt).toMatchObject({
    receipt_version: 'csc.receipt.v0.2',
    status: 'blocked',
    ended: 'refused',
    executor_id: 'executor-1',
    commands: [],
    error: `${refused.reason}: ${refused.message}`,
  });
  expect(receipt).not.toHaveProperty('previous_receipt_sha256');
  return { refused, receipt };
}

it('a refusal for a fault of the host is signed by nobody: another may run it', async () => {
  const elsewhere = makePolicy(bench.workspace, ['require_write_paths_empty: false', 'network: full']);
  const refused = await refusal({ ticket: { policy_sha256: elsewhere.sha256 } });
  expect([refused.reason, refused.receiptJson.length]).toEqual(['POLICY_UNSIGNED', 0]);
  // Of one name, so that both hashes are told.
  expect(refused.message).toContain(`(${elsewhere.sha256}), and this host holds another version of it, `);
  expect(refused.message).toContain(bench.policy.sha256);
});

it.each([
  ['EMFILE', 'SANDBOX_UNAVAILABLE'],
  ['ENOSPC', 'SPOOL_FULL'],
])('%s is a fault of the host, wherever it strikes', async (code, reason) => {
  const cause = Object.assign(new Error(`${code}: open`), { code });
  for (const error of [cause, new CscError('SCOPE_NOT_FOUND', 'commands[0].cwd is not there', { cause })])
    expect(toUnsigned({ executionId: 'e' }, error)).toMatchObject({
      reason,
      message: expect.stringContaining(code),
    });
});

it.each([
  ['ENOENT', 'SANDBOX_UNAVAILABLE'],
  ['EIO', 'SANDBOX_UNAVAILABLE'],
  // Of a name that was asked for, and so on every host.
  ['ENAMETOOLONG', 'INTERNAL'],
])('%s of its system is a fault of the host, unless it is asked for', (code, reason) => {
  const error = Object.assign(new Error(`${code}: open`), { code, syscall: 'open' });
  expect(toUnsigned({ executionId: 'e' }, error)).toMatchObject({ reason });
});

it('a full disk is named by what was to be written there, where that is known', () => {
  const full = (members: object) =>
    toUnsigned({ executionId: 'e' }, Object.assign(new Error('full'), { code: 'ENOSPC', ...members }))
      .message;
  expect(full({ path: '/srv/builds/out/a.o' })).toContain('make room on the disk of /srv/builds/out');
  expect(full({})).toContain('make room in state_dir and /tmp');
});

describe('a genuine ticket that is refused gets a signed blocked receipt', () => {
  it('denied by the policy, though the gate allowed it', async () => {
    const { refused, receipt } = await blocked({}, marking({ risk_class: 'critical' }));
    expect(refused.reason).toBe('NOT_PERMITTED');
    expect(refused.message).toContain('RISK_CLASS_NOT_ALLOWED');
    expect(receipt).toMatchObject({ policy_profile: 'test', policy_sha256: bench.policy.sha256 });
  });

  it.each(['allowlisted', 'full'] as const)('that asks for network %s', async (network) => {
    const { refused } = await blocked({}, makeContract(bench.workspace, [{ network }]));
    expect(refused.reason).toBe('HOST_CEILING_EXCEEDED');
    expect(refused.message).toContain('commands[0].network');
  });

  it('that asks for secrets', async () => {
    const { refused } = await blocked({}, makeContract(bench.workspace, [{ secret_refs: ['token'] }]));
    expect(refused.reason).toBe('HOST_CEILING_EXCEEDED');
  });

  it('that asks for a hundred thousand secrets, in a message that is no longer than a gate takes', async () => {
    const names = Array.from({ length: 100_000 }, (_, index) => `a-name-of-a-secret-${index}`);
    const contract = makeContract(bench.workspace, [{ secret_refs: names.slice(0, 20_000) }]);
    const refused = await refusal({}, contract);
    expect(refused.reason).toBe('HOST_CEILING_EXCEEDED');
    expect(refused.message.length).toBeLessThanOrEqual(4000);
    expect(refused.message).toContain('secret_refs[0]');
    const unsigned = toUnsigned({ executionId: 'e' }, new CscError('NOT_PERMITTED', names.join(', ')));
    expect(unsigned.message.length).toBe(4000);
  });

  it('in the version that was asked for', async () => {
    const contract = makeContract(bench.workspace, [{ network: 'full' }]);
    const limits = { stdout_bytes: 1, stderr_bytes: 1 };
    const refused = await refusal(
      { ticket: { grant: { receipt_version: 'csc.receipt.v0.1', limits } } },
      contract,
    );
    const receipt = bench.gate.verify(refused.receiptJson);
    expect(receipt).toMatchObject({ receipt_version: 'csc.receipt.v0.1', status: 'blocked' });
    expect(receipt).not.toHaveProperty('commands');
  });

  describe('where approval is needed', () => {
    const contract = () => marking({ approval_mode: 'human_required' });

    it('and none came', async () => {
      expect((await blocked({}, contract())).refused.reason).toBe('APPROVAL_INVALID');
    });

    it('and the ticket does not name the one that came', async () => {
      const needed = contract();
      const approvals = [approval(contractSha256(needed))];
      const overrides = { approvals, ticket: { approval_ids: [] } };
      expect((await blocked(overrides, needed)).refused.reason).toBe('APPROVAL_INVALID');
    });

    it('and this host takes no unsigned ones', async () => {
      const needed = contract();
      const { refused } = await blocked({ approvals: [approval(contractSha256(needed))] }, needed);
      expect(refused.reason).toBe('APPROVAL_INVALID');
      expect(refused.message).toContain('accept_unsigned_approvals');
    });
  });
});

describe('where unsigned approvals count', () => {
  beforeEach(async () => {
    await bench.close();
    bench = await openWorkbench({ executor: { acceptUnsignedApprovals: true } });
  });

  const needing = (overrides = {}) =>
    makeContract(bench.workspace, [{}], { approval_mode: 'human_required', ...overrides });

  it('none came, none counts', async () => {
    const id = bench.gate.offer(needing(), bench.policy);
    expect((await bench.gate.next('refused', id)).reason).toBe('APPROVAL_INVALID');
    expect(bench.gate.all('accepted')).toEqual([]);
  });

  it('one that the ticket does not name does not count, alone or beside one that it does', async () => {
    const contract = needing();
    const [named, unnamed] = ['approval-1', 'approval-2'].map((approval_id) =>
      approval(contractSha256(contract), { approval_id }),
    );
    const alone = { approvals: [unnamed ?? {}], ticket: { approval_ids: ['approval-1'] } };
    const refused = await bench.gate.next('refused', bench.gate.offer(contract, bench.policy, alone));
    expect(refused.reason).toBe('APPROVAL_INVALID');
    const both = { approvals: [named ?? {}, unnamed ?? {}], ticket: { approval_ids: ['approval-1'] } };
    const { approvals } = await bench.gate.receipt(bench.gate.offer(contract, bench.policy, both));
    expect(approvals?.map(({ approval_id }) => approval_id)).toEqual(['approval-1']);
  });

  it.each([
    ['has expired', () => approval('', { approved_at: inSeconds(-600), expires_at: inSeconds(-1) })],
    ['is for another contract', () => approval('', { contract_sha256: '0'.repeat(64) })],
    [
      'ends before it begins',
      () => approval('', { approved_at: inSeconds(700), expires_at: inSeconds(600) }),
    ],
    ['has a member that nobody knows', () => approval('', { colour: 'red' })],
  ])('an approval that %s is refused', async (_name, make) => {
    const contract = needing();
    const given = make();
    const approvals = [{ ...given, contract_sha256: given['contract_sha256'] || contractSha256(contract) }];
    const id = bench.gate.offer(contract, bench.policy, { approvals });
    expect((await bench.gate.next('refused', id)).reason).toBe('APPROVAL_INVALID');
  });

  it.each([1, 2])('%i of them are no two people’s', async (count) => {
    const contract = marking({ approval_mode: 'dual_control_required' });
    const approvals = Array.from({ length: count }, (_, index) =>
      approval(contractSha256(contract), {
        approval_id: `approval-${index}`,
        approver: `${index}@example.com`,
      }),
    );
    const { refused, receipt } = await blocked({ approvals }, contract);
    expect(refused.reason).toBe('APPROVAL_INVALID');
    expect(refused.message).toContain('dual_control: one_approval in executor.yaml');
    expect(receipt.error).toContain('approval_mode is dual_control_required');
  });

  it('one stands for two people’s where the owner of this host has said so', async () => {
    await bench.close();
    bench = await openWorkbench({ executor: { acceptUnsignedApprovals: true, dualControl: 'one_approval' } });
    const contract = needing({ approval_mode: 'dual_control_required' });
    const approvals = [approval(contractSha256(contract))];
    const receipt = await bench.gate.receipt(bench.gate.offer(contract, bench.policy, { approvals }));
    expect(receipt.status).toBe('success');
  });

  it('one for a single execution is used up by it, also after a restart', async () => {
    const contract = needing();
    const approvals = [approval(contractSha256(contract))];
    const first = await bench.gate.receipt(bench.gate.offer(contract, bench.policy, { approvals }));
    expect(first).toMatchObject({
      status: 'success',
      approvals: [{ approval_id: 'approval-1', approver: 'ann@example.com', scope: 'single_execution' }],
    });
    await bench.restart();
    const second = bench.gate.offer(contract, bench.policy, { approvals });
    const refused = await bench.gate.next('refused', second);
    expect(refused.reason).toBe('APPROVAL_INVALID');
    expect(bench.gate.verify(refused.receiptJson)).toMatchObject({ status: 'blocked' });
  });

  it('one for a time window counts again', async () => {
    const contract = needing();
    const approvals = [approval(contractSha256(contract), { scope: 'time_window' })];
    for (let round = 0; round < 2; round += 1) {
      const receipt = await bench.gate.receipt(bench.gate.offer(contract, bench.policy, { approvals }));
      expect(receipt.status).toBe('success');
    }
  });

  it('one that nobody needed is not used up', async () => {
    const contract = makeContract(bench.workspace, [{}]);
    const approvals = [approval(contractSha256(contract))];
    for (let round = 0; round < 2; round += 1) {
      const receipt = await bench.gate.receipt(bench.gate.offer(contract, bench.policy, { approvals }));
      expect(receipt).toMatchObject({ status: 'success', approvals: [] });
    }
  });
});

describe('at most once', () => {
  it('a ticket of a gate whose clock is ahead is redeemed only once it has begun', async () => {
    await bench.close();
    let redeemedAt = 0;
    bench = await openWorkbench({
      wrapJournal: (journal) => ({
        ...journal,
        redeem: (redemption) => {
          redeemedAt = Date.now();
          return journal.redeem(redemption);
        },
      }),
    });
    const begins = Date.now() + 400;
    const times = {
      not_before: toTimestamp(new Date(begins)),
      expires_at: toTimestamp(new Date(begins + 30_000)),
    };
    const contract = makeContract(bench.workspace, [{}]);
    const id = bench.gate.offer(contract, bench.policy, { ticket: times });
    expect((await bench.gate.receipt(id)).status).toBe('success');
    expect(redeemedAt).toBeGreaterThanOrEqual(begins);
  });

  it('a ticket is not redeemed again, nor after a restart, and gets no second receipt', async () => {
    const offer = bench.gate.mint(marking(), bench.policy);
    bench.gate.send({ $case: 'offer', value: offer });
    await bench.gate.receipt(offer.executionId);
    for (const restart of [false, true]) {
      if (restart) await bench.restart();
      const before = bench.gate.all('refused').length;
      bench.gate.send({ $case: 'offer', value: offer });
      await expect.poll(() => bench.gate.all('refused').length).toBe(before + 1);
      const refused = bench.gate.all('refused').at(-1);
      expect([refused?.reason, refused?.receiptJson.length]).toEqual(['TICKET_REPLAYED', 0]);
    }
    expect(bench.gate.all('receipt', offer.executionId)).toHaveLength(1);
  });

  it('a ticket that has expired since it was redeemed gets no blocked receipt', async () => {
    await bench.close();
    let ahead = 0;
    bench = await openWorkbench({ deps: { clock: { now: () => new Date(Date.now() + ahead) } } });
    const offer = bench.gate.mint(marking(), bench.policy);
    bench.gate.send({ $case: 'offer', value: offer });
    await bench.gate.receipt(offer.executionId);
    ahead = 120_000;
    bench.gate.send({ $case: 'offer', value: offer });
    const refused = await bench.gate.next('refused', offer.executionId);
    expect([refused.reason, refused.receiptJson.length]).toEqual(['TICKET_EXPIRED', 0]);
  });

  it('the same offer twice at the same moment runs once', async () => {
    const contract = makeContract(bench.workspace, [
      { argv: ['sh', '-c', 'echo ran >> out/mark'], write_paths: [bench.out] },
    ]);
    const offer = bench.gate.mint(contract, bench.policy);
    for (let count = 0; count < 3; count += 1) bench.gate.send({ $case: 'offer', value: offer });
    const receipt = await bench.gate.next('receipt', offer.executionId);
    expect(bench.gate.verify(receipt.receiptJson)).toMatchObject({
      status: 'success',
      effect_summary: { files_written: 1 },
    });
    expect(bench.gate.all('refused', offer.executionId).map(({ reason }) => reason)).toEqual([
      'TICKET_REPLAYED',
      'TICKET_REPLAYED',
    ]);
    expect(bench.gate.all('accepted', offer.executionId)).toHaveLength(1);
  });

  it('two tickets for one execution start one of them', async () => {
    const ticket = { execution_id: 'exec_same' };
    for (let count = 0; count < 2; count += 1) bench.gate.offer(marking(), bench.policy, { ticket });
    await bench.gate.next('receipt', 'exec_same');
    bench.gate.offer(marking(), bench.policy, { ticket });
    await expect.poll(() => bench.gate.all('refused', 'exec_same').length).toBe(2);
    expect(bench.gate.all('accepted', 'exec_same')).toHaveLength(1);
  });
});

describe('what may succeed at another time is refused without a receipt', () => {
  it('an offer beyond the slots', async () => {
    const sleeping = () => makeContract(bench.workspace, [{ argv: ['sleep', '60'] }]);
    for (let slot = 0; slot < 4; slot += 1) {
      await bench.gate.next('commandStarted', bench.gate.offer(sleeping(), bench.policy));
    }
    const id = bench.gate.offer(sleeping(), bench.policy);
    const refused = await bench.gate.next('refused', id);
    expect([refused.reason, refused.receiptJson.length]).toEqual(['QUEUE_FULL', 0]);
  });

  it('but not the one after a row of offers that were refused', async () => {
    for (let count = 0; count < 6; count += 1) {
      const junk = {
        executionId: 'x',
        ticketJson: Buffer.from('{'),
        contractJson: Buffer.from('['),
        approvalsJson: [],
        submissionJson: Buffer.from('{'),
      };
      bench.gate.send({ $case: 'offer', value: junk });
    }
    expect((await bench.gate.receipt(bench.gate.offer(marking(), bench.policy))).status).toBe('success');
    expect(new Set(bench.gate.all('refused', 'x').map(({ reason }) => reason))).toEqual(
      new Set(['CONTRACT_INVALID']),
    );
  });

  it('an offer to a host that drains', async () => {
    bench.gate.send({ $case: 'drain', value: {} });
    const refused = await refusal();
    expect([refused.reason, refused.receiptJson.length]).toEqual(['DRAINING', 0]);
  });

  it('an offer whose output might not fit', async () => {
    await bench.close();
    bench = await openWorkbench({ executor: { limits: { spoolBytes: 1000 } } });
    const refused = await refusal();
    expect([refused.reason, refused.receiptJson.length]).toEqual(['SPOOL_FULL', 0]);
  });
});
