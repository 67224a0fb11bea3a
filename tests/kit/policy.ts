/** A policy under which the tests' commands run below `workspace`, as YAML; overrides are members as JSON. */
export function testPolicy(workspace: string, overrides: Record<string, unknown> = {}): string {
  const policy = {
    policy_schema_version: 'csc.policy.v0.1',
    name: 'tests',
    allow_commands: [
      ...[
        'true',
        'false',
        'echo',
        'cat',
        'ls',
        'head',
        'tail',
        'sort',
        'wc',
        'grep',
        'yes',
        'sleep',
        'touch',
        'mkdir',
      ],
      ...[
        'sh',
        'bash',
        'python3',
        'git',
        'make',
        'tar',
        'id',
        'env',
        'pwd',
        'tee',
        'readlink',
        'find',
        'ln',
        'cp',
      ],
      'no-such-program',
    ],
    allowed_effect_types: ['observe', 'transform_local', 'mutate_repo'],
    allowed_risk_classes: ['low', 'medium'],
    max_timeout_sec: 600,
    network: 'deny',
    allow_secret_refs: false,
    allowed_cwd_prefixes: [workspace],
    allowed_read_prefixes: [workspace],
    allowed_write_prefixes: [workspace],
    ...overrides,
  };
  // JSON is YAML.
  return `${JSON.stringify(policy, null, 2)}\n`;
}
