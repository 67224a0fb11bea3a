import {
  type ApprovalRules,
  approvalFromJson,
  checkApproval,
  countApprovals,
  orThrowObjection,
} from '@csc-fleet/common/approval';
import type { JsonObject } from '@csc-fleet/common/encoding';
import { orThrow } from '@csc-fleet/common/errors';
import { changed, type FixtureFile, readFixture, testCases } from '@csc-fleet/test-kit/conformance/fixture';
import { describe, expect, it } from 'vitest';

interface Check {
  readonly says: string;
  readonly change?: JsonObject;
  readonly now: string;
  readonly contract_sha256: string;
  readonly accepted: boolean;
}

const file = readFixture<FixtureFile & { checks: Check[] }>('approvals.json');

describe('ApprovalArtifact, member by member (protocol §6)', () => {
  testCases(file.cases, (fixture) => approvalFromJson(changed(file.base, fixture)));
});

describe('checkApproval (protocol §6)', () => {
  const check = ({ change = {}, now, contract_sha256: contractSha256 }: Check) => {
    const approval = orThrow(
      approvalFromJson(changed(file.base, { change })),
      'APPROVAL_INVALID',
      'the fixture',
    );
    return () => checkApproval(approval, { contractSha256, now: new Date(now) });
  };

  it.each(file.checks.filter(({ accepted }) => accepted))('accepts: $says', (fixture) => {
    expect(check(fixture)).not.toThrow();
  });

  it.each(file.checks.filter(({ accepted }) => !accepted))('refuses: $says', (fixture) => {
    expect(check(fixture)).toThrow(expect.objectContaining({ code: 'APPROVAL_INVALID' }));
  });
});

describe('counting approvals', () => {
  const sha256 = 'a'.repeat(64);
  const needed = { verdict: 'needs_approval' } as const;
  const rules: ApprovalRules = {
    by: 'host',
    acceptUnsigned: true,
    dualControl: 'refuse',
    contract: { approval_mode: 'human_required' },
    contractSha256: sha256,
    now: new Date('2026-03-20T10:00:00Z'),
  };
  const good = {
    ...file.base,
    contract_sha256: sha256,
    approved_at: '2026-03-20T09:00:00Z',
    expires_at: '2026-03-20T11:00:00Z',
  };
  const text = (change: JsonObject = {}) => Buffer.from(JSON.stringify({ ...good, ...change }));
  const count = (texts: readonly Buffer[], more: Partial<ApprovalRules> = {}) => {
    const { consent, counted, objections } = countApprovals(needed, texts, { ...rules, ...more });
    const ids = counted.map(({ approval_id: id }) => id);
    return { consent, ids, objections: objections.map(({ message }) => message) };
  };

  it.each(['allow', 'deny'] as const)('reads none where the policy says %s', (verdict) => {
    const nobody = { consent: 'not_needed', counted: [], objections: [] };
    expect(countApprovals({ verdict }, [Buffer.from('x')], { ...rules, acceptUnsigned: false })).toEqual(
      nobody,
    );
  });

  it('says which count, and of each of the others why not', () => {
    const texts = [
      text({ approval_id: 'one' }),
      Buffer.from('x'),
      text({ approval_id: 'late', expires_at: '2026-03-20T10:00:00Z' }),
      text({ approval_id: 'else', contract_sha256: 'b'.repeat(64) }),
      text({ approval_id: 'two' }),
    ];
    const { consent, ids, objections } = count(texts);
    expect({ consent, ids }).toEqual({ consent: 'given', ids: ['one', 'two'] });
    expect(objections).toEqual([
      expect.stringContaining('approval 2 was refused'),
      expect.stringContaining('expired at 2026-03-20T10:00:00Z'),
      expect.stringContaining('another contract'),
    ]);
    expect(() => orThrowObjection(countApprovals(needed, texts, rules))).toThrow(
      expect.objectContaining({ code: 'APPROVAL_INVALID', message: objections[0] }),
    );
  });

  it('passes over those that the ticket does not name, and nothing else', () => {
    const texts = [text({ approval_id: 'one' }), text({ approval_id: 'two' })];
    expect(count(texts, { named: ['two'] })).toEqual({ consent: 'given', ids: ['two'], objections: [] });
    expect(count(texts, { named: [] })).toEqual({ consent: 'missing', ids: [], objections: [] });
    expect(count([], {})).toEqual({ consent: 'missing', ids: [], objections: [] });
  });

  it.each(['gate', 'host'] as const)('takes the word of nobody at a %s whose owner has not said so', (by) => {
    const { consent, objections } = count([text(), text()], { by, acceptUnsigned: false });
    expect(consent).toBe('missing');
    expect(objections).toEqual(Array(2).fill(expect.stringContaining(`this ${by} does not count`)));
  });

  it('does not take two that nobody signed for two people', () => {
    const contract = { approval_mode: 'dual_control_required' } as const;
    const texts = [text({ approval_id: 'one' }), text({ approval_id: 'two' })];
    const refused = countApprovals(needed, texts, { ...rules, contract });
    expect(refused.consent).toBe('missing');
    expect(refused.objections.flatMap(({ faults }) => faults.map(({ path }) => path))).toEqual([
      'approval_mode',
    ]);
    expect(count(texts, { contract, dualControl: 'one_approval' }).consent).toBe('given');
  });
});
