import { contractFromJson } from '@csc-fleet/common/contract';
import {
  decisionFromJson,
  type Evaluation,
  evaluate,
  isDenial,
  type ReasonCode,
  reasonCodes,
  toPolicyDecision,
} from '@csc-fleet/common/decision';
import type { JsonObject } from '@csc-fleet/common/encoding';
import { orThrow } from '@csc-fleet/common/errors';
import { policyFromJson } from '@csc-fleet/common/policy';
import { type Case, changed, type FixtureFile, readFixture } from '@csc-fleet/test-kit/conformance/fixture';
import { describe, expect, it } from 'vitest';

interface DecisionCase extends Case {
  readonly policy_change?: JsonObject;
  readonly decision: string;
  /** Of a v0.1 decision. */
  readonly reason_code: string;
  /** Of a v0.2 decision: all of them. */
  readonly reason_codes: readonly string[];
  readonly effects: readonly [string, string][];
  /** Reason code and member of every finding, in order. */
  readonly findings: readonly [string, string][];
}

type DecisionFile = Pick<FixtureFile<DecisionCase>, 'base' | 'cases'> & { readonly policy: JsonObject };

const file = readFixture<DecisionFile>('decisions.json');
const fileV02 = readFixture<DecisionFile>('decisions-v0.2.json');

function decide(fixture: DecisionCase, { base, policy: written }: DecisionFile = file) {
  const contract = orThrow(contractFromJson(changed(base, fixture)), 'CONTRACT_INVALID', 'the fixture');
  const changes = fixture.policy_change === undefined ? {} : { change: fixture.policy_change };
  const policy = orThrow(policyFromJson(changed(written, changes)), 'POLICY_INVALID', 'the fixture');
  return { contract, policy, evaluation: evaluate(contract, policy) };
}

function expectAsDue(evaluation: Evaluation, due: DecisionCase): void {
  expect(evaluation.verdict).toBe(due.decision);
  expect(evaluation.classifiedEffects.map((it) => [it.command_id, it.effect_type])).toEqual(due.effects);
  expect(evaluation.findings.map((it) => [it.reasonCode, it.member])).toEqual(due.findings);
}

describe('evaluate (protocol §3)', () => {
  it.each(file.cases)('$row: $says', (fixture) => {
    const { evaluation } = decide(fixture);
    expect(evaluation.reasonCodes).toEqual([fixture.reason_code]);
    expectAsDue(evaluation, fixture);
  });

  it('meets every reason code that a v0.1 policy can give', () => {
    const met = new Set(file.cases.map((it) => it.reason_code));
    const never: ReasonCode[] = ['TERMINAL_NOT_ALLOWED', 'EFFECT_RECLASSIFIED', 'EMERGENCY_DENY_ALL'];
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
      expect(decision).not.toHaveProperty('policy_schema_version');
    }
  });
});

describe('evaluate, under a v0.2 policy (protocol §9)', () => {
  it.each(fileV02.cases)('$row: $says', (fixture) => {
    const { evaluation } = decide(fixture, fileV02);
    expect(evaluation.reasonCodes).toEqual(fixture.reason_codes);
    expectAsDue(evaluation, fixture);
  });

  it('gives each reason code the text of its first finding', () => {
    for (const fixture of fileV02.cases) {
      const { findings, reasonCodes, reasons } = decide(fixture, fileV02).evaluation;
      const texts = reasonCodes.map((code) => findings.find((it) => it.reasonCode === code)?.message);
      expect(reasons).toEqual(texts.map((text) => text ?? 'contract satisfies v0.2 policy checks'));
    }
  });

  it('makes a PolicyDecision that says so', () => {
    for (const fixture of fileV02.cases) {
      const { contract, policy, evaluation } = decide(fixture, fileV02);
      const decision = toPolicyDecision(contract, evaluation, policy, new Date('2026-03-20T10:00:00Z'));
      expect(decisionFromJson(decision)).toEqual({ ok: true, value: decision });
      expect(decision).toMatchObject({
        policy_schema_version: 'csc.policy.v0.2',
        reason_codes: fixture.reason_codes,
      });
    }
  });
});
