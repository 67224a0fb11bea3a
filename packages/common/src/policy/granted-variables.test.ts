import { describe, expect, it } from 'vitest';
import type { JsonObject } from '../encoding/index.ts';
import { orThrow } from '../errors/index.ts';
import { grantedVariables, policyFromJson } from './policy.ts';

function granted(members: JsonObject): string[] {
  const parsed = policyFromJson({
    policy_schema_version: 'csc.policy.v0.2',
    name: 'test',
    allow_commands: ['ls'],
    allowed_effect_types: ['observe'],
    allowed_risk_classes: ['low'],
    max_timeout_sec: 60,
    network: 'deny',
    allow_secret_refs: false,
    allowed_cwd_prefixes: ['/workspace'],
    allowed_read_prefixes: ['/workspace'],
    ...members,
  });
  return grantedVariables(orThrow(parsed, 'POLICY_INVALID', 'the policy').policy, ['CI', 'LANG', 'Lang']);
}

describe('grantedVariables', () => {
  it.each([
    ['v0.1', { policy_schema_version: 'csc.policy.v0.1' }],
    ['v0.2 without allowed_env', {}],
  ])('are all that env_allow names under %s', (_, members) => {
    expect(granted(members)).toEqual(['CI', 'LANG', 'Lang']);
  });

  it('are those that are in allowed_env too, by their exact names', () => {
    expect(granted({ allowed_env: ['LANG', 'HOME'] })).toEqual(['LANG']);
    expect(granted({ allowed_env: [] })).toEqual([]);
  });
});
