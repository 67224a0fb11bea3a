import { contractSha256 } from '@csc-fleet/common/contract';
import { createSigner, generateKeyPair } from '@csc-fleet/common/crypto';
import { sealReceipt, toReceiptError } from '@csc-fleet/common/evidence';
import { emptyDigest } from '@csc-fleet/common/output-log';
import { parseReceipt } from '@csc-fleet/common/receipt';
import type { ExecutionTicket } from '@csc-fleet/common/ticket';
import { makeContract } from '@csc-fleet/test-kit/contract';
import { makePolicy } from '@csc-fleet/test-kit/executor/workbench';
import { describe, expect, it } from 'vitest';
import { buildReceipt, buildRefusal, type ReceiptSubject } from './build-receipt.ts';
import type { CommandOutcome } from './command-outcome.ts';
import { readDraft, toDraft } from './draft.ts';

const contract = makeContract('/work', [{ id: 'one' }, { id: 'two' }]);
const at = new Date('2026-03-20T10:00:00Z');
const ticket = {
  ticket_id: 'ticket-1',
  execution_id: 'execution-1',
  policy_profile: 'named-by-the-ticket',
  policy_sha256: 'a'.repeat(64),
  grant: { receipt_version: 'csc.receipt.v0.2' },
} as ExecutionTicket;
const subject: ReceiptSubject = {
  executorId: 'executor-1',
  executionMode: 'hardened',
  contract,
  contractSha256: contractSha256(contract),
  ticket,
  document: makePolicy('/work'),
  approvals: [],
  startedAt: at,
};
const output = { stdout: emptyDigest, stderr: emptyDigest };

function outcome(commandId: string, overrides: Partial<CommandOutcome> = {}): CommandOutcome {
  const times = { startedAt: at, endedAt: at };
  return {
    commandId,
    argvSha256: 'b'.repeat(64),
    ended: 'exit',
    exitCode: 0,
    output,
    ...times,
    ...overrides,
  };
}

function build(outcomes: CommandOutcome[], profileIds: string[] = []) {
  return buildReceipt(subject, { outcomes, totals: output, endedAt: at, profileIds });
}

describe('buildReceipt', () => {
  const { startedAt: _startedAt, endedAt: _endedAt, exitCode: _exitCode, ...never } = outcome('one');

  it.each<[string, CommandOutcome[], object]>([
    [
      'all commands succeeded',
      [outcome('one'), outcome('two')],
      { status: 'success', exit_code: 0, ended: 'exit' },
    ],
    [
      'one failed',
      [outcome('one', { exitCode: 9 })],
      { status: 'failed', exit_code: 9, failed_command_id: 'one' },
    ],
    [
      'nothing could start',
      [{ ...never, ended: 'refused', error: 'no' }],
      { status: 'blocked', ended: 'refused' },
    ],
    [
      'it was cancelled before it began',
      [{ ...never, ended: 'cancelled' }],
      { status: 'blocked', ended: 'cancelled' },
    ],
    [
      'it was cancelled between two commands',
      [outcome('one'), { ...never, commandId: 'two', ended: 'cancelled' }],
      { status: 'failed', exit_code: 143, failed_command_id: 'two', completed_command_ids: ['one'] },
    ],
    [
      'the sandbox failed for the second',
      [outcome('one'), { ...never, commandId: 'two', ended: 'refused' }],
      { status: 'failed', exit_code: 126, failed_command_id: 'two' },
    ],
    [
      'a program was not there',
      [{ ...never, ended: 'refused', exitCode: 127 }],
      { status: 'failed', exit_code: 127, failed_command_id: 'one' },
    ],
  ])('%s', (_name, outcomes, expected) => {
    const receipt = build(outcomes);
    expect(receipt).toMatchObject(expected);
    expect(parseReceipt(Buffer.from(JSON.stringify(receipt)))).toMatchObject({ ok: true });
  });

  it('names the sandbox that all commands saw, or all of them together', () => {
    expect(build([outcome('one')])).not.toHaveProperty('sandbox_profile_id');
    expect(build([outcome('one')], ['x', 'x']).sandbox_profile_id).toBe('x');
    const both = build([outcome('one')], ['x', 'y']).sandbox_profile_id;
    expect(both).toMatch(/^[0-9a-f]{64}$/);
    expect(build([outcome('one')], ['y', 'x']).sandbox_profile_id).not.toBe(both);
  });
});

describe('buildRefusal', () => {
  it('says what the ticket says where the policy was not found', () => {
    const { document: _document, ...unknown } = subject;
    expect(buildRefusal(unknown, 'no')).toMatchObject({
      policy_profile: 'named-by-the-ticket',
      policy_sha256: 'a'.repeat(64),
    });
    expect(buildRefusal(subject, 'no')).toMatchObject({
      policy_profile: 'test',
      policy_schema_version: 'csc.policy.v0.1',
    });
  });
});

describe('toReceiptError', () => {
  it('cuts at 4000 code points and leaves no half of one', () => {
    expect(toReceiptError('short')).toBe('short');
    const long = toReceiptError('😀'.repeat(5000));
    expect([...long]).toHaveLength(4000);
    expect(long.isWellFormed()).toBe(true);
    expect(toReceiptError('a\ud800b')).toBe('a\ufffdb');
  });
});

describe('a draft', () => {
  it('is a receipt that can be signed as it is', () => {
    const [, next] = contract.commands;
    if (next === undefined) throw new Error('there is a second command');
    const text = toDraft(subject, { outcomes: [outcome('one')], profileIds: ['x'] }, next);
    const draft = readDraft(text);
    if (draft === undefined) throw new Error('it can be read');
    expect(draft.receipt).toMatchObject({
      status: 'failed',
      ended: 'executor_restart',
      completed_command_ids: ['one'],
      failed_command_id: 'two',
    });
    const signer = createSigner(generateKeyPair().seed, 'key-1');
    const { receiptJson } = sealReceipt(draft.receipt, { version: draft.version, signer, now: at });
    expect(parseReceipt(receiptJson)).toMatchObject({ ok: true, value: { signing_key_id: 'key-1' } });
  });
});
