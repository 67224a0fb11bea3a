import { policy } from '@csc-fleet/test-kit/containment';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { beginMatch, endMatch, readWord, settleMatch, wantedApprovals } from '../decision/index.ts';
import { matchEffectRule } from '../decision/match-effect-rule.ts';
import type { JsonObject } from '../encoding/index.ts';
import type { EffectRule, PolicyDocument } from '../policy/index.ts';
import { compareReach } from './compare-reach.ts';
import { rank, toQuestions } from './questions.ts';

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
