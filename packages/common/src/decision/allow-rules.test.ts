import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { JsonObject } from '../encoding/index.ts';
import { orThrow } from '../errors/index.ts';
import { policyFromJson } from '../policy/index.ts';
import { toContract } from '../policy-directory/samples.ts';
import { evaluate } from './evaluate.ts';

const allow = [
  {
    program: 'git',
    subcommands: ['status', 'log', 'stash list', 'remote', 'notes *'],
    deny_options: ['--output'],
  },
  { program: 'git', subcommands: ['push'], deny_options: ['--force', '--delete', '--mirror', '--no-verify'] },
  { program: 'git', subcommands: ['commit', 'branch'], deny_options: ['--no-verify', '--delete'] },
  { program: 'git', subcommands: ['fetch'], global_options: ['-C'], options: ['--all', '--tags'] },
  { program: 'git', subcommands: ['version', 'config get', 'config list', 'reflog show'] },
  { program: 'npm', subcommands: ['ci', 'run', 'test', 'install', 'config get'] },
  { program: 'cargo', subcommands: ['build', 'test'] },
  { program: 'docker', subcommands: ['ps', 'image ls', 'compose up'] },
  { program: 'kubectl', subcommands: ['get', 'rollout status'] },
  { program: 'apt-get', subcommands: ['update', 'install'], options: ['-y', '--no-install-recommends'] },
  { program: 'pip', subcommands: ['list', 'install'], deny_options: ['--target', '--index-url'] },
  { program: 'composer', subcommands: ['install'] },
  { program: 'make', subcommands: ['all', 'test'] },
  { program: 'rm', deny_operands: ['/workspace'], deny_options: ['--no-preserve-root'] },
  { program: 'sort', deny_options: ['-o'] },
  { program: 'tool', subcommands: ['show all'], deny_operands: ['prod-*'] },
];
const programs = [
  ...new Set(allow.map(({ program }) => program)),
  'env',
  'xargs',
  'timeout',
  '/usr/bin/git',
  'cat',
];

function document(overrides: JsonObject = {}) {
  return policyFromJson({
    policy_schema_version: 'csc.policy.v0.2',
    name: 'rules',
    allow_commands: programs,
    allow,
    allowed_effect_types: ['observe'],
    allowed_risk_classes: ['low'],
    max_timeout_sec: 60,
    network: 'deny',
    allow_secret_refs: false,
    allowed_cwd_prefixes: ['/workspace'],
    allowed_read_prefixes: ['/workspace'],
    ...overrides,
  });
}

const rules = orThrow(document(), 'POLICY_INVALID', 'the policy');

function decide(pipeline: readonly (readonly string[])[], policy = rules) {
  const words = pipeline.map((argv) => [...argv]);
  const [argv = []] = words;
  const place = { cwd: '/workspace/app', read_paths: [], write_paths: [], env_allow: [], secret_refs: [] };
  const rest = { ...place, network: 'deny', timeout_sec: 10, proposed_effect_type: 'observe' } as const;
  const command = words.length === 1 ? { argv, ...rest } : { pipeline: words, ...rest };
  return evaluate(
    toContract({
      name: 'x',
      commands: [command],
      risk_class: 'low',
      approval_mode: 'policy_only',
      decision: 'allow',
      reason_code: 'ALLOW',
    }),
    policy,
  );
}

const verdictOf = (line: string) => decide(line.split(' | ').map((it) => it.split(' '))).verdict;

describe('subcommand rules', () => {
  it.each([
    'git status --short',
    'git --no-pager log --oneline -5',
    'git -P --no-optional-locks log --format=%h -S push',
    'git stash list',
    'git remote -v',
    'git --version',
    'git config --list --show-origin',
    'git config --get user.name',
    'git config get user.name',
    'git reflog HEAD',
    'git notes',
    'git notes show HEAD',
    'git push origin main',
    'git push -u origin main:main',
    'git push -o ci.skip --follow-tags origin',
    'git -C sub fetch --all',
    'git fetch --al --tag',
    'git commit -m --no-verify',
    'git commit -am -n',
    'git commit -mn',
    '/usr/bin/git status',
    'npm ci',
    'npm --ignore-scripts ci --omit=dev',
    'npm --prefix sub -s t',
    'npm clean-install',
    'npm run publish',
    'npm run-script build -- --force publish',
    'npm install -D left-pad',
    'npm c get registry',
    'cargo +nightly --locked b --release',
    'docker ps -a',
    'docker image ls',
    'docker compose -f a.yaml up -d',
    'kubectl -n x get pods',
    'kubectl rollout status deploy/x',
    'apt-get -y install curl',
    'apt-get install --no-install-recommends -y curl',
    'pip --no-input install -r requirements.txt',
    'composer inst --no-dev',
    'make -j4 all test',
    'rm -rf dist ../other /workspace/app/x',
    'sort -u -k 2 x',
    'tool show all of it',
    'timeout 5 git status',
    'cat x | git log',
  ])('let pass %s', (line) => {
    expect(decide(line.split(' | ').map((it) => it.split(' '))).reasons).toEqual([
      'contract satisfies v0.2 policy checks',
    ]);
  });

  it.each([
    // Another subcommand, however it is reached.
    'git clean',
    'git',
    'git stash',
    'git stash drop',
    'git --help',
    'git config a b',
    'git config --unset a',
    'git config --get a --unset b',
    'git config --global --edit',
    'git config set a b',
    'git reflog',
    'git reflog expire --all',
    'git reflog --all expire',
    'git stash -u list',
    'git remote add x y',
    'git remote -v update',
    'git lg',
    'git --no-pager clean',
    'git --literal-pathspecs -p clean status',
    'npm publish',
    'npm publ',
    'npm p',
    'npm --ignore-scripts publish',
    'npm -s --json publish',
    'npm --prefix . token create',
    'npm --ignore-s publ',
    'npm config set registry x',
    'npm exec -- git clean',
    'npm exe git clean',
    'npm c',
    'npm --tag --registry ci publish',
    'npm --browser ci publish',
    'npm --new-option ci publish',
    'npm --json true publish',
    'cargo +nightly publish',
    'cargo -q publish',
    'docker push x',
    'docker --log-level debug push x',
    'docker image push x',
    'docker compose --new up push',
    'kubectl -n get delete pod x',
    'kubectl rollout restart deploy/x',
    'composer i-do-not-know',
    'composer self-update',
    'make',
    'make all deploy',
    'make -- deploy',
    'tool -v show all',
    'tool show',
    'cat x | git clean',
    'timeout 5 git clean',
    'env git clean',
    'env -S git\tclean',
    'xargs git',
    // An option of the program itself that turns it elsewhere, or that nobody knows.
    'git -C sub status',
    'git -c alias.status=push status',
    'git --git-dir=x status',
    'git --exec-path=x status',
    'git --new-option status',
    'git --new-option status log',
    'git --work-tree status log',
    'npm -g ci',
    'npm ci -g',
    'npm ci --glob',
    'npm --userconfig=x ci',
    'docker -H tcp://x ps',
    'kubectl --kubeconfig x get pods',
    'kubectl --as=admin get pods',
    'cargo --config x.toml build',
    'make -f other.mk all',
    'make -C sub all',
    // An option that is denied, or not among those that are allowed.
    'git log --output=x',
    'git log --outp x',
    'git status --output x',
    'git push --force',
    'git push -f',
    'git push -uf origin main',
    'git push origin main --force',
    'git push origin main --forc',
    'git push origin +main',
    'git push origin :main',
    'git push origin -- +main:main',
    'git push --new-option',
    'git commit -n',
    'git commit -anm x',
    'git commit --no-ver -m x',
    'git push --no-ver origin',
    'git branch -D main',
    'git fetch --prune',
    'git fetch -p',
    'git fetch --a',
    'apt-get install --allow-downgrades x',
    'apt-get -o Dpkg::Options::=x install x',
    'apt-get -s install x',
    'pip install --targ=/x y',
    'pip install -t /x y',
    'pip install -i https://x y',
    'sort -uo x y',
    'sort --output=x y',
    'sort --new-option y',
    'rm -fr /workspace',
    'rm -rf /workspace/',
    'rm -rf ..',
    'rm -rf ../../workspace/.',
    'rm -r -- /',
    'rm --no-preserve x',
    'rm --new-option x',
    'tool show all prod-1',
    'xargs git push origin',
    'xargs rm -r',
  ])('deny %s', (line) => {
    const { verdict, reasonCodes } = decide(line.split(' | ').map((it) => it.split(' ')));
    expect([verdict, reasonCodes]).toEqual(['deny', ['COMMAND_NOT_ALLOWED']]);
  });

  it('say what is meant, and what the policy has instead', () => {
    const [finding] = decide([['timeout', '5', 'npm', '-s', 'publ']]).findings;
    expect(finding?.member).toBe('commands[0].exec.argv[2]');
    expect(finding?.message).toContain('npm publish; the policy allows npm ci, npm run');
    expect(decide([['git', 'push', 'a', '+b']]).reasons[0]).toContain('git push with --force');
  });

  it('take an option of the program for what it is, though one of the subcommand has its name', () => {
    // -C of git is a directory, and that of git log finds copies.
    const allowed = { program: 'git', subcommands: ['log'], global_options: ['-C'] };
    const policy = orThrow(document({ allow: [allowed] }), 'POLICY_INVALID', 'the policy');
    expect(decide([['git', '-C', '/workspace', 'log']], policy).verdict).toBe('allow');
    expect(decide([['git', '--git-dir', '/x', 'log']], policy).verdict).toBe('deny');
  });

  // What is put around a subcommand that no rule allows: options of the program, whole, cut short or combined.
  const around = {
    git: ['-p', '-P', '--no-pager', '--no-optional-locks', '--literal-pathspecs', '-h', '--version'],
    npm: [
      '-s',
      '--json',
      '--ignore-scripts',
      '--ignore-s',
      '-dq',
      '--loglevel=error',
      '--prefix=.',
      '--no-audit',
    ],
    cargo: ['-q', '-v', '--locked', '--color=never', '--frozen', '-vq'],
    docker: ['-D', '--debug', '--log-level=debug', '-l=info'],
    kubectl: ['-nx', '--namespace=x', '--request-timeout=1', '-v=3'],
  } as const;
  const denied = {
    git: [
      'push --force',
      'push -f',
      'push o +m',
      'commit -nm x',
      'clean -fdx',
      'send-pack',
      'remote add a b',
      'config a b',
    ],
    npm: ['publish', 'publ', 'pub', 'unpublish', 'token list', 'adduser', 'login', 'owner add x'],
    cargo: ['publish', 'login', 'yank', 'owner'],
    docker: ['push x', 'run x', 'image push x', 'rm x', 'system prune'],
    kubectl: ['delete pod x', 'apply -f x', 'rollout undo x', 'exec x'],
  } as const;
  const known = fc.constantFrom('git', 'npm', 'cargo', 'docker', 'kubectl');
  const attempt = known.chain((program) =>
    fc.tuple(
      fc.constant(program),
      fc.array(fc.constantFrom<string>(...around[program]), { maxLength: 5 }),
      fc.constantFrom<string>(...denied[program]),
      fc.array(fc.constantFrom<string>(...around[program], '--', 'status', 'ci', 'build', 'ps', 'get'), {
        maxLength: 4,
      }),
      fc.constantFrom([], ['timeout', '5'], ['env', 'A=1']),
    ),
  );

  it('never allow a denied subcommand, whatever stands around it', () => {
    fc.assert(
      fc.property(attempt, ([program, before, words, after, wrapper]) => {
        const argv = [...wrapper, program, ...before, ...words.split(' '), ...after];
        expect(decide([argv]).verdict).toBe('deny');
      }),
      { numRuns: 1000 },
    );
  });

  it('never allow a forced push, in any order of its words', () => {
    const force = fc.constantFrom(
      '--force',
      '--forc',
      '--force=',
      '-f',
      '-fu',
      '-nf',
      '+main',
      '+a:b',
      '--mirr',
      ':b',
    );
    const others = fc.subarray([
      '-u',
      '-n',
      '--tags',
      '--porcelain',
      '--no-verify',
      'origin',
      'main',
      '-ox',
      '--atomic',
    ]);
    const words = fc
      .tuple(force, others)
      .chain(([bad, rest]) => fc.shuffledSubarray([bad, ...rest], { minLength: rest.length + 1 }));
    fc.assert(
      fc.property(words, (given) => {
        expect(decide([['git', 'push', ...given]]).verdict).toBe('deny');
      }),
      { numRuns: 500 },
    );
  });

  it('end, whatever the words are', () => {
    const word = fc.oneof(
      fc.string({ minLength: 1 }),
      fc.constantFrom('-C', '--', '-c', 'stash', '-f', '--no-pager', 'git'),
    );
    fc.assert(
      fc.property(
        fc.constantFrom('git', 'npm', 'make', 'rm', 'tool'),
        fc.array(word, { maxLength: 50 }),
        (program, words) => {
          expect(['allow', 'deny']).toContain(decide([[program, ...words]]).verdict);
        },
      ),
    );
  });
});

describe('the rules of a profile', () => {
  it.each([
    ['another name of a subcommand', { program: 'npm', subcommands: ['i'] }, 'allow[0].subcommands[0]'],
    ['a subcommand cut short', { program: 'npm', subcommands: ['publ'] }, 'allow[0].subcommands[0]'],
    ['a subcommand of what has none', { program: 'rm', subcommands: ['x'] }, 'allow[0].subcommands[0]'],
    ['a program that no list allows', { program: 'curl' }, 'allow[0].program'],
    ['an option without a dash', { program: 'git', options: ['force'] }, 'allow[0].options[0]'],
    ['a member that it does not have', { program: 'git', subcommand: ['x'] }, 'allow[0].subcommand'],
  ])('are refused with %s', (_, rule, path) => {
    const parsed = document({ allow: [rule] });
    expect(parsed.ok ? [] : parsed.faults.map((fault) => fault.path)).toEqual([path]);
  });

  it('are none of v0.1', () => {
    expect(document({ policy_schema_version: 'csc.policy.v0.1' }).ok).toBe(false);
  });
});

describe('what every host refuses', () => {
  it.each([
    ['env curl x', 'runs "curl", which the policy does not allow'],
    ['timeout --new-option git status', 'hides what is run'],
  ])('is denied by a v0.2 policy already: %s', (line, said) => {
    const { verdict, reasons } = decide([line.split(' ')]);
    expect([verdict, reasons.join()]).toEqual(['deny', expect.stringContaining(said)]);
  });

  const shell = { allow_commands: ['sh', 'git'], allow: [{ program: 'git' }] };

  it('is for each host to say, of inline code', () => {
    const policy = orThrow(document(shell), 'POLICY_INVALID', 'the policy');
    expect(decide([['sh', '-c', 'id']], policy).verdict).toBe('allow');
  });

  it('is denied where the policy denies inline code', () => {
    const policy = orThrow(document({ ...shell, inline_code: 'deny' }), 'POLICY_INVALID', 'the policy');
    for (const pipeline of [
      [['sh', '-c', 'id']],
      [['git', 'log'], ['sh']],
      [['git', '-c', 'core.pager=id', 'log']],
    ]) {
      const { verdict, reasons } = decide(pipeline, policy);
      expect([verdict, reasons.join()]).toEqual(['deny', expect.stringContaining('inline code')]);
    }
    expect(decide([['sh', 'x.sh']], policy).verdict).toBe('allow');
  });
});

it('paths that must not be removed may be patterns, and what they lie in must not be either', () => {
  const denied = ['/workspace/keep*', '*.key', '/workspace/*/own'];
  const rule = { program: 'rm', deny_operands: denied };
  const policy = orThrow(document({ allow: [rule] }), 'POLICY_INVALID', 'the policy');
  const verdicts = (operands: readonly string[]) =>
    operands.map((it) => decide([['rm', '-rf', it]], policy).verdict);
  const refused = [
    '../keep',
    '../keepx',
    '/workspace',
    '/',
    '..',
    '.',
    'a.key',
    './b/../a.key',
    '../x',
    '../x/own',
  ];
  expect(new Set(verdicts(refused))).toEqual(new Set(['deny']));
  expect(new Set(verdicts(['/workspace2', '../keep/a', 'keep', 'a.txt', 'b/a.key', '../x/y']))).toEqual(
    new Set(['allow']),
  );
});

it('reads words by what their program is, not by their place alone', () => {
  expect(verdictOf('cat push --force +main')).toBe('allow');
});
