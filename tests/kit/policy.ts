/** What all policies of the tests have in common: one directory, no network, no secrets. The rest is the test's. */
export function policyMembers(workspace: string, overrides: object = {}): object {
  return {
    policy_schema_version: 'csc.policy.v0.1',
    name: 'tests',
    allowed_effect_types: ['observe', 'transform_local'],
    allowed_risk_classes: ['low'],
    max_timeout_sec: 600,
    network: 'deny',
    allow_secret_refs: false,
    allowed_cwd_prefixes: [workspace],
    allowed_read_prefixes: [workspace],
    allowed_write_prefixes: [workspace],
    ...overrides,
  };
}

const programs =
  'true false echo cat ls head tail sort wc grep yes sleep touch mkdir sh bash python3 git make tar id env pwd tee readlink find ln cp no-such-program';

/** A policy under which the tests' commands run below `workspace`, as YAML; overrides are members as JSON. */
export function testPolicy(workspace: string, overrides: Record<string, unknown> = {}): string {
  const policy = policyMembers(workspace, {
    allow_commands: programs.split(' '),
    allowed_effect_types: ['observe', 'transform_local', 'mutate_repo'],
    allowed_risk_classes: ['low', 'medium'],
    ...overrides,
  });
  // JSON is YAML.
  return `${JSON.stringify(policy, null, 2)}\n`;
}
