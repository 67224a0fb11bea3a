import { readFileSync } from 'node:fs';
import { evaluate, explain } from '@csc-fleet/common/decision';
import { orThrow } from '@csc-fleet/common/errors';
import { parsePolicy } from '@csc-fleet/common/policy';
import { sampleContract, samplePolicy } from '@csc-fleet/test-kit/cli/artifacts';
import { csc } from '@csc-fleet/test-kit/process';
import { createScratch } from '@csc-fleet/test-kit/scratch';
import { describe, expect, it } from 'vitest';

const samples = (decision: string, code: string): object => ({
  samples_version: 'csc.policy-samples.v0.1',
  samples: [
    {
      name: 'a <program> of none',
      commands: [{ argv: ['no-such'] }],
      decision: 'deny',
      reason_code: 'COMMAND_NOT_ALLOWED',
    },
    { name: 'outside', commands: [{ argv: ['true'], cwd: '/etc' }], decision, reason_code: code },
  ],
});

describe('csc policy test', () => {
  it('shows what profiles say of their samples, and ends with 0 where that is as due', async () => {
    const { code, stdout, stderr } = await csc(['policy', 'test', 'policies', '--json']);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    const profiles = stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(profiles.map(({ profile }) => profile)).toEqual([
      'build-with-registry',
      'ci-build',
      'inspect',
      'restricted',
    ]);
    for (const { samples: all } of profiles) expect(all.every(({ ok }: { ok: boolean }) => ok)).toBe(true);
  });

  it('shows what is not as due as a diff with its rules, to people and to CI', async () => {
    const scratch = createScratch();
    scratch.write('tests.yaml', samplePolicy());
    scratch.write('tests.samples.yaml', samples('allow', 'ALLOW'));
    const report = `${scratch.directory}/samples.xml`;
    const { code, stdout, stderr } = await csc(['policy', 'test', scratch.directory, '--junit', report]);
    expect(code).toBe(1);
    expect(stdout).toMatch(/outside +deny \(CWD_NOT_ALLOWED\) +NOT AS DUE/);
    expect(stdout).toContain('- allow (ALLOW)\n+ deny (CWD_NOT_ALLOWED)\nDENY — cwd not allowed: /etc');
    expect(stderr).toContain('2 samples of 1 profiles, 1 not as due');
    scratch.write('tests.yaml', samplePolicy('/srv'));
    scratch.write('tests.samples.yaml', {
      ...samples('allow', 'ALLOW'),
      samples: [{ name: 'x', commands: [{ argv: ['true'] }], decision: 'allow', reason_code: 'ALLOW' }],
    });
    expect((await csc(['policy', 'test', scratch.directory])).stdout).toContain('What to do: a sample');
    const xml = readFileSync(report, 'utf8');
    expect(xml).toContain('<testcase name="a &lt;program> of none"');
    expect(xml).toMatch(/<testsuite name="tests".* tests="2" failures="1"/);
    expect(xml).toMatch(/<failure .*- allow \(ALLOW\) \+ deny \(CWD_NOT_ALLOWED\)/);
  });

  it('goes on behind a file that cannot be read', async () => {
    const scratch = createScratch();
    scratch.write('a.yaml', 'name: [');
    scratch.write('tests.yaml', samplePolicy());
    scratch.write('tests.samples.yaml', samples('deny', 'CWD_NOT_ALLOWED'));
    const { code, stdout } = await csc(['policy', 'test', scratch.directory]);
    expect(code).toBe(1);
    expect(stdout).toContain(`NOT READABLE ${scratch.directory}/a.yaml`);
    expect(stdout).toMatch(/outside +deny \(CWD_NOT_ALLOWED\) +as due/);
  });
});

describe('csc policy explain', () => {
  it('names the rule by which each member passes or fails', async () => {
    const scratch = createScratch();
    const policy = scratch.write('policy.yaml', samplePolicy());
    const asked = sampleContract({ cwd: '/etc', timeout_sec: 5 });
    const { code, stdout } = await csc(['policy', 'explain', scratch.write('contract.json', asked), policy]);
    expect(code).toBe(1);
    expect(stdout).toMatch(/^tests: DENY — cwd not allowed: \/etc/);
    expect(stdout).toMatch(/commands\[0\]\.cwd +\/etc +below none of allowed_cwd_prefixes +CWD_NOT_ALLOWED/);
    expect(stdout).toMatch(/commands\[0\]\.timeout_sec +5 +max_timeout_sec \d+\n/);
    expect(stdout).toMatch(/commands\[0\]\.exec\.argv +\S.* allow_commands\[\d+\]/);
  });

  it('leaves no finding out, and decides as evaluate does', () => {
    const policy = orThrow(
      parsePolicy(Buffer.from(JSON.stringify(samplePolicy()))),
      'POLICY_INVALID',
      'policy',
    );
    const asked = sampleContract(
      {
        exec: { argv: ['rm', 'x'] },
        cwd: '/etc',
        read_paths: ['/a', '/b'],
        network: 'full',
        secret_refs: ['s'],
        timeout_sec: 86_400,
      },
      { risk_class: 'critical', approval_mode: 'human_required' },
    );
    const { grounds, ...decided } = explain(asked, policy, undefined, { terminal: true });
    expect(decided).toEqual(evaluate(asked, policy, undefined, { terminal: true }));
    expect(new Set(grounds.flatMap(({ findings }) => findings))).toEqual(new Set(decided.findings));
  });

  it('judges by one profile of a folder, and names those that there are', async () => {
    const contract = createScratch().write('contract.json', sampleContract());
    const one = await csc(['policy', 'explain', contract, 'policies', '--profile', 'inspect', '--json']);
    expect(JSON.parse(one.stdout)).toMatchObject({ profile: 'inspect' });
    const none = await csc(['policy', 'explain', contract, 'policies', '--profile', 'inspekt']);
    expect(none).toMatchObject({ code: 1, stdout: '' });
    expect(none.stderr).toContain(
      'has no profile inspekt; it has build-with-registry, ci-build, inspect, restricted',
    );
  });
});

describe('csc policy diff', () => {
  it('shows rules and decisions that differ, and ends as diff(1) does', async () => {
    const scratch = createScratch();
    const old = scratch.write('old.yaml', samplePolicy());
    const now = scratch.write(
      'new.yaml',
      samplePolicy('/workspace', { allow_secret_refs: true, allowed_cwd_prefixes: ['/etc'] }),
    );
    const corpus = scratch.write(
      'contracts.jsonl',
      [sampleContract(), sampleContract({ cwd: '/etc' })].map((it) => JSON.stringify(it)).join('\n'),
    );
    const { code, stdout } = await csc(['policy', 'diff', old, now, '--corpus', corpus]);
    expect(code).toBe(1);
    expect(stdout).toContain('  allow_secret_refs\n    - false\n    + true\n');
    expect(stdout).toContain('    + "/etc"\n');
    expect(stdout).toMatch(/contracts\.jsonl:2\n {4}- deny \(CWD_NOT_ALLOWED\).*\n {4}\+ allow \(ALLOW\)/);
    expect(stdout).toContain('2 of 2 contracts are decided differently');
    expect(await csc(['policy', 'diff', old, old, '--corpus', corpus])).toMatchObject({
      code: 0,
      stdout: '',
      stderr: '',
    });
  });

  it('shows that other people must agree, or that other hosts may run it, under the same verdict', async () => {
    const scratch = createScratch();
    const rules = (groups: string[], tier: string) =>
      samplePolicy('/workspace', {
        policy_schema_version: 'csc.policy.v0.2',
        approvals: [{ quorum: groups.map((group) => ({ group })) }],
        hosts: { tier },
      });
    const old = scratch.write('old.yaml', rules(['release', 'security'], 'a'));
    const corpus = scratch.write('contract.json', sampleContract());
    const changed = async (now: object): Promise<string> =>
      (await csc(['policy', 'diff', old, scratch.write('new.yaml', now), '--corpus', corpus])).stdout;
    const fewer = await changed(rules(['release'], 'a'));
    expect(fewer).toMatch(
      / {4}- needs_approval .*; needs approval of 1 of release and 1 of security; on hosts/,
    );
    expect(fewer).toMatch(/ {4}\+ needs_approval .*; needs approval of 1 of release; on hosts with tier=a\n/);
    expect(fewer).toContain('1 of 1 contracts are decided differently');
    const elsewhere = await changed(rules(['release', 'security'], 'b'));
    expect(elsewhere).toMatch(/ {4}\+ needs_approval .*; on hosts with tier=b\n/);
    expect(elsewhere).toContain('1 of 1 contracts are decided differently');
    expect(await changed(rules(['security', 'release'], 'a'))).toContain('0 of 1 contracts');
  });

  it('compares the profiles of two folders by their names', async () => {
    const [old, now] = [createScratch(), createScratch()];
    old.write('a.yaml', samplePolicy('/workspace', { name: 'a' }));
    now.write('b.yaml', samplePolicy('/workspace', { name: 'b' }));
    const { code, stdout } = await csc(['policy', 'diff', old.directory, now.directory]);
    expect({ code, stdout }).toEqual({ code: 1, stdout: 'a\n- the whole profile\nb\n+ the whole profile\n' });
    const half = await csc(['policy', 'diff', old.directory, `${now.directory}/b.yaml`]);
    expect(half.stderr).toContain('compare two profiles, or two folders of them');
  });
});

describe('csc policy prove', () => {
  const old = samplePolicy();

  it('proves that a new profile allows nothing more, or writes a contract that csc check shows it by', async () => {
    const scratch = createScratch();
    const [before, less] = [
      scratch.write('old.yaml', old),
      scratch.write('less.yaml', samplePolicy('/workspace/a')),
    ];
    const proved = await csc(['policy', 'prove', before, less]);
    expect(proved).toMatchObject({ code: 0, stderr: '' });
    expect(proved.stdout).toMatch(/^PROVED — /);
    const more = scratch.write(
      'more.yaml',
      samplePolicy('/workspace', { allowed_cwd_prefixes: ['/workspace', '/srv'] }),
    );
    const file = `${scratch.directory}/counterexample.json`;
    const wider = await csc(['policy', 'prove', before, more, '--contract', file]);
    expect(wider.code).toBe(1);
    expect(wider.stdout).toMatch(
      /^WIDER — by allowed_cwd_prefixes \/srv\n {2}old: deny: .*\/srv.*\n {2}new: allow: /,
    );
    expect((await csc(['check', file, before])).code).toBe(1);
    expect((await csc(['check', file, more])).code).toBe(0);
  });

  it('says what a run gets more, and gives it as JSON', async () => {
    const scratch = createScratch();
    const v02 = { policy_schema_version: 'csc.policy.v0.2' };
    const before = scratch.write(
      'old.yaml',
      samplePolicy('/workspace', { ...v02, limits: { processes: 10, open_files: 64 } }),
    );
    const after = scratch.write(
      'new.yaml',
      samplePolicy('/workspace', { ...v02, limits: { processes: 20 } }),
    );
    const { code, stdout } = await csc(['policy', 'prove', before, after, '--json']);
    expect(code).toBe(1);
    expect(JSON.parse(stdout)).toMatchObject({
      result: 'wider',
      about: 'limits.processes',
      gives: 'processes 20, not 10',
      also: ['open_files as far as the host lets it, not 64'],
    });
  });
});

describe('a folder where a file is meant, and the other way round', () => {
  it.each([
    [['prove', 'policies', 'policies'], 'policies is a folder: name the file of one profile in it'],
    [['test', 'policies/inspect.yaml'], 'policies/inspect.yaml is a file: name the folder'],
    [['diff', 'policies', 'no-such'], 'failed to read no-such'],
    [['lint', 'no-such'], 'failed to read no-such'],
    [['lint', 'policies/bindings.yaml'], 'policies/bindings.yaml is no profile'],
  ])('%j says so', async (words, message) => {
    const { code, stdout, stderr } = await csc(['policy', ...words]);
    expect(code).not.toBe(0);
    expect(stdout).toBe('');
    expect(stderr).toContain(message);
  });
});

describe('csc policy lint', () => {
  it('names rules that can never speak, and finds none in the profiles that ship', async () => {
    const file = createScratch().write(
      'policy.yaml',
      samplePolicy('/workspace', { deny_argv_prefixes: [['rm']] }),
    );
    const { code, stdout } = await csc(['policy', 'lint', file]);
    expect(code).toBe(1);
    expect(stdout).toContain('deny_argv_prefixes[0]: rm is not among allow_commands');
    const clean = { code: 0, stdout: '', stderr: 'csc: 4 profiles: every rule can speak\n' };
    expect(await csc(['policy', 'lint', 'policies'])).toMatchObject(clean);
    expect(await csc(['policy', 'lint', 'policies', '--json'])).toMatchObject({ ...clean, stderr: '' });
    // Of a repository it is the folder beside that has them.
    const repository = createScratch();
    repository.write('bindings.yaml', { bindings_version: 'csc.bindings.v0.2', bindings: [] });
    const none = await csc(['policy', 'lint', repository.directory]);
    expect(none).toMatchObject({ code: 0, stderr: expect.stringContaining('no profile is here') });
  });
});
