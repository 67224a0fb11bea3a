import { policy } from '@csc-fleet/test-kit/containment';
import { describe, expect, it } from 'vitest';
import type { JsonObject } from '../encoding/index.ts';
import { compareReach } from './compare-reach.ts';
import { rank } from './questions.ts';

describe('compareReach', () => {
  it.each<[string, JsonObject, JsonObject]>([
    ['the same', {}, {}],
    [
      'less of everything',
      {},
      {
        allow_commands: ['git'],
        allowed_risk_classes: ['low'],
        max_timeout_sec: 1,
        network: 'deny',
        allowed_cwd_prefixes: ['/workspace/a'],
      },
    ],
    [
      'an entry of egress within another',
      {},
      { allowed_egress_hosts: ['*.a.example.org:443', 'b.example.org', '10.1.0.0/16', '10.2.3.4'] },
    ],
    [
      'a denied prefix that a shorter one covers',
      { deny_argv_prefixes: [['git', 'push', '--force']] },
      { deny_argv_prefixes: [['git', 'push']] },
    ],
    [
      'a denied prefix that the rules have no subcommand for',
      { deny_argv_prefixes: [['git', 'push']] },
      { allow: [{ program: 'git', subcommands: ['log', 'status'] }] },
    ],
    ['rules where there were none', {}, { allow: [{ program: 'git', subcommands: ['log'] }] }],
    [
      'a rule within another',
      { allow: [{ program: 'git', subcommands: ['log', 'stash *'], deny_options: ['--output'] }] },
      { allow: [{ program: 'git', subcommands: ['stash list'], options: ['--all'], deny_operands: ['x'] }] },
    ],
    ['an approval more', {}, { manual_approval_for_classified_effect_types: ['mutate_repo'] }],
    [
      'an effect rule that raises',
      {},
      { effect_rules: [{ program: 'git', any_word: ['--force'], effect: 'rewrite_history' }] },
    ],
    [
      'effect rules in another order that comes to the same',
      {
        effect_rules: [
          { program: 'git', subcommands: ['push'], effect: 'deploy' },
          { program: 'make', effect: 'observe' },
        ],
      },
      {
        effect_rules: [
          { program: 'make', effect: 'observe' },
          { program: 'git', subcommands: ['push'], effect: 'deploy' },
        ],
      },
    ],
    [
      'secrets that are named',
      { allow_secret_refs: true },
      { allow_secret_refs: true, allowed_secret_names: ['A'] },
    ],
    ['hosts where there were none', {}, { hosts: { tier: 'build' } }],
    [
      'more of the same groups, and another',
      { approvals: [{ effects: ['mutate_repo'], quorum: [{ group: 'release' }] }] },
      { approvals: [{ quorum: [{ group: 'release', count: 2 }, { group: 'security' }] }] },
    ],
    [
      'a rule as several',
      { approvals: [{ quorum: [{ group: 'a' }] }] },
      {
        approvals: [
          { effects: ['observe'], quorum: [{ group: 'a' }] },
          { effects: ['transform_local', 'mutate_repo', 'fetch_external'], quorum: [{ group: 'a' }] },
        ],
      },
    ],
    ['a limit where there was none', {}, { limits: { memory_bytes: 1_000_000_000 } }],
  ])('proves %s contained', (_, old, now) => {
    expect(compareReach(policy(old), policy(now))).toEqual({ kind: 'contained' });
  });

  it.each<[string, JsonObject, JsonObject, string]>([
    ['a program', {}, { allow_commands: ['git', 'rm'] }, 'allow_commands rm'],
    ['a risk class', {}, { allowed_risk_classes: ['low', 'high'] }, 'allowed_risk_classes high'],
    [
      'a directory beside',
      {},
      { allowed_cwd_prefixes: ['/workspace', '/workspace-evil'] },
      'allowed_cwd_prefixes /workspace-evil',
    ],
    [
      'a directory above',
      {},
      { allowed_write_prefixes: ['/workspace'] },
      'allowed_write_prefixes /workspace',
    ],
    ['writes', { require_write_paths_empty: true }, {}, 'allowed_write_prefixes /workspace/out'],
    ['time', {}, { max_timeout_sec: 61 }, 'max_timeout_sec 61'],
    ['the network', {}, { network: 'full' }, 'network full'],
    [
      'any secret',
      { allow_secret_refs: true, allowed_secret_names: ['A'] },
      { allow_secret_refs: true },
      'allow_secret_refs: any name',
    ],
    ['a terminal', {}, { terminal: {} }, 'terminal'],
    [
      'a denied prefix that went',
      { deny_argv_prefixes: [['git', 'push']] },
      {},
      "the old policy's deny_argv_prefixes git push",
    ],
    [
      'a denied prefix that only its exact words replace',
      { deny_argv_prefixes: [['git', 'push']] },
      { deny_argv_prefixes: [['git', 'push', 'origin']] },
      "the old policy's deny_argv_prefixes git push",
    ],
    [
      'a rule that went, of whatever could be read',
      { allow: [{ program: 'make' }] },
      {},
      'no allow make (any)',
    ],
    ['rules that went', { allow: [{ program: 'git', subcommands: ['log'] }] }, {}, 'no allow git (any)'],
    [
      'a subcommand',
      { allow: [{ program: 'git', subcommands: ['log'] }] },
      { allow: [{ program: 'git', subcommands: ['log', 'push'] }] },
      'allow git push',
    ],
    [
      'a denied option',
      { allow: [{ program: 'git', subcommands: ['push'], deny_options: ['--force'] }] },
      { allow: [{ program: 'git', subcommands: ['push'] }] },
      'allow git push',
    ],
    [
      'a denied option behind a listed one',
      { allow: [{ program: 'git', subcommands: ['push'], options: ['--tags'] }] },
      { allow: [{ program: 'git', subcommands: ['push'], options: ['--tags', '--force'] }] },
      'allow git push',
    ],
    [
      'an operand',
      { allow: [{ program: 'git', subcommands: ['push'], deny_operands: ['prod-*'] }] },
      { allow: [{ program: 'git', subcommands: ['push'], deny_operands: ['prod'] }] },
      'allow git push',
    ],
    [
      'a directory of git',
      { allow: [{ program: 'git', subcommands: ['log'] }] },
      { allow: [{ program: 'git', subcommands: ['log'], global_options: ['-C'] }] },
      'allow git log',
    ],
    ['code in argv', { inline_code: 'deny' }, {}, 'inline_code'],
    [
      'an approval that went',
      { manual_approval_for_classified_effect_types: ['mutate_repo'] },
      {},
      'effects: with approval of the old policy, allowed of the new one',
    ],
    [
      'curl without approval',
      {
        allowed_effect_types: ['fetch_external'],
        manual_approval_for_classified_effect_types: ['fetch_external'],
      },
      { allowed_effect_types: ['fetch_external'] },
      'effects: with approval of the old policy, allowed of the new one',
    ],
    [
      'an effect rule that went',
      { effect_rules: [{ program: 'git', subcommands: ['push'], effect: 'deploy' }] },
      {},
      'effects: refused of the old policy, allowed of the new one',
    ],
    [
      'an effect rule that settles what had an approval',
      { manual_approval_for_classified_effect_types: ['mutate_repo'] },
      {
        manual_approval_for_classified_effect_types: ['mutate_repo'],
        effect_rules: [{ program: 'make', effect: 'observe' }],
      },
      'effects: with approval of the old policy, allowed of the new one',
    ],
    [
      'an effect rule in front of another',
      {
        effect_rules: [
          { program: 'git', any_word: ['-f'], effect: 'deploy' },
          { program: 'git', effect: 'observe' },
        ],
      },
      {
        effect_rules: [
          { program: 'git', effect: 'observe' },
          { program: 'git', any_word: ['-f'], effect: 'deploy' },
        ],
      },
      'effects: refused of the old policy, allowed of the new one',
    ],
    [
      'a payment whose host is written in capitals, by a policy of v0.1',
      {
        allowed_effect_types: ['fetch_external'],
        allowed_egress_hosts: ['api.stripe.com'],
        manual_approval_for_classified_effect_types: ['financial_action'],
      },
      {
        policy_schema_version: 'csc.policy.v0.1',
        allowed_effect_types: ['fetch_external'],
        allowed_egress_hosts: ['api.stripe.com'],
        manual_approval_for_classified_effect_types: ['financial_action'],
      },
      'effects: with approval of the old policy, allowed of the new one',
    ],
  ])('has a counterexample for %s more', (_, old, now, about) => {
    const [before, after] = [policy(old), policy(now)];
    const found = compareReach(before, after);
    expect(found).toMatchObject({ kind: 'wider', about });
    if (found.kind !== 'wider') throw new Error('it is none');
    expect(rank(found.question, after)).toBeGreaterThan(rank(found.question, before));
  });

  it.each<[string, JsonObject, JsonObject, string]>([
    ['a host', {}, { allowed_egress_hosts: ['example.org'] }, 'a way to example.org'],
    ['a port', {}, { allowed_egress_hosts: ['a.example.org:22'] }, 'a way to a.example.org:22'],
    [
      'any protocol',
      {},
      { allowed_egress_hosts: ['a.example.org:tcp:443'] },
      'a way to a.example.org:tcp:443',
    ],
    ['more addresses', {}, { allowed_egress_hosts: ['10.0.0.0/7'] }, 'a way to 10.0.0.0/7'],
    ['a variable', { allowed_env: ['CI'] }, { allowed_env: ['CI', 'TOKEN'] }, 'the variable TOKEN'],
    [
      'memory',
      { limits: { memory_bytes: 1_000_000_000 } },
      {},
      'memory_bytes as far as the host lets it, not 1000000000',
    ],
    [
      'a second host',
      { binding: 'host' },
      { binding: 'any' },
      'any host, under a submission that names none',
    ],
    [
      'a variable that nothing sets any more',
      { set_env: { GIT_CONFIG_COUNT: '2' } },
      {},
      'commands for which GIT_CONFIG_COUNT is not set to "2" any more',
    ],
    [
      'hosts',
      { hosts: { tier: 'build', zone: 'a' } },
      { hosts: { tier: 'build' } },
      'hosts without the label zone=a',
    ],
    [
      'fewer of a group',
      { approvals: [{ quorum: [{ group: 'release', count: 2 }] }] },
      { approvals: [{ quorum: [{ group: 'release' }] }] },
      'observe of risk low with the approval of 1 of release, not of 2 of release',
    ],
    [
      'another group',
      { approvals: [{ programs: ['make'], quorum: [{ group: 'release' }] }] },
      { approvals: [{ programs: ['make'], quorum: [{ group: 'everybody' }] }] },
      'observe of risk low with the approval of 1 of everybody, not of 1 of release',
    ],
    [
      'anybody, of one risk alone',
      { approvals: [{ risk_classes: ['low', 'medium'], quorum: [{ group: 'release' }] }] },
      {
        approvals: [{ risk_classes: ['low'], quorum: [{ group: 'release' }] }],
        manual_approval_for_classified_effect_types: ['observe', 'transform_local', 'mutate_repo'],
      },
      'observe of risk medium with the approval of 1 of any group, not of 1 of release',
    ],
    ['modes', { umask: '0077' }, { umask: '0027' }, 'files of a mode that the old umask 0077 takes away'],
    [
      'modes that a host without a pool takes away by itself',
      {},
      { umask: '0002' },
      'files of a mode that the old umask of the host takes away',
    ],
    [
      'a second host for secrets, which had to name one though no policy said so',
      { allow_secret_refs: true },
      { allow_secret_refs: true, binding: 'any' },
      'any host for what uses secrets or deploys, under a submission that names none',
    ],
    [
      'a second host for what deployed',
      {
        allowed_effect_types: ['mutate_repo', 'deploy'],
        effect_rules: [{ program: 'git', effect: 'deploy' }],
      },
      {
        allowed_effect_types: ['mutate_repo', 'deploy'],
        effect_rules: [{ program: 'git', effect: 'mutate_repo' }],
      },
      'any host for what deployed by the old effect_rules, under a submission that names none',
    ],
    [
      'typing of which nothing is kept',
      { terminal: { record_input: true } },
      { terminal: {} },
      'a terminal whose recording has not what is typed',
    ],
    [
      'nobody, for a pipeline of three of which each makes a difference',
      {
        allow_commands: ['git', 'curl', 'make'],
        allowed_effect_types: ['observe', 'mutate_repo', 'deploy', 'fetch_external'],
        binding: 'any',
        effect_rules: [
          { program: 'git', effect: 'deploy' },
          { program: 'curl', effect: 'observe' },
          { program: 'make', effect: 'observe' },
        ],
        approvals: [{ effects: ['deploy'], programs: ['make'], quorum: [{ group: 'release' }] }],
      },
      {
        allow_commands: ['git', 'curl', 'make'],
        allowed_effect_types: ['observe', 'mutate_repo', 'deploy', 'fetch_external'],
        binding: 'any',
        effect_rules: [
          { program: 'git', effect: 'mutate_repo' },
          { program: 'curl', effect: 'deploy' },
          { program: 'make', effect: 'observe' },
        ],
        approvals: [{ effects: ['mutate_repo'], programs: ['make'], quorum: [{ group: 'release' }] }],
      },
      'observe of risk low with the approval of 1 of any group, not of 1 of release',
    ],
  ])('says what a run gets more: %s', (_, old, now, gives) => {
    expect(compareReach(policy(old), policy(now))).toMatchObject({ kind: 'wider', gives });
  });
});
