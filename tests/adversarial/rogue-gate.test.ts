import { existsSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { CommandContract } from '@csc-fleet/common/contract';
import { contractSha256 } from '@csc-fleet/common/contract';
import { parseReceipt } from '@csc-fleet/common/receipt';
import { makeApproval } from '@csc-fleet/test-kit/approval';
import type { CommandShort } from '@csc-fleet/test-kit/contract';
import { type Fleet, startFleet } from '@csc-fleet/test-kit/fleet';
import { RogueGate, strangerSigner } from '@csc-fleet/test-kit/rogue-gate';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

let fleet: Fleet;
let rogue: RogueGate;
let out: string;
let number = 0;

// Unsigned approvals do not count on this host: a gate that is taken over could write them itself.
const victim = { name: 'victim', config: { accept_unsigned_approvals: false, slots: 64 } };

beforeAll(async () => {
  fleet = await startFleet({ executors: [victim] });
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

const raw = (ticketJson: Buffer, contract: CommandContract) => ({
  executionId: (JSON.parse(ticketJson.toString()) as { execution_id: string }).execution_id,
  ticketJson,
  contractJson: Buffer.from(JSON.stringify(contract)),
  approvalsJson: [] as Buffer[],
  submissionJson: Buffer.alloc(0),
});

/** Bytes of memory that the victim has had at once, at most (proc_pid_status(5)). */
function peakMemory(): number {
  const status = readFileSync(`/proc/${fleet.executor('victim').child.pid}/status`, 'latin1');
  return Number(/^VmHWM:\s+(\d+) kB/m.exec(status)?.[1]) * 1024;
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
    const approval = { ...makeApproval(contract, { approval_id: 'made-up', scope: 'time_window' }) };
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
        submissionJson: Buffer.from(junk),
      };
      rogue.send({ $case: 'offer', value: offer });
    }
    const { contract } = marking();
    expect((await rogue.offer(rogue.ticket(contract), contract)).$case).toBe('accepted');
    expect(fleet.executor('victim').running).toBe(true);
  });

  describe('cannot have two signed outcomes', () => {
    const sameExecution = () => ({ execution_id: crypto.randomUUID() });

    it('of one execution, by a ticket for another contract', async () => {
      const execution = sameExecution();
      const [wanted, other] = [fleet.contract({}), fleet.contract({ argv: ['false'] })];
      const swapped = { ...raw(rogue.ticket(other, execution), wanted) };
      expect(await rogue.offerRaw(swapped)).toMatchObject({ value: { reason: 'CONTRACT_HASH_MISMATCH' } });
      const late = new Date(Date.now() - 1000).toISOString();
      const early = new Date(Date.now() - 50_000).toISOString();
      const expired = { ...execution, not_before: early, expires_at: late };
      expect((await rogue.offer(rogue.ticket(other, expired), wanted)).$case).toBe('refused');
      const ticket = rogue.ticket(wanted, execution);
      expect((await rogue.offer(ticket, wanted)).$case).toBe('accepted');
      await rogue.receiptFor(ticket);
      expect(rogue.outcomesOf(execution.execution_id)).toHaveLength(1);
    });

    it('of one execution, by having it refused before it runs', async () => {
      const execution = sameExecution();
      const denied = fleet.contract({ network: 'full' });
      const ticket = rogue.ticket(denied, execution);
      expect(await rogue.offer(ticket, denied)).toMatchObject({ value: { reason: 'NOT_PERMITTED' } });
      const { contract, ran } = marking();
      for (const again of [rogue.ticket(contract, execution), ticket]) {
        const reoffered = again === ticket ? denied : contract;
        await expectRefused(await rogue.offer(again, reoffered), 'TICKET_REPLAYED', ran);
      }
      expect(rogue.outcomesOf(execution.execution_id)).toHaveLength(1);
    });

    it('of one ticket, by killing the host and taking its state away', async () => {
      const { contract } = marking();
      const ticket = rogue.ticket(contract, { not_before: new Date(Date.now() + 700).toISOString() });
      expect((await rogue.offer(ticket, contract)).$case).toBe('accepted');
      await rogue.receiptFor(ticket);
      const fresh = marking();
      await fleet.executor('victim').stop('SIGKILL');
      rmSync(join(fleet.directory, 'executor-victim'), { recursive: true });
      await fleet.startExecutor(victim);
      const refused = await rogue.offer(ticket, contract);
      expect(refused).toMatchObject({ value: { reason: 'TICKET_EXPIRED', receiptJson: Buffer.alloc(0) } });
      // A ticket from after the new beginning is as good as ever.
      const next = rogue.ticket(fresh.contract);
      expect((await rogue.offer(next, fresh.contract)).$case).toBe('accepted');
      await rogue.receiptFor(next);
      expect(fresh.ran()).toBe(true);
    });
  });

  it('cannot make it fill its memory with what it owes', async () => {
    const long = Array.from({ length: 4 }, () => fleet.contract({ id: 'x'.repeat(900_000) }));
    for (const contract of long) {
      const ticket = rogue.ticket(contract);
      expect((await rogue.offer(ticket, contract)).$case).toBe('accepted');
      await rogue.receiptFor(ticket);
    }
    const before = peakMemory();
    const welcome = {
      gateId: 'gate',
      heartbeatInterval: { seconds: 10, nanos: 0 },
      chainHeadJson: Buffer.alloc(0),
      sentAt: undefined,
    };
    await rogue.reconnected(() => {
      for (let count = 0; count < 19_320; count += 1) rogue.send({ $case: 'welcome', value: welcome });
    });
    expect(peakMemory() - before).toBeLessThan(256 * 1024 * 1024);
    await fleet.executor('victim').waitFor(/Welcome a second time/);
  });

  const empty = () => ({ sequence: 0, kind: undefined, signature: Buffer.alloc(0) });
  const offering = (more: object) => (contract: CommandContract) =>
    ({ $case: 'offer', value: { ...raw(rogue.ticket(contract), contract), ...more } }) as const;
  it.each<[string, (contract: CommandContract) => Parameters<RogueGate['send']>[0]]>([
    ['an offer with an id of a megabyte', offering({ executionId: 'x'.repeat(1 << 20) })],
    [
      'an offer with approvals by the million',
      offering({ approvalsJson: Array(1 << 20).fill(Buffer.alloc(0)) }),
    ],
    [
      'a terminal’s frames by the million',
      () => ({ $case: 'terminalInput', value: { executionId: 'x', frames: Array(2 << 20).fill(empty()) } }),
    ],
  ])('loses its connection by %s, and no memory is filled', async (_what, message) => {
    const contract = fleet.contract({});
    const before = peakMemory();
    await rogue.reconnected(() => rogue.send(message(contract)));
    expect(peakMemory() - before).toBeLessThan(128 * 1024 * 1024);
    expect((await rogue.offer(rogue.ticket(contract), contract)).$case).toBe('accepted');
  });

  it('leaves no drain behind for the gate that comes after it', async () => {
    const { contract, ran } = marking();
    rogue.send({ $case: 'drain', value: {} });
    const refused = await rogue.offer(rogue.ticket(contract), contract);
    expect(refused).toMatchObject({ $case: 'refused', value: { reason: 'DRAINING' } });
    expect(ran()).toBe(false);
    await rogue.reconnected(() => rogue.hangUp());
    expect((await rogue.offer(rogue.ticket(contract), contract)).$case).toBe('accepted');
  });
});
