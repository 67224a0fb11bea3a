import type { CommandContract } from '@csc-fleet/common/contract';
import { createSigner, toBase64 } from '@csc-fleet/common/crypto';
import { sha256Hex, sha256Tagged, toTimestamp } from '@csc-fleet/common/encoding';
import { orThrow } from '@csc-fleet/common/errors';
import { signArtifact } from '@csc-fleet/common/evidence';
import { createOpener, makeSealKey } from '@csc-fleet/common/seal';
import { silentLog } from '@csc-fleet/common/service';
import { parseSubmission, submissionSha256 } from '@csc-fleet/common/submission';
import { makeApproval } from '@csc-fleet/test-kit/approval';
import { makeContract } from '@csc-fleet/test-kit/contract';
import { alice, bindings, bob, OwnedHost, signerOf } from '@csc-fleet/test-kit/executor/owned-host';
import type { OfferOverrides } from '@csc-fleet/test-kit/executor/scripted-gate';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

const host = new OwnedHost();

beforeEach(() => host.open());
afterEach(() => host.close());

describe('what its principal signed', () => {
  it('runs, and the receipt says for whom, by which submission and under which version of the owners’ word', async () => {
    const contract = host.marking();
    const submission = host.submit(contract);
    const receipt = await host.bench.gate.receipt(host.offer(contract, { submission }));
    expect(receipt).toMatchObject({
      status: 'success',
      principal: alice,
      submission_sha256: submissionSha256(orThrow(parseSubmission(submission), 'INTERNAL', 'it')),
      policy_version: 7,
    });
    expect(receipt).not.toHaveProperty('warnings');
  });

  it('gets less where it asked for less, whatever the ticket says', async () => {
    const contract = makeContract(host.bench.workspace, [{ argv: ['sh', '-c', 'echo 0123456789'] }]);
    const submission = host.submit(contract, { options: { limits: { stdout_bytes: 4 } } });
    const { commands } = await host.bench.gate.receipt(host.offer(contract, { submission }));
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
      (contract) => ({ submission: host.submit(contract, {}, createSigner(Buffer.alloc(32, 9), 'alice-1')) }),
    ],
    [
      'a contract of its own behind a submission',
      'CONTRACT_HASH_MISMATCH',
      () => ({ submission: host.submit(makeContract(host.bench.workspace, [{ argv: ['true'] }])) }),
    ],
    [
      'one principal’s submission as another’s',
      'TICKET_INVALID',
      (contract) => ({ submission: host.submit(contract, { principal: bob, policy_profile: 'other' }) }),
    ],
    [
      'it with another kind of receipt than was asked for',
      'TICKET_INVALID',
      (contract) => ({ submission: host.submit(contract, { receipt_version: 'csc.receipt.v0.1' }) }),
    ],
    [
      'it under a ticket that names no submission',
      'TICKET_INVALID',
      (contract) => ({ submission: host.submit(contract), ticket: { submission_sha256: 'f'.repeat(64) } }),
    ],
    [
      'it on a terminal that nobody asked for',
      'TICKET_INVALID',
      (contract) => ({ submission: host.submit(contract), ticket: { grant: { ...grant, terminal } } }),
    ],
    [
      'it without the terminal that was asked for',
      'TICKET_INVALID',
      (contract) => ({ submission: host.submit(contract, { options: { terminal } }) }),
    ],
    [
      'it on a terminal into which another key types',
      'TICKET_INVALID',
      (contract) => ({
        submission: host.submit(contract, { options: { terminal } }),
        ticket: { grant: { ...grant, terminal: { ...terminal, input_key: `${'B'.repeat(43)}=` } } },
      }),
    ],
    [
      'it on another host than it is for',
      'WRONG_AUDIENCE',
      (contract) => ({
        submission: host.submit(contract, {
          audience: { trust_domain: 'csc.local', selector: {}, executor_id: 'executor-2' },
        }),
      }),
    ],
    [
      'it on a host without the label that it asks for',
      'WRONG_AUDIENCE',
      (contract) => ({
        submission: host.submit(contract, {
          audience: { trust_domain: 'csc.local', selector: { tier: 'deploy' } },
        }),
      }),
    ],
  ])('%s', async (_, reason, over) => {
    const contract = host.marking();
    expect(await host.reasonOf(contract, over(contract))).toBe(reason);
  });

  it('what was submitted before this host’s journal began', async () => {
    const contract = host.marking();
    const past = new Date(Date.now() - 7_200_000);
    const submission = host.submit(contract, { not_before: toTimestamp(past) }, undefined, past);
    expect(await host.reasonOf(contract, { submission })).toBe('SUBMISSION_REPLAYED');
  });

  it('a submission under a ticket that names no epoch of this host', async () => {
    const contract = host.marking();
    const older = { submission: host.submit(contract), withoutEpoch: true } as const;
    expect(await host.reasonOf(contract, older)).toBe('TICKET_INVALID');
  });

  it('a contract under a policy that nobody has bound to its principal', async () => {
    const contract = host.marking();
    const submission = host.submit(contract, { policy_profile: 'other' });
    expect(await host.reasonOf(contract, { submission }, host.other)).toBe('NOT_PERMITTED');
  });

  it('another policy than the profile that was asked for', async () => {
    const contract = host.marking();
    const ticket = { policy_profile: 'test' };
    expect(await host.reasonOf(contract, { submission: host.submit(contract), ticket }, host.other)).toBe(
      'POLICY_UNSIGNED',
    );
  });

  it('one submission twice', async () => {
    const contract = makeContract(host.bench.workspace, [{ argv: ['true'] }]);
    const submission = host.submit(contract);
    await host.bench.gate.receipt(host.offer(contract, { submission }));
    expect(await host.reasonOf(contract, { submission })).toBe('SUBMISSION_REPLAYED');
    await host.bench.restart();
    expect(await host.reasonOf(contract, { submission })).toBe('SUBMISSION_REPLAYED');
  });

  it('a submission after the journal itself refused it, as its approval was used up', async () => {
    await host.open({ required: true }, silentLog, true);
    const contract = makeContract(host.bench.workspace, [{ argv: ['true'] }], {
      approval_mode: 'human_required',
    });
    const approvals = [{ ...makeApproval(contract) }];
    await host.bench.gate.receipt(host.offer(contract, { submission: host.submit(contract), approvals }));
    const submission = host.submit(contract);
    const refused = await host.bench.gate.next('refused', host.offer(contract, { submission, approvals }));
    expect(refused.reason).toBe('APPROVAL_INVALID');
    expect(await host.bench.gate.chained(refused.executionId)).toMatchObject({
      status: 'blocked',
      submission_sha256: sha256Hex(submission),
    });
    const again = [{ ...makeApproval(contract, { approval_id: 'another' }) }];
    expect(await host.reasonOf(contract, { submission, approvals: again })).toBe('SUBMISSION_REPLAYED');
  });

  it('a submission after its refusal was signed', async () => {
    const contract = host.marking({ approval_mode: 'human_required' });
    const submission = host.submit(contract);
    const refused = await host.bench.gate.next('refused', host.offer(contract, { submission }));
    expect(host.bench.gate.verify(refused.receiptJson)).toMatchObject({ status: 'blocked' });
    expect(await host.reasonOf(contract, { submission })).toBe('SUBMISSION_REPLAYED');
  });
});

describe('output that its submitter wants sealed', () => {
  const key = makeSealKey();
  const seal = { algorithm: 'csc.seal.v0.1', public_key: toBase64(key.publicKey) } as const;
  const printing = () =>
    makeContract(host.bench.workspace, [{ argv: ['sh', '-c', 'echo secret; echo why >&2'] }]);

  async function open(executionId: string, stream: 1 | 2): Promise<string> {
    const name = stream === 1 ? 'stdout' : 'stderr';
    const opener = createOpener(() => key, { executionId, commandId: 'main', stream: name });
    const chunks = host.bench.gate.output.chunks(executionId).filter((it) => it.stream === stream);
    const opened = await opener.push(Buffer.concat(chunks.map(({ data }) => data)));
    expect(opener.isWhole).toBe(true);
    return opened.toString();
  }

  it('leaves its host sealed, as the receipt says, and opens with the key', async () => {
    const contract = printing();
    const id = host.offer(contract, { submission: host.submit(contract, { options: { seal } }) });
    const receipt = await host.bench.gate.receipt(id);
    const log = host.bench.gate.output.log(id);
    expect(log.length).toBeGreaterThan(0);
    expect([log.includes('secret'), log.includes('why')]).toEqual([false, false]);
    expect([await open(id, 1), await open(id, 2)]).toEqual(['secret\n', 'why\n']);
    expect(receipt).toMatchObject({ status: 'success', sealed: seal });
    // The gate knows this hash: of what was printed, it could try out what that may have been.
    expect(receipt.stdout_hash).not.toBe(sha256Tagged('secret\n'));
    const sent = host.bench.gate.output.chunks(id).filter((it) => it.stream === 1);
    expect(receipt.stdout_hash).toBe(sha256Tagged(Buffer.concat(sent.map(({ data }) => data))));
  });

  it.each<[string, (contract: CommandContract) => OfferOverrides]>([
    [
      'with the wish for it taken out of what was signed',
      (contract) => {
        const signed = JSON.parse(host.submit(contract, { options: { seal } }).toString());
        return { submission: Buffer.from(JSON.stringify({ ...signed, options: {} })) };
      },
    ],
    [
      'with another key put in the place of the one that was signed',
      (contract) => {
        const signed = JSON.parse(host.submit(contract, { options: { seal } }).toString());
        const own = { ...seal, public_key: toBase64(makeSealKey().publicKey) };
        return { submission: Buffer.from(JSON.stringify({ ...signed, options: { seal: own } })) };
      },
    ],
    ['with the submission left out', () => ({})],
    [
      'to a key that protects nothing',
      (contract) => {
        const weak = { ...seal, public_key: toBase64(Buffer.alloc(32)) };
        return { submission: host.submit(contract, { options: { seal: weak } }) };
      },
    ],
    [
      'with a receipt that cannot say so',
      (contract) => ({
        submission: host.submit(contract, { options: { seal }, receipt_version: 'csc.receipt.v0.1' }),
        ticket: { grant: { ...grant, receipt_version: 'csc.receipt.v0.1' } },
      }),
    ],
  ])('does not run %s', async (_what, over) => {
    const contract = host.marking();
    expect(await host.reasonOf(contract, over(contract))).toBe('SUBMISSION_INVALID');
  });

  it('does not run for a wish that nobody has signed, where the owner asks for no submissions', async () => {
    await host.open({ required: false, enforce: 'warn' });
    const contract = host.marking();
    const submission = host.submit(
      contract,
      { options: { seal } },
      createSigner(Buffer.alloc(32, 9), 'alice-1'),
    );
    expect(await host.reasonOf(contract, { submission })).toBe('SUBMISSION_INVALID');
  });
});

describe('a gate cannot make more of a submission than was asked for', () => {
  it('by taking another profile where none is named, than the first that is bound', async () => {
    host.word = { ...host.word, bindings: bindings('', '[other]', '[test, other]') };
    const contract = host.marking();
    const open = (): Buffer => {
      const { policy_profile: _, ...rest } = host.unsigned(contract);
      return signArtifact(rest, signerOf(alice), new Date());
    };
    const ticket = { policy_profile: 'other' };
    expect(await host.reasonOf(contract, { submission: open(), ticket }, host.other)).toBe('TICKET_INVALID');
    const receipt = await host.bench.gate.receipt(host.offer(contract, { submission: open() }));
    expect(receipt).toMatchObject({ status: 'success', policy_profile: 'test' });
  });

  it('by taking another profile than is named, that is bound as well', async () => {
    host.word = { ...host.word, bindings: bindings('', '[other]', '[test, other]') };
    const contract = host.marking();
    const ticket = { policy_profile: 'other' };
    expect(await host.reasonOf(contract, { submission: host.submit(contract), ticket }, host.other)).toBe(
      'TICKET_INVALID',
    );
  });

  it('by naming another principal who is bound to the same', async () => {
    host.word = { ...host.word, bindings: bindings('', '[test]') };
    const contract = host.marking();
    expect(await host.reasonOf(contract, { submission: host.submit(contract, { principal: bob }) })).toBe(
      'TICKET_INVALID',
    );
  });

  it('by counting approvals that the submitter did not name', async () => {
    const contract = host.marking();
    const submission = host.submit(contract, { approvals: ['of-the-boss'] });
    const ticket = { approval_ids: ['of-a-friend'] };
    expect(await host.reasonOf(contract, { submission, ticket })).toBe('TICKET_INVALID');
  });

  it('and two principals may have used one nonce', async () => {
    host.word = { ...host.word, bindings: bindings('', '[test]') };
    const contract = makeContract(host.bench.workspace, [{ argv: ['true'] }]);
    const nonce = 'a'.repeat(32);
    for (const principal of [alice, bob]) {
      const submission = host.submit(contract, { principal, nonce });
      const receipt = await host.bench.gate.receipt(
        host.offer(contract, { submission, ticket: { principal } }),
      );
      expect(receipt.status).toBe('success');
    }
  });
});
