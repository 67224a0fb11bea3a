import { describe, expect, it } from 'vitest';
import type { JsonObject } from '../encoding/index.ts';
import { orThrow } from '../errors/index.ts';
import { policyFromJson } from '../policy/index.ts';
import { judgeSamples, parseSamples } from '../policy-directory/index.ts';
import { toContract } from '../policy-directory/samples.ts';
import { type Evaluation, evaluate } from './evaluate.ts';

const rules = [
  { program: 'git', subcommands: ['push'], any_word: ['--force', '-f', '+*'], effect: 'rewrite_history' },
  { program: 'git', any_word: ['--output'], effect: 'transform_local' },
  { program: 'git', subcommands: ['log', 'stash list'], flags: ['--no-pager'], effect: 'observe' },
  { program: 'git', effect: 'mutate_repo' },
  { program: '/usr/bin/rm', effect: 'transform_local' },
  { program: 'make', any_word: ['deploy'], effect: 'deploy' },
];

function policy(overrides: JsonObject = {}) {
  const document = policyFromJson({
    policy_schema_version: 'csc.policy.v0.2',
    name: 'rules',
    allow_commands: ['cat', 'curl', 'git', '/usr/bin/git', '/usr/bin/rm', 'rm', 'make'],
    allowed_effect_types: ['observe', 'transform_local', 'mutate_repo', 'deploy'],
    manual_approval_for_classified_effect_types: ['mutate_repo', 'deploy'],
    allowed_risk_classes: ['low'],
    max_timeout_sec: 60,
    network: 'deny',
    allow_secret_refs: false,
    allowed_cwd_prefixes: ['/workspace'],
    allowed_read_prefixes: ['/workspace'],
    effect_rules: rules,
    ...overrides,
  });
  return orThrow(document, 'POLICY_INVALID', 'the policy');
}

/** What the policy says of a pipeline of command lines, apart by ` | `. */
function decide(line: string, proposed = 'observe', overrides: JsonObject = {}): Evaluation {
  const argvs = line.split(' | ').map((argv) => argv.split(' '));
  const command = {
    ...(argvs.length === 1 ? { argv: argvs[0] } : { pipeline: argvs }),
    proposed_effect_type: proposed,
  };
  const file = {
    samples_version: 'csc.policy-samples.v0.1',
    samples: [{ name: line, commands: [command], decision: 'allow', reason_code: 'ALLOW' }],
  };
  const [sample] = orThrow(parseSamples(Buffer.from(JSON.stringify(file))), 'POLICY_INVALID', 'the sample');
  if (sample === undefined) throw new Error('there is no sample');
  return evaluate(toContract(sample), policy(overrides));
}

const effectOf = (line: string, proposed?: string) =>
  decide(line, proposed).classifiedEffects[0]?.effect_type;

describe('effect rules', () => {
  it.each([
    ['git log --oneline', 'observe'],
    ['git --no-pager log', 'observe'],
    ['git --git-dir=.git log', 'observe'],
    ['git stash list', 'observe'],
    ['git stash', 'mutate_repo'],
    ['git stash drop', 'mutate_repo'],
    ['git push', 'mutate_repo'],
    ['/usr/bin/git push', 'mutate_repo'],
    // -C may take `log`, so that the subcommand is another one.
    ['git -C log push', 'mutate_repo'],
    ['git -C . log', 'mutate_repo'],
    ['git --unknown log', 'mutate_repo'],
    ['git log --output=x', 'transform_local'],
    ['git log --outp=x', 'transform_local'],
    ['git push --force origin', 'rewrite_history'],
    ['git push origin main --forc', 'rewrite_history'],
    ['git push -uf origin main', 'rewrite_history'],
    ['git -P push origin +main', 'rewrite_history'],
    ['git push --follow-tags', 'mutate_repo'],
    ['git log main | git push', 'mutate_repo'],
    ['git push | git log main', 'mutate_repo'],
    ['cat a | git log', 'observe'],
    ['/usr/bin/rm -r a', 'transform_local'],
    // Not the path that the rule is about.
    ['rm -r a', 'observe'],
    ['make deploy', 'deploy'],
    ['make test', 'observe'],
    ['curl x | git log', 'fetch_external'],
  ])('%s, said to be observe, is %s', (line, effect) => {
    expect(effectOf(line)).toBe(effect);
  });

  it('make less of a proposal only where a rule surely matches every argv', () => {
    expect(effectOf('git log', 'deploy')).toBe('observe');
    expect(effectOf('git log | cat', 'deploy')).toBe('deploy');
    expect(effectOf('git log | git log', 'deploy')).toBe('observe');
    expect(effectOf('make deploy', 'transform_local')).toBe('deploy');
  });

  it('are told, and an allowed effect of theirs goes through', () => {
    expect(decide('git log', 'transform_local')).toMatchObject({
      verdict: 'allow',
      reasonCodes: ['ALLOW', 'EFFECT_RECLASSIFIED'],
    });
    expect(decide('git log')).toMatchObject({ verdict: 'allow', reasonCodes: ['ALLOW'], findings: [] });
  });

  it('bring the approval that the classified effect needs', () => {
    expect(decide('git push')).toMatchObject({
      verdict: 'needs_approval',
      reasonCodes: ['APPROVAL_REQUIRED', 'EFFECT_RECLASSIFIED'],
    });
    expect(decide('git push', 'mutate_repo')).toMatchObject({
      verdict: 'needs_approval',
      reasonCodes: ['APPROVAL_REQUIRED'],
    });
  });

  it('deny an effect that is not allowed, whatever is proposed and whoever approves', () => {
    const denied = { verdict: 'deny', reasonCodes: ['EFFECT_TYPE_NOT_ALLOWED', 'EFFECT_RECLASSIFIED'] };
    expect(decide('git push', 'observe', { allowed_effect_types: ['observe'] })).toMatchObject({
      verdict: 'deny',
      reasonCodes: ['EFFECT_TYPE_NOT_ALLOWED', 'APPROVAL_REQUIRED', 'EFFECT_RECLASSIFIED'],
    });
    expect(decide('git push -f', 'mutate_repo')).toMatchObject(denied);
    expect(decide('git push -f', 'mutate_repo').findings.map(({ member }) => member)).toEqual([
      'commands[0].proposed_effect_type',
      'commands[0].proposed_effect_type',
    ]);
  });

  it('take time in proportion to the words', () => {
    const line = `git ${'-a '.repeat(150)}log`;
    expect(effectOf(line)).toBe('mutate_repo');
  });

  it.each([
    ['a relative path', { program: 'bin/git', effect: 'observe' }, 'program'],
    ['no effect', { program: 'git' }, 'effect'],
    ['an effect in another style', { program: 'git', effect: 'Rewrite History' }, 'effect'],
    ['a member that is not known', { program: 'git', effect: 'observe', words: ['log'] }, 'words'],
    ['an empty list', { program: 'git', effect: 'observe', subcommands: [] }, 'subcommands'],
  ])('are refused with %s', (_, rule, member) => {
    expect(() => policy({ effect_rules: [rule] })).toThrow(`effect_rules[0].${member}`);
  });

  it('are no member of v0.1', () => {
    expect(() => policy({ policy_schema_version: 'csc.policy.v0.1' })).toThrow('effect_rules');
  });

  it('are held against samples like all else', () => {
    const text = `samples_version: csc.policy-samples.v0.1
samples:
  - { name: x, commands: [{ argv: [git, push] }], decision: needs_approval, reason_code: EFFECT_RECLASSIFIED }
`;
    const samples = orThrow(parseSamples(Buffer.from(text)), 'POLICY_INVALID', 'the samples');
    expect(judgeSamples(samples, policy())).toEqual([]);
    expect(judgeSamples(samples, policy({ effect_rules: [] }))).toHaveLength(1);
  });
});
