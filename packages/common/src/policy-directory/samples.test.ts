import { describe, expect, it } from 'vitest';
import { contractFromJson } from '../contract/index.ts';
import { orThrow } from '../errors/index.ts';
import { policyFromJson } from '../policy/index.ts';
import { judgeSamples, parseSamples, toContract } from './samples.ts';

const head = 'samples_version: csc.policy-samples.v0.1\nsamples:\n';
const end = '    decision: allow\n    reason_code: ALLOW\n';

function faultsOf(yaml: string): string[] {
  const parsed = parseSamples(Buffer.from(yaml));
  return parsed.ok ? [] : parsed.faults.map(({ path }) => path).sort();
}

describe('the short form of a sample', () => {
  it('stands for a contract that the parser takes as it is', () => {
    const text = `${head}  - name: two\n    commands: [{ argv: [ls] }, { pipeline: [[cat, a], [wc]], timeout_sec: 99 }]\n${end}`;
    const parsed = parseSamples(Buffer.from(text));
    if (!parsed.ok || parsed.value[0] === undefined) throw new Error('the samples are none');
    const contract = toContract(parsed.value[0]);
    expect(contractFromJson(contract)).toEqual({ ok: true, value: contract });
    expect(contract.commands).toMatchObject([
      { exec: { argv: ['ls'] }, cwd: '/workspace', network: 'deny', timeout_sec: 10 },
      { pipeline: { segments: [{ argv: ['cat', 'a'] }, { argv: ['wc'] }] }, timeout_sec: 99 },
    ]);
    expect(contract).toMatchObject({ risk_class: 'low', approval_mode: 'policy_only' });
  });
});

describe('parseSamples', () => {
  it.each([
    ['no commands', '  - name: x\n', ['samples[0]']],
    [
      'both forms of a command',
      '  - name: x\n    commands: [{ argv: [a], pipeline: [[a], [b]] }]\n',
      ['samples[0].commands[0]'],
    ],
    [
      'what no contract may hold',
      '  - name: x\n    commands: [{ argv: [], cwd: a }]\n',
      ['samples[0].commands[0].argv', 'samples[0].commands[0].cwd'],
    ],
    [
      'an unknown member',
      '  - name: x\n    commands: [{ argv: [a], reads: [] }]\n',
      ['samples[0].commands[0].reads'],
    ],
  ])('refuses %s', (_, text, paths) => {
    expect(faultsOf(`${head}${text}${end}`)).toEqual(paths);
  });

  it('is told of where it says no cwd, and its profile lets nothing run in the default one', () => {
    const [of, other] = ['/srv/app', '/workspace'].map((path) =>
      orThrow(
        policyFromJson({
          policy_schema_version: 'csc.policy.v0.2',
          name: 'tests',
          allow_commands: ['ls'],
          allowed_effect_types: ['observe'],
          allowed_risk_classes: ['low'],
          max_timeout_sec: 60,
          network: 'deny',
          allow_secret_refs: false,
          allowed_cwd_prefixes: [path],
          allowed_read_prefixes: [path],
        }),
        'POLICY_INVALID',
        'it',
      ),
    );
    if (of === undefined || other === undefined) throw new Error('there are two');
    const say = (command: string, policy = of) => {
      const text = `${head}  - name: x\n    commands: [${command}]\n${end}`;
      return judgeSamples(orThrow(parseSamples(Buffer.from(text)), 'POLICY_INVALID', 'it'), policy);
    };
    expect(say('{ argv: [ls] }')).toEqual([
      {
        path: 'samples[0]',
        message: expect.stringMatching(
          /in \/workspace, where tests lets nothing run: add cwd: \/srv\/app to each$/,
        ),
      },
    ]);
    expect(say('{ argv: [ls], cwd: /srv/app }')).toEqual([]);
    expect(say('{ argv: [ls] }', other)).toEqual([]);
    expect(say('{ argv: [ls], cwd: /etc }')[0]?.message).not.toContain('add cwd');
  });

  it('refuses a code that does not exist', () => {
    const text = `${head}  - name: x\n    commands: [{ argv: [a] }]\n    decision: maybe\n    reason_code: NOPE\n`;
    expect(faultsOf(text)).toEqual(['samples[0].decision', 'samples[0].reason_code']);
  });

  it('refuses a whole contract with something of the short form beside it', () => {
    const text = `${head}  - name: x\n    contract: {}\n    risk_class: low\n${end}`;
    expect(faultsOf(text)).toContain('samples[0].risk_class');
  });
});
