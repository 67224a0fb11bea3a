import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { CommandContract } from '@csc-fleet/common/contract';
import { contractSha256 } from '@csc-fleet/common/contract';
import { parseReceipt } from '@csc-fleet/common/receipt';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { CommandShort } from '../support/contract.ts';
import { type Fleet, startFleet } from '../support/fleet.ts';
import { RogueGate, strangerSigner } from '../support/rogue-gate.ts';

let fleet: Fleet;
let rogue: RogueGate;
let out: string;
let number = 0;

// Unsigned approvals do not count on this host: a gate that is taken over could write them itself.
beforeAll(async () => {
  fleet = await startFleet({
    executors: [{ name: 'victim', config: { accept_unsigned_approvals: false, slots: 64 } }],
  });
  out = fleet.writable('out');
  rogue = await RogueGate.takeOver(fleet);
});
afterAll(async () => {
  await rogue[Symbol.asyncDispose]();
  await fleet[Symbol.asyncDispose]();
});

/** A contract that would leave a mark if it ran. */
function marking(short: CommandShort = {}, overrides: Partial<CommandContract> = {}) {
  const mark = join(out, `mark-${++number}`);
  const contract = fleet.contract({ argv: ['touch', mark], write_paths: [out], ...short }, overrides);
  return { contract, ran: () => existsSync(mark) };
}

/** That the executor has refused for this reason, and that nothing ran. */
async function expectRefused(
  answer: Awaited<ReturnType<RogueGate['offer']>>,
  reason: string,
  ran: () => boolean,
) {
  expect(answer).toMatchObject({ $case: 'refused', value: { reason } });
  // Refusals come before the launch; were it not so, the mark would be there by the end of the next run.
  const harmless = fleet.contract({});
  const ticket = rogue.ticket(harmless);
  expect(await rogue.offer(ticket, harmless)).toMatchObject({ $case: 'accepted' });
  await rogue.receiptFor(ticket);
  expect(ran()).toBe(false);
  return answer.$case === 'refused' ? answer.value : undefined;
}

describe('a gate that is taken over, with its certificate and its signing key', () => {
  it('can have run what the policy on the host allows', async () => {
    const { contract } = marking();
    expect((await rogue.offer(rogue.ticket(contract), contract)).$case).toBe('accepted');
  });

  it.each<[string, CommandShort, Partial<CommandContract>]>([
    ['a command', { argv: ['dd', 'of=/tmp/x'] }, {}],
    ['a risk class', {}, { risk_class: 'critical' }],
    ['a write scope', { write_paths: ['/etc'] }, {}],
    ['a read scope', { read_paths: ['/root'] }, {}],
    ['a working directory', { cwd: '/' }, {}],
    ['a time-out', { timeout_sec: 86400 }, {}],
    ['a network', { network: 'full' }, {}],
    ['an effect', { proposed_effect_type: 'deploy' }, {}],
  ])('cannot have run %s that the policy forbids', async (_what, short, overrides) => {
    const { contract, ran } = marking(short, overrides);
    const refused = await expectRefused(
      await rogue.offer(rogue.ticket(contract), contract),
      'NOT_PERMITTED',
      ran,
    );
    const receipt = parseReceipt(refused?.receiptJson ?? Buffer.alloc(0));
    expect(receipt).toMatchObject({ ok: true, value: { status: 'blocked', executor_id: 'victim' } });
  });

  it('cannot swap the contract behind a ticket', async () => {
    const { contract, ran } = marking();
    const ticket = rogue.ticket(fleet.contract({}));
    await expectRefused(await rogue.offer(ticket, contract), 'CONTRACT_HASH_MISMATCH', ran);
  });

  it('cannot bring a policy of its own', async () => {
    const { contract, ran } = marking();
    const ticket = rogue.ticket(contract, { policy_sha256: 'a'.repeat(64) });
    await expectRefused(await rogue.offer(ticket, contract), 'POLICY_UNSIGNED', ran);
  });

  it('cannot use a ticket for another host', async () => {
    const { contract, ran } = marking();
    await expectRefused(
      await rogue.offer(rogue.ticket(contract, { audience: 'other' }), contract),
      'WRONG_AUDIENCE',
      ran,
    );
  });

  it('cannot use a ticket twice, nor run the same execution under a second one', async () => {
    const first = fleet.contract({});
    const ticket = rogue.ticket(first);
    expect((await rogue.offer(ticket, first)).$case).toBe('accepted');
    expect(await rogue.offer(ticket, first)).toMatchObject({ value: { reason: 'TICKET_REPLAYED' } });
  });

  it('cannot use a ticket that has expired, is not yet valid, or lives too long', async () => {
    const at = (seconds: number) => new Date(Date.now() + seconds * 1000).toISOString();
    const { contract, ran } = marking();
    const old = rogue.ticket(contract, { not_before: at(-120), expires_at: at(-60) });
    const early = rogue.ticket(contract, { not_before: at(30), expires_at: at(60) });
    const long = rogue.ticket(contract, { expires_at: at(3600) });
    expect(await rogue.offer(old, contract)).toMatchObject({ $case: 'refused' });
    await expectRefused(await rogue.offer(early, contract), 'TICKET_INVALID', ran);
    await expectRefused(await rogue.offer(long, contract), 'TICKET_INVALID', ran);
  });

  it('cannot use a ticket that the pinned key has not signed', async () => {
    const { contract, ran } = marking();
    await expectRefused(
      await rogue.offer(rogue.ticket(contract, {}, strangerSigner()), contract),
      'TICKET_INVALID',
      ran,
    );
    const forged = JSON.parse(rogue.ticket(fleet.contract({})).toString()) as { contract_sha256: string };
    forged.contract_sha256 = contractSha256(contract);
    await expectRefused(
      await rogue.offer(Buffer.from(JSON.stringify(forged)), contract),
      'TICKET_INVALID',
      ran,
    );
  });

  it('cannot approve what needs a person', async () => {
    const { contract, ran } = marking({}, { approval_mode: 'human_required' });
    const approval = {
      approval_version: 'csc.approval.v0.1',
      approval_id: 'made-up',
      contract_sha256: contractSha256(contract),
      approver: { identity: 'boss@example.org', method: 'cli' },
      approved_at: new Date(Date.now() - 1000).toISOString(),
      expires_at: new Date(Date.now() + 60_000).toISOString(),
      scope: 'time_window',
    };
    await expectRefused(await rogue.offer(rogue.ticket(contract), contract), 'APPROVAL_INVALID', ran);
    const ticket = rogue.ticket(contract, { approval_ids: ['made-up'] });
    await expectRefused(await rogue.offer(ticket, contract, [approval]), 'APPROVAL_INVALID', ran);
  });

  it('cannot crash the executor with what it sends', async () => {
    for (const junk of ['', '{', '[]', '{"ticket_version":1}', 'null', '\u0000']) {
      const offer = {
        executionId: 'x',
        ticketJson: Buffer.from(junk),
        contractJson: Buffer.from(junk),
        approvalsJson: [Buffer.from(junk)],
      };
      rogue.send({ $case: 'offer', value: offer });
    }
    const { contract } = marking();
    expect((await rogue.offer(rogue.ticket(contract), contract)).$case).toBe('accepted');
    expect(fleet.executor('victim').running).toBe(true);
  });
});
