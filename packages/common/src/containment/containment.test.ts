import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { beginMatch, endMatch, readWord, settleMatch, wantedApprovals } from '../decision/index.ts';
import { matchEffectRule } from '../decision/match-effect-rule.ts';
import type { JsonObject } from '../encoding/index.ts';
import { orThrow } from '../errors/index.ts';
import { type EffectRule, type PolicyDocument, policyFromJson } from '../policy/index.ts';
import { compareReach } from './compare-reach.ts';
import { findSilentRules } from './lint.ts';
import { rank, toQuestions } from './questions.ts';

function policy(overrides: JsonObject = {}): PolicyDocument {
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

const some = <T>(values: readonly T[], least = 0): fc.Arbitrary<T[]> =>
  fc.subarray([...values], { minLength: least });
const subcommands = ['log', 'push', 'stash list', 'stash *', 'status'];
const rule = fc.record(
  {
    program: fc.constantFrom('git', 'make'),
    subcommands: some(subcommands, 1),
    options: some(['--all', '--force', '-n']),
    deny_options: some(['--force', '--output'], 1),
    deny_operands: some(['prod-*', 'x'], 1),
  },
  { requiredKeys: ['program'] },
);
const effectRule = fc.record(
  {
    program: fc.constantFrom('git', 'make', 'curl'),
    subcommands: some(['push', 'stash list', 'log'], 1),
    flags: some(['-q', '--quiet'], 1),
    any_word: some(['--force', '-f', '+*', 'prod'], 1),
    effect: fc.constantFrom('observe', 'mutate_repo', 'deploy', 'rewrite_history'),
  },
  { requiredKeys: ['program', 'effect'] },
);
const effects = ['observe', 'transform_local', 'mutate_repo', 'fetch_external'];
const anyPolicy = fc
  .record(
    {
      allow_commands: some(['git', 'make', 'curl', 'sh', 'env', 'cat'], 1),
      deny_argv_prefixes: some([['git', 'push'], ['git', 'stash', 'drop'], ['make'], ['git', '-C']]),
      allowed_effect_types: some(effects, 1),
      manual_approval_for_classified_effect_types: some([...effects, 'deploy']),
      allowed_cwd_prefixes: some(['/w', '/w/a', '/x'], 1),
      allow_secret_refs: fc.boolean(),
      allow: fc.array(rule, { minLength: 1, maxLength: 3 }),
      effect_rules: fc.array(effectRule, { maxLength: 3 }),
      inline_code: fc.constantFrom('deny', 'host'),
    },
    { requiredKeys: ['allow_commands', 'allowed_effect_types', 'allowed_cwd_prefixes'] },
  )
  // A rule must be about a program that is allowed, and make has no subcommands of those.
  .map(({ allow = [], ...rest }) => {
    const rules = allow.flatMap((it) =>
      rest.allow_commands.includes(it.program) ? [it.program === 'make' ? { program: 'make' } : it] : [],
    );
    return { ...rest, ...(rules.length === 0 ? {} : { allow: rules }) } as JsonObject;
  });
const words = [
  'log',
  'push',
  'stash',
  'list',
  'drop',
  '--all',
  '--force',
  '--forc',
  '-f',
  '-nf',
  '-q',
  '--quiet',
  '-C',
  '+main',
  'prod',
  'prod-1',
  'x',
  '--output=y',
  '-c',
  'sh',
  '--',
];
const anyArgv = fc
  .tuple(
    fc.constantFrom('git', 'make', 'curl', 'sh', 'env', 'cat'),
    fc.array(fc.constantFrom(...words, 'git'), { maxLength: 4 }),
  )
  .map(([program, rest]) => [program, ...rest]);

describe('effect rules of many subcommands', () => {
  const looking = Array.from({ length: 16 }, (_, at) => `look-${at}`);
  const lift: JsonObject = { program: 'git', any_word: ['--output', '--exec-path'], effect: 'mutate_repo' };
  const look: JsonObject = {
    program: 'git',
    subcommands: [...looking, 'stash list'],
    flags: ['-P'],
    effect: 'observe',
  };
  const other: JsonObject = { program: 'git', effect: 'mutate_repo' };
  const asking = (effect_rules: JsonObject[]): PolicyDocument =>
    policy({ effect_rules, manual_approval_for_classified_effect_types: ['mutate_repo'] });

  it('are compared as a whole', () => {
    const rules = asking([lift, look, other]);
    expect(compareReach(rules, asking([look, lift, other])).kind).toBe('wider');
    expect(compareReach(rules, asking([lift, other, look])).kind).toBe('contained');
  });

  it('that have nothing left that could make a difference come to what they came to', () => {
    const words = ['a', 'b', 'c', '-P', '-x', '--flag', '--flag=x', '--output', '-'];
    const names = fc.subarray(['a', 'b', 'a b', 'b a', 'a b c']);
    const rule = fc.record({
      names,
      any_word: fc.constantFrom<{ any_word?: string[] }>({}, { any_word: ['--output'] }),
      flags: fc.subarray(['-P', '-x']),
    });
    fc.assert(
      fc.property(rule, fc.array(fc.constantFrom(...words), { maxLength: 7 }), (of, argv) => {
        const { names: own, any_word, flags } = of;
        const parsed: EffectRule = {
          program: 'git',
          ...(own.length === 0 ? {} : { subcommands: own }),
          ...any_word,
          flags,
          effect: 'observe',
        };
        const begun = beginMatch('git', parsed);
        if (begun === undefined) throw new Error('not begun');
        const settled = argv.reduce((it, word) => settleMatch(readWord(it, word, parsed), parsed), begun);
        expect(endMatch(settled, parsed)).toBe(matchEffectRule(['git', ...argv], parsed));
      }),
      { numRuns: 1000 },
    );
  });
});

describe('who must agree', () => {
  const groups = fc.uniqueArray(fc.constantFrom('a', 'b'), { minLength: 1 });
  const rule = fc
    .record({
      effects: fc.option(fc.subarray(['observe', 'mutate_repo', 'rewrite'], { minLength: 1 }), {
        nil: undefined,
      }),
      risk_classes: fc.option(fc.subarray(['low', 'medium'], { minLength: 1 }), { nil: undefined }),
      programs: fc.option(fc.subarray(['git', 'make', 'curl'], { minLength: 1 }), { nil: undefined }),
      names: groups,
      count: fc.integer({ min: 1, max: 2 }),
    })
    .map(({ names, count, ...rest }) => ({ ...rest, quorum: names.map((group) => ({ group, count })) }));
  const asking = fc
    .record({
      approvals: fc.array(rule, { minLength: 1, maxLength: 3 }),
      effect_rules: fc.constantFrom([], [{ program: 'git', any_word: ['--force'], effect: 'mutate_repo' }]),
    })
    .map((it) => JSON.parse(JSON.stringify(it)) as JsonObject);

  it('is at least as many by what is proved to be within, of any argv, effect and risk', () => {
    const tally = { contained: 0, wider: 0, unknown: 0 };
    const shapes = [['git'], ['git', '--force'], ['make', 'x'], ['curl', 'x'], ['sh', 'x']];
    const forms = [...shapes.map((it) => [it]), ...shapes.flatMap((a) => shapes.map((b) => [a, b]))];
    fc.assert(
      fc.property(asking, asking, fc.boolean(), (a, b, isMore) => {
        const now = policy(
          isMore ? { ...a, approvals: [...(a['approvals'] as []), ...(b['approvals'] as [])] } : b,
        );
        const old = policy(a);
        const found = compareReach(old, now);
        tally[found.kind] += 1;
        if (found.kind !== 'contained') return;
        for (const argvs of forms)
          for (const risk_class of ['low', 'medium'] as const)
            for (const { contract } of toQuestions({ argvs, contract: { risk_class } }, now, [])) {
              const [before, after] = [wantedApprovals(contract, old), wantedApprovals(contract, now)];
              expect(after.people).toBeGreaterThanOrEqual(before.people);
              for (const { group, count } of before.quorum)
                if (group !== '')
                  expect(after.quorum.find((it) => it.group === group)?.count ?? 0).toBeGreaterThanOrEqual(
                    count,
                  );
            }
      }),
      { numRuns: Number(process.env['CSC_CONTAINMENT_RUNS'] ?? 60) },
    );
    expect(tally.contained).toBeGreaterThan(5);
    expect(tally.wider).toBeGreaterThan(5);
  });
});

describe('against sampling', () => {
  it('nothing that a new policy allows is missing from an old one that it is proved to be within', () => {
    const tally = { contained: 0, wider: 0, unknown: 0 };
    fc.assert(
      fc.property(
        anyPolicy,
        anyPolicy,
        fc.boolean(),
        fc.array(fc.array(anyArgv, { minLength: 1, maxLength: 2 }), { minLength: 8, maxLength: 8 }),
        (a, b, isNarrower, argvs) => {
          const old = policy(a);
          // Two at random are seldom within one another.
          const now = policy(isNarrower ? narrowed(a, b) : b);
          const found = compareReach(old, now);
          tally[found.kind] += 1;
          if (found.kind === 'wider')
            expect(rank(found.question, now)).toBeGreaterThan(rank(found.question, old));
          if (found.kind !== 'contained') return;
          for (const segments of argvs)
            for (const question of toQuestions({ argvs: segments }, now, []))
              expect(rank(question, now), JSON.stringify(question.contract.commands)).toBeLessThanOrEqual(
                rank(question, old),
              );
        },
      ),
      { numRuns: Number(process.env['CSC_CONTAINMENT_RUNS'] ?? 60) },
    );
    expect(tally.contained).toBeGreaterThan(5);
    expect(tally.wider).toBeGreaterThan(5);
  });
});

/** The first policy with one member of the second, or two. */
function narrowed(a: JsonObject, b: JsonObject): JsonObject {
  const names = Object.keys(b).filter((it) => it !== 'allow_commands' && it !== 'allow');
  return {
    ...a,
    ...Object.fromEntries(names.slice(-2).map((name) => [name, b[name] ?? null])),
    allow_commands: a['allow_commands'] ?? [],
    ...allowOf(a, b),
  };
}

function allowOf(a: JsonObject, b: JsonObject): JsonObject {
  const programs = a['allow_commands'] as string[];
  const rules = ((b['allow'] ?? a['allow'] ?? []) as { program: string }[]).filter((it) =>
    programs.includes(it.program),
  );
  return rules.length === 0 ? {} : { allow: rules as JsonObject[] };
}
