import { policy } from '@csc-fleet/test-kit/containment';
import { describe, expect, it } from 'vitest';
import type { JsonObject } from '../encoding/index.ts';
import { findSilentRules } from './lint.ts';

describe('findSilentRules', () => {
  const silent = (overrides: JsonObject): string[] =>
    findSilentRules(policy(overrides).policy).map(({ member }) => member);

  it('finds none in a policy whose rules all speak', () => {
    expect(
      silent({
        deny_argv_prefixes: [['git', 'push']],
        manual_approval_for_classified_effect_types: ['mutate_repo'],
      }),
    ).toEqual([]);
  });

  it.each<[string, JsonObject, string[]]>([
    [
      'a prefix of a program that is not allowed',
      { deny_argv_prefixes: [['rm', '-rf']] },
      ['deny_argv_prefixes[0]'],
    ],
    [
      'a prefix behind a shorter one',
      {
        deny_argv_prefixes: [
          ['git', 'push', '-f'],
          ['git', 'push'],
        ],
      },
      ['deny_argv_prefixes[0]'],
    ],
    [
      'a directory below another',
      { allowed_read_prefixes: ['/workspace/a', '/workspace'] },
      ['allowed_read_prefixes[0]'],
    ],
    [
      'one of two that are the same',
      { allowed_read_prefixes: ['/workspace', '/workspace/'] },
      ['allowed_read_prefixes[1]'],
    ],
    [
      'who is asked for nothing, or asked already',
      {
        approvals: [
          { effects: ['deploy'], quorum: [{ group: 'a' }] },
          { programs: ['rm'], quorum: [{ group: 'a' }] },
          { risk_classes: ['critical'], quorum: [{ group: 'a' }] },
          { quorum: [{ group: 'a', count: 2 }] },
          { programs: ['git'], quorum: [{ group: 'a' }] },
        ],
      },
      ['approvals[0]', 'approvals[1]', 'approvals[2]', 'approvals[4]'],
    ],
    ['writes that are refused anyway', { require_write_paths_empty: true }, ['allowed_write_prefixes[0]']],
    ['hosts without a network', { network: 'deny' }, ['allowed_egress_hosts[0]', 'allowed_egress_hosts[1]']],
    [
      'a host of another entry',
      { allowed_egress_hosts: ['a.example.org:443', '*.example.org'] },
      ['allowed_egress_hosts[0]'],
    ],
    ['secrets that nobody gets', { allowed_secret_names: ['A'] }, ['allowed_secret_names[0]']],
    [
      'a rule within the others',
      {
        allow: [
          { program: 'git', subcommands: ['log'], deny_options: ['--output'] },
          { program: 'git', subcommands: ['log', 'push'] },
        ],
      },
      ['allow[0]'],
    ],
    [
      'a denied option that is not listed',
      { allow: [{ program: 'git', subcommands: ['log'], options: ['--all'], deny_options: ['--output'] }] },
      ['allow[0].deny_options'],
    ],
    [
      'an effect behind what settles it',
      {
        effect_rules: [
          { program: 'git', effect: 'observe' },
          { program: 'git', subcommands: ['push'], effect: 'deploy' },
        ],
      },
      ['effect_rules[1]'],
    ],
    [
      'an effect of no program',
      { effect_rules: [{ program: 'npm', effect: 'deploy' }] },
      ['effect_rules[0]'],
    ],
    [
      'an approval that nobody is asked for',
      { manual_approval_for_classified_effect_types: ['deploy'] },
      ['manual_approval_for_classified_effect_types[0]'],
    ],
    ['a variable with a value of its own', { allowed_env: ['CI'], set_env: { CI: '1' } }, ['allowed_env[0]']],
  ])('finds %s', (_, overrides, members) => {
    expect(silent(overrides)).toEqual(members);
  });
});
