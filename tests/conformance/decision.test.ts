import { contractFromJson } from '@csc-fleet/common/contract';
import {
  decisionFromJson,
  evaluate,
  isDenial,
  type ReasonCode,
  reasonCodes,
  toPolicyDecision,
} from '@csc-fleet/common/decision';
import type { JsonObject } from '@csc-fleet/common/encoding';
import { orThrow } from '@csc-fleet/common/errors';
import { policyFromJson } from '@csc-fleet/common/policy';
import { describe, expect, it } from 'vitest';
import { type Case, changed, readFixture } from './support/fixture.ts';

interface DecisionCase extends Case {
  readonly policy_change?: JsonObject;
  readonly decision: string;
  readonly reason_code: string;
  readonly effects: readonly [string, string][];
  /** Reason code and member of every finding, in order. */
  readonly findings: readonly [string, string][];
}

const file = readFixture<{ base: JsonObject; policy: JsonObject; cases: DecisionCase[] }>('decisions.json');

function decide(fixture: DecisionCase) {
  const contract = orThrow(contractFromJson(changed(file.base, fixture)), 'CONTRACT_INVALID', 'the fixture');
  const changes = fixture.policy_change === undefined ? {} : { change: fixture.policy_change };
  const policy = orThrow(policyFromJson(changed(file.policy, changes)), 'POLICY_INVALID', 'the fixture');
  return { contract, policy, evaluation: evaluate(contract, policy) };
}

describe('evaluate (protocol §3)', () => {
  it.each(file.cases)('$row: $says', (fixture) => {
    const { evaluation } = decide(fixture);
    expect(evaluation.verdict).toBe(fixture.decision);
    expect(evaluation.reasonCodes).toEqual([fixture.reason_code]);
    expect(evaluation.classifiedEffects.map((it) => [it.command_id, it.effect_type])).toEqual(
      fixture.effects,
    );
    expect(evaluation.findings.map((it) => [it.reasonCode, it.member])).toEqual(fixture.findings);
  });

  it('meets every reason code that a v0.1 policy can give', () => {
    const met = new Set(file.cases.map((it) => it.reason_code));
    const never: ReasonCode[] = ['EFFECT_RECLASSIFIED'];
    expect(reasonCodes.filter((code) => !met.has(code))).toEqual(never);
  });

  it('gives the text of the finding that decides', () => {
    for (const fixture of file.cases) {
      const { findings, reasons } = decide(fixture).evaluation;
      const deciding = findings.find(isDenial) ?? findings[0];
      expect(reasons).toEqual([deciding?.message ?? 'contract satisfies v0.1 policy checks']);
    }
  });

  it('makes a PolicyDecision that is one', () => {
    for (const fixture of file.cases) {
      const { contract, policy, evaluation } = decide(fixture);
      const decision = toPolicyDecision(contract, evaluation, policy, new Date('2026-03-20T10:00:00Z'));
      expect(decisionFromJson(decision)).toEqual({ ok: true, value: decision });
      expect(decision).toMatchObject({ policy_profile: 'fixture', expires_at: '2026-03-20T10:00:00.000Z' });
    }
  });
});
