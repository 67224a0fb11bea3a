import { contractSha256 } from '@csc-fleet/common/contract';
import { sampleContract, samplePolicy } from '@csc-fleet/test-kit/cli/artifacts';
import { csc, freshCsc } from '@csc-fleet/test-kit/process';
import { createScratch } from '@csc-fleet/test-kit/scratch';
import { describe, expect, it } from 'vitest';
import { describeLeftToHosts } from '../check/decide.ts';

function files(contract: object | string | Buffer, policy: object | string = samplePolicy()): string[] {
  const scratch = createScratch();
  return [scratch.write('contract.json', contract), scratch.write('policy.yaml', policy)];
}

describe('csc check', () => {
  it('ends with 0, 1 and 2, and says which on stdout', async () => {
    const allow = await freshCsc(['check', ...files(sampleContract())]);
    expect(allow).toMatchObject({ code: 0, stderr: '' });
    expect(allow.stdout).toMatch(/^ALLOW — /);
    const deny = await csc(['check', ...files(sampleContract({ exec: { argv: ['rm'] } }))]);
    expect(deny).toMatchObject({ code: 1, stderr: '' });
    expect(deny.stdout).toMatch(/^DENY — /);
    const ask = await csc(['check', ...files(sampleContract({}, { approval_mode: 'human_required' }))]);
    expect(ask).toMatchObject({ code: 2, stderr: '' });
    expect(ask.stdout).toMatch(/^NEEDS APPROVAL — /);
  });

  it('shows every finding, and the hash that an approver signs off', async () => {
    const contract = sampleContract({ exec: { argv: ['rm'] }, timeout_sec: 600 });
    const deny = await csc(['check', ...files(contract)]);
    expect(deny.stdout).toContain('COMMAND_NOT_ALLOWED commands[0]');
    expect(deny.stdout).toContain('TIMEOUT_EXCEEDS_POLICY commands[0].timeout_sec');
    const human = sampleContract({}, { approval_mode: 'human_required' });
    const ask = await csc(['check', ...files(human)]);
    expect(ask.stdout).toContain(contractSha256(human));
  });

  it('--json prints one PolicyDecision with both hashes and all findings', async () => {
    const contract = sampleContract({ exec: { argv: ['rm'] }, timeout_sec: 600 });
    const { code, stdout, stderr } = await csc(['check', '--json', ...files(contract)]);
    expect(code).toBe(1);
    expect(stderr).toBe('');
    const decision = JSON.parse(stdout);
    expect(decision).toMatchObject({
      contract_id: 'contract-0001',
      contract_sha256: contractSha256(contract),
      decision: 'deny',
      policy_profile: 'tests',
      reason_codes: ['COMMAND_NOT_ALLOWED'],
    });
    expect(decision.policy_sha256).toMatch(/^[0-9a-f]{64}$/);
    expect(decision.findings.map((it: { reason_code: string }) => it.reason_code)).toEqual([
      'COMMAND_NOT_ALLOWED',
      'TIMEOUT_EXCEEDS_POLICY',
    ]);
  });

  describe('asks what hosts ask of the words of a command', () => {
    const script = sampleContract({ exec: { argv: ['sh', '-c', 'id'] } });
    const shell = samplePolicy();

    it('and denies it under a v0.2 policy, before a host does', async () => {
      const policy = { ...shell, policy_schema_version: 'csc.policy.v0.2' };
      const deny = await csc(['check', ...files(script, policy)]);
      expect(deny).toMatchObject({ code: 1, stderr: '' });
      expect(deny.stdout).toMatch(/^DENY — command not allowed: argv\[1\] is inline code/);
      const allow = await csc(['check', '--allow-inline-code', ...files(script, policy)]);
      expect(allow).toMatchObject({ code: 0, stderr: '' });
    });

    it('and tells it beside a v0.1 decision, which stays what it is', async () => {
      const allow = await csc(['check', ...files(script, shell)]);
      expect(allow.code).toBe(0);
      expect(allow.stdout).toBe('ALLOW — contract satisfies v0.1 policy checks\n');
      expect(allow.stderr).toMatch(/hosts refuse it.*commands\[0\]\.exec\.argv\[1\].*inline code/);
      const json = JSON.parse((await csc(['check', '--json', ...files(script, shell)])).stdout);
      expect(json).toMatchObject({ decision: 'allow', reason_codes: ['ALLOW'], findings: [] });
      expect(json.host_findings).toMatchObject([
        { reason_code: 'HOST_CEILING_EXCEEDED', member: 'commands[0].exec.argv[1]' },
      ]);
    });
  });

  it('reads the contract from standard input', async () => {
    const scratch = createScratch();
    const policy = scratch.write('policy.yaml', samplePolicy());
    const result = await csc(['check', '-', policy], { input: JSON.stringify(sampleContract()) });
    expect(result.code).toBe(0);
  });

  it('lists every fault of a contract with its member', async () => {
    const contract = { ...sampleContract({ cwd: 'relative', timeout_sec: 0 }), extra: 1 };
    const { code, stdout, stderr } = await csc(['check', ...files(contract)]);
    expect(code).toBe(1);
    expect(stdout).toBe('');
    for (const member of ['commands[0].cwd', 'commands[0].timeout_sec', 'extra'])
      expect(stderr).toContain(member);
  });

  const deep = `${'{"a":'.repeat(5000)}1${'}'.repeat(5000)}`;
  it.each<[string, string | Buffer]>([
    ['two megabytes', Buffer.alloc(2 << 20, 0x20)],
    ['random bytes', Buffer.from([0, 255, 254, 128, 7, 27, 91, 50, 74])],
    ['a byte order mark', Buffer.from('\ufeff{}')],
    ['five thousand levels', deep],
    ['a duplicate key', '{"version":"csc.v0.1","version":"csc.v0.1"}'],
    ['a key of the prototype', '{"__proto__":{"version":"csc.v0.1"}}'],
    ['a lone surrogate', '{"version":"\\ud800"}'],
    ['a fraction', '{"version":1.5}'],
    ['trailing bytes', '{} {}'],
    ['nothing', ''],
    ['terminal escapes', '{"\\u001b[2J":"\\u001b]0;title\\u0007"}'],
  ])('refuses %s without a stack trace', async (_, content) => {
    const { code, stdout, stderr } = await csc(['check', ...files(content)]);
    expect(code).toBe(1);
    expect(stdout).toBe('');
    expect(stderr).toMatch(/^ERROR — /);
    expect(stderr).not.toMatch(/\n\s+at /);
    expect(stderr).not.toContain('\u001b');
    const json = await csc(['check', '--json', ...files(content)]);
    expect(json).toMatchObject({ code: 1, stderr: '' });
    expect(JSON.parse(json.stdout)).toMatchObject({ code: 'CONTRACT_INVALID' });
  });

  it.each([
    ['a policy that is not there', undefined, /failed to read/],
    ['broken YAML', 'a: [', /invalid YAML/],
    ['a duplicate key', 'name: a\nname: b\n', /duplicate key/],
    ['no mapping', '- a\n', /must contain a YAML mapping/],
  ])('says what is wrong with %s', async (_, policy, said) => {
    const scratch = createScratch();
    const contract = scratch.write('contract.json', sampleContract());
    const path =
      policy === undefined ? `${scratch.directory}/none.yaml` : scratch.write('policy.yaml', policy);
    const { code, stderr } = await csc(['check', contract, path]);
    expect(code).toBe(1);
    expect(stderr).toMatch(said);
  });

  it('says how it is called where an argument is missing', async () => {
    const { code, stdout, stderr } = await csc(['check', 'contract.json']);
    expect(code).toBe(64);
    expect(stdout).toBe('');
    expect(stderr).toContain('csc check --help');
  });
});

describe('csc check --batch', () => {
  const contract = sampleContract();
  const policy = samplePolicy();

  async function batch(input: string | Buffer): Promise<Record<string, unknown>[]> {
    const { code, stdout, stderr } = await csc(['check', '--batch', '-'], { input });
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    return stdout
      .split('\n')
      .slice(0, -1)
      .map((line) => JSON.parse(line));
  }

  it('writes one answer a line, in order, whatever the lines hold', async () => {
    const lines = [
      JSON.stringify({ contract, policy }),
      'not json',
      '',
      JSON.stringify({ contract: { ...contract, risk_class: 'high' }, policy: JSON.stringify(policy) }),
      JSON.stringify({ contract }),
      '{"contract":{},"contract":{},"policy":{}}',
      JSON.stringify({ contract, policy: 'name: a\nname: b\n' }),
      JSON.stringify({ contract: { ...contract, approval_mode: 'human_required' }, policy }),
    ];
    const answers = await batch(`${lines.join('\n')}\n`);
    const shown = answers.map(
      (it) => it['decision'] ?? (typeof it['error'] === 'string' ? 'error' : 'nothing'),
    );
    expect(shown).toEqual(['allow', 'error', 'error', 'deny', 'error', 'error', 'error', 'needs_approval']);
    expect(answers[0]).toMatchObject({ contract_sha256: contractSha256(contract), findings: [] });
    expect(answers[1]).toMatchObject({ line: 2 });
    expect(answers[0]?.['policy_sha256']).toMatch(/^[0-9a-f]{64}$/);
  });

  it('answers the last line without a line feed, and nothing for no input', async () => {
    expect(await batch(JSON.stringify({ contract, policy }))).toHaveLength(1);
    expect(await batch('')).toEqual([]);
  });

  it('goes on after a line that is too long to keep', async () => {
    const long = Buffer.concat([
      Buffer.from('{"contract":"'),
      Buffer.alloc(7 << 20, 0x61),
      Buffer.from('"}\n'),
    ]);
    const answers = await batch(Buffer.concat([long, Buffer.from(JSON.stringify({ contract, policy }))]));
    expect(answers).toHaveLength(2);
    expect(answers[0]).toHaveProperty('error');
    expect(answers[1]).toMatchObject({ decision: 'allow' });
  });

  it('judges ten thousand pairs', async () => {
    const lines = Array.from({ length: 10_000 }, (_, index) =>
      JSON.stringify({ contract: { ...contract, contract_id: `contract-${index}` }, policy }),
    );
    const answers = await batch(lines.join('\n'));
    expect(answers).toHaveLength(10_000);
    expect(answers[9999]).toMatchObject({ contract_id: 'contract-9999', decision: 'allow' });
  });
});

it('says which secrets and what code a gate leaves to hosts', () => {
  const contract = sampleContract({ exec: { argv: ['env', 'python3', '-c', '1'] }, secret_refs: ['TOKEN'] });
  const [secrets, code] = describeLeftToHosts(contract);
  expect(secrets).toContain('the secrets TOKEN only where bindings.yaml');
  expect(code).toContain(`(commands ${contract.commands[0]?.id})`);
  expect(describeLeftToHosts(sampleContract())).toEqual([]);
});
