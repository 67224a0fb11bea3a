import { parsePolicy, policyFromJson } from '@csc-fleet/common/policy';
import {
  type Case,
  changed,
  type FixtureFile,
  readFixture,
  rowsHalfCovered,
  testCases,
} from '@csc-fleet/test-kit/conformance/fixture';
import { describe, expect, it } from 'vitest';

interface YamlCase extends Case {
  readonly text: string;
  readonly pad_to?: number;
  /** In some fault's words, where the text is refused. */
  readonly mentions?: string;
  readonly policy_sha256?: string;
}

const texts = readFixture<{ cases: YamlCase[] }>('policy-texts.json');

describe.each(['policies.json', 'policies-v0.2.json'])(
  'a policy profile, member by member (protocol §2, §9): %s',
  (name) => {
    const members = readFixture<FixtureFile>(name);

    testCases(members.cases, (fixture) => policyFromJson(changed(members.base, fixture)));
  },
);

describe('the YAML text of a policy profile (protocol §2)', () => {
  it.each(texts.cases.filter(({ mentions }) => mentions === undefined))('$row: reads $says', (fixture) => {
    const policy = parsePolicy(toBytes(fixture), 'here.yaml');
    expect(policy).toMatchObject({ ok: true, value: { sha256: fixture.policy_sha256, source: 'here.yaml' } });
  });

  it.each(texts.cases.filter(({ mentions }) => mentions !== undefined))('$row: refuses $says', (fixture) => {
    const policy = parsePolicy(toBytes(fixture));
    expect(policy.ok ? [] : policy.faults.map(({ message }) => message)).toContainEqual(
      expect.stringContaining(fixture.mentions ?? ''),
    );
  });

  it('has an accepted and a refused case for every row', () => {
    expect(rowsHalfCovered(texts.cases, ({ mentions }) => mentions !== undefined)).toEqual([]);
  });
});

function toBytes({ text, pad_to: length }: YamlCase): Buffer {
  return Buffer.from(length === undefined ? text : `${text}#`.padEnd(length, 'x'));
}
