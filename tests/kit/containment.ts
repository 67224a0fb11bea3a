import type { JsonObject } from '@csc-fleet/common/encoding';
import { orThrow } from '@csc-fleet/common/errors';
import { type PolicyDocument, policyFromJson } from '@csc-fleet/common/policy';

/** A policy of v0.2 that has something of everything, for one to be held against another. */
export function policy(overrides: JsonObject = {}): PolicyDocument {
  const members = {
    policy_schema_version: 'csc.policy.v0.2',
    name: 'p',
    allow_commands: ['git', 'make', 'curl', 'sh', 'env'],
    allowed_effect_types: ['observe', 'transform_local', 'mutate_repo'],
    allowed_risk_classes: ['low', 'medium'],
    max_timeout_sec: 60,
    network: 'allowlisted',
    allow_secret_refs: false,
    allowed_cwd_prefixes: ['/workspace'],
    allowed_read_prefixes: ['/workspace'],
    allowed_write_prefixes: ['/workspace/out'],
    allowed_egress_hosts: ['*.example.org', '10.0.0.0/8'],
    ...overrides,
  };
  return orThrow(policyFromJson(members), 'POLICY_INVALID', 'the policy');
}
