import { describe, expect, it } from 'vitest';
import type { Command, CommandContract } from '../contract/index.ts';
import type { JsonObject } from '../encoding/index.ts';
import { orThrow } from '../errors/index.ts';
import { type PolicyDocument, policyFromJson } from '../policy/index.ts';
import { evaluate } from './evaluate.ts';
import { wantedApprovals } from './wanted-approvals.ts';

function read(overrides: JsonObject = {}): PolicyDocument {
  const parsed = policyFromJson({
    policy_schema_version: 'csc.policy.v0.1',
    name: 'test',
    allow_commands: ['git', 'ls', 'curl'],
    deny_argv_prefixes: [['git', 'push']],
    allowed_effect_types: ['observe'],
    allowed_risk_classes: ['low'],
    max_timeout_sec: 60,
    network: 'deny',
    allow_secret_refs: false,
    allowed_cwd_prefixes: ['/workspace'],
    allowed_read_prefixes: ['/workspace'],
    ...overrides,
  });
  return orThrow(parsed, 'POLICY_INVALID', 'the policy');
}

const policy = read();
const v02 = { policy_schema_version: 'csc.policy.v0.2' };

function contract(command: Partial<Command>, rest: Partial<CommandContract> = {}): CommandContract {
  return {
    version: 'csc.v0.1',
    contract_id: 'contract-1',
    intent: 'a test',
    actor: { agent_id: 'a', session_id: 's', initiating_user: 'u', delegation_scope: 'd' },
    commands: [
      {
        id: 'main',
        exec: { argv: ['ls'] },
        cwd: '/workspace',
        read_paths: [],
        write_paths: [],
        network: 'deny',
        env_allow: [],
        secret_refs: [],
        timeout_sec: 10,
        proposed_effect_type: 'observe',
        ...command,
      },
    ],
    risk_class: 'low',
    approval_mode: 'policy_only',
    justification: 'a test',
    expected_outputs: [],
    ...rest,
  };
}

describe('evaluate', () => {
  // Scripts of the reference's users look for these texts.
  it.each([
    [contract({ exec: { argv: ['rm'] } }), 'command not allowed: rm; the policy allows git, ls, curl'],
    [contract({ exec: { argv: ['git', 'push', 'x'] } }), 'argv prefix denied: git push'],
    [contract({ timeout_sec: 61 }), 'timeout too large: 61; the policy allows 60 seconds'],
    [contract({ network: 'full' }), 'network mode exceeds policy maximum: full; the policy allows deny'],
    [contract({ secret_refs: ['TOKEN'] }), 'secret refs not allowed'],
    [contract({ cwd: '/etc' }), 'cwd not allowed: /etc; the policy allows /workspace'],
    [contract({ read_paths: ['/etc'] }), 'read path not allowed: /etc; the policy allows /workspace'],
    [contract({ write_paths: ['/etc'] }), 'write path not allowed: /etc; the policy allows none'],
    [contract({ cwd: '//etc' }), 'path must be absolute: //etc'],
    [contract({}, { risk_class: 'high' }), 'risk class not allowed: high; the policy allows low'],
    [
      contract({}, { approval_mode: 'human_required' }),
      'contract approval mode requires approval: human_required',
    ],
    [contract({}), 'contract satisfies v0.1 policy checks'],
  ])('gives the reason in words: %#', (value, reason) => {
    expect(evaluate(value, policy).reasons).toEqual([reason]);
  });

  it('names the command and the member of each finding', () => {
    const { findings } = evaluate(contract({ read_paths: ['/workspace', '/etc'] }), policy);
    expect(findings).toEqual([
      {
        reasonCode: 'READ_SCOPE_DENIED',
        commandId: 'main',
        member: 'commands[0].read_paths[1]',
        message: 'read path not allowed: /etc; the policy allows /workspace',
      },
    ]);
  });

  it('lists a thousand findings, and counts the rest', () => {
    const { findings, verdict } = evaluate(contract({ read_paths: Array(1500).fill('/etc') }), policy);
    expect(verdict).toBe('deny');
    expect(findings).toHaveLength(1001);
    expect(findings.at(-1)).toMatchObject({ member: '', message: 'and 500 more findings' });
  });

  it('does not say what is in an argv but its program: secrets stand there', () => {
    const { findings } = evaluate(contract({ exec: { argv: ['git', 'push', 'hunter2'] } }), policy);
    expect(JSON.stringify(findings)).not.toContain('hunter2');
  });
});

describe('evaluate, under a v0.2 policy', () => {
  const many = contract(
    { timeout_sec: 61, cwd: '/etc', read_paths: ['/etc', '/usr'], exec: { argv: ['git', 'push'] } },
    { risk_class: 'high', approval_mode: 'human_required' },
  );

  it('gives every reason code that applies, once and in registry order, with one text each', () => {
    const { verdict, reasonCodes, reasons } = evaluate(many, read(v02));
    expect(verdict).toBe('deny');
    expect(reasonCodes).toEqual([
      'RISK_CLASS_NOT_ALLOWED',
      'ARGV_PREFIX_DENIED',
      'TIMEOUT_EXCEEDS_POLICY',
      'CWD_NOT_ALLOWED',
      'READ_SCOPE_DENIED',
      'APPROVAL_REQUIRED',
    ]);
    expect(reasons).toHaveLength(6);
    expect(reasons[4]).toBe('read path not allowed: /etc; the policy allows /workspace');
  });

  it('keeps to the first under v0.1', () => {
    expect(evaluate(many, policy)).toMatchObject({
      verdict: 'deny',
      reasonCodes: ['RISK_CLASS_NOT_ALLOWED'],
      reasons: ['risk class not allowed: high; the policy allows low'],
      classifiedEffects: [],
    });
  });

  it('finds what a v0.1 policy of the same words finds', () => {
    expect(evaluate(many, read(v02)).findings).toEqual(evaluate(many, policy).findings);
  });

  it('classifies every command, also of a contract that it denies', () => {
    expect(evaluate(many, read(v02)).classifiedEffects).toEqual([
      { command_id: 'main', effect_type: 'observe' },
    ]);
  });

  it('says that an approval is all that is missing', () => {
    const value = contract({}, { approval_mode: 'human_required' });
    expect(evaluate(value, read(v02))).toMatchObject({
      verdict: 'needs_approval',
      reasonCodes: ['APPROVAL_REQUIRED'],
      reasons: ['contract approval mode requires approval: human_required'],
    });
  });

  it('allows what breaks nothing', () => {
    expect(evaluate(contract({}), read(v02))).toMatchObject({
      verdict: 'allow',
      reasonCodes: ['ALLOW'],
      reasons: ['contract satisfies v0.2 policy checks'],
    });
  });

  it.each([
    [{ allow_secret_refs: true }, []],
    [{ allow_secret_refs: true, allowed_secret_names: ['NPM_TOKEN', 'OTHER'] }, []],
    [
      { allow_secret_refs: true, allowed_secret_names: ['OTHER'] },
      [['SECRET_REF_NOT_ALLOWED', 'commands[0].secret_refs[0]']],
    ],
    [
      { allow_secret_refs: true, allowed_secret_names: [] },
      [['SECRET_REF_NOT_ALLOWED', 'commands[0].secret_refs[0]']],
    ],
    [
      { allow_secret_refs: false, allowed_secret_names: ['NPM_TOKEN'] },
      [['SECRET_REF_NOT_ALLOWED', 'commands[0].secret_refs']],
    ],
  ])('holds secret refs against %j', (members, due) => {
    const { findings } = evaluate(contract({ secret_refs: ['NPM_TOKEN'] }), read({ ...v02, ...members }));
    expect(findings.map(({ reasonCode, member }) => [reasonCode, member])).toEqual(due);
  });

  it('grants a terminal to one command, where the policy says so and it is asked for', () => {
    const asked = { terminal: true };
    const verdicts = (members: JsonObject, value = contract({})) =>
      evaluate(value, read(members), undefined, asked).reasonCodes;
    expect(verdicts({})).toEqual(['TERMINAL_NOT_ALLOWED']);
    expect(verdicts(v02)).toEqual(['TERMINAL_NOT_ALLOWED']);
    const granted = { ...v02, terminal: {} };
    expect(verdicts(granted)).toEqual(['ALLOW']);
    const { exec: _, ...rest } = contract({}).commands[0] ?? {};
    const piped = { ...rest, pipeline: { segments: [{ argv: ['ls'] }, { argv: ['ls'] }] } } as Command;
    expect(verdicts(granted, { ...contract({}), commands: [piped] })).toEqual(['TERMINAL_NOT_ALLOWED']);
    const two = [...contract({}).commands, ...contract({ id: 'second' }).commands];
    expect(verdicts(granted, { ...contract({}), commands: two })).toEqual(['TERMINAL_NOT_ALLOWED']);
    // What is typed is code, to a shell.
    const shell = { ...granted, allow_commands: ['bash'], inline_code: 'deny' };
    expect(verdicts(shell, contract({ exec: { argv: ['bash'] } }))).toEqual(['COMMAND_NOT_ALLOWED']);
  });

  it.each([
    ['api.stripe.com', 'https://api.stripe.com/v1', 'financial_action'],
    ['api.stripe.com:443', 'https://api.stripe.com/v1', 'financial_action'],
    ['*.stripe.com', 'https://api.stripe.com/v1', 'financial_action'],
    ['API.Stripe.com', 'https://api.STRIPE.com/v1', 'financial_action'],
    ['api.stripe.com', 'https://example.org', 'fetch_external'],
    ['example.org', 'https://example.org', 'fetch_external'],
  ])('with egress to %s, takes curl %s for a %s', (host, url, effect) => {
    const value = contract({ exec: { argv: ['curl', url] } });
    const { classifiedEffects } = evaluate(value, read({ ...v02, allowed_egress_hosts: [host] }));
    expect(classifiedEffects).toEqual([{ command_id: 'main', effect_type: effect }]);
  });
});

describe('the approval rules of a v0.2 policy', () => {
  const rules = read({
    ...v02,
    allowed_effect_types: ['observe', 'deploy'],
    allowed_risk_classes: ['low', 'high'],
    approvals: [
      { effects: ['deploy'], quorum: [{ group: 'release', count: 2 }] },
      { risk_classes: ['high'], quorum: [{ group: 'release' }, { group: 'security' }] },
      { programs: ['curl'], quorum: [{ group: 'network' }] },
    ],
  });
  const ask = (command: Partial<Command>, rest: Partial<CommandContract> = {}) => {
    const asked = contract(command, rest);
    const { verdict, reasons } = evaluate(asked, rules);
    return { verdict, reasons, ...wantedApprovals(asked, rules) };
  };

  it('come together: of each group the most that one of them asks', () => {
    expect(ask({})).toMatchObject({ verdict: 'allow' });
    expect(ask({ proposed_effect_type: 'deploy' }, { risk_class: 'high' })).toEqual({
      verdict: 'needs_approval',
      reasons: ['approval required by approvals[0]: 2 of release'],
      quorum: [
        { group: 'release', count: 2 },
        { group: 'security', count: 1 },
      ],
      people: 3,
    });
  });

  it('leave it to anybody where none is for it, and two must be where the contract says so', () => {
    expect(ask({}, { approval_mode: 'human_required' })).toMatchObject({
      verdict: 'needs_approval',
      quorum: [{ group: '', count: 1 }],
      people: 1,
    });
    expect(ask({ exec: { argv: ['curl', 'x'] } }, { approval_mode: 'dual_control_required' })).toMatchObject({
      quorum: [{ group: 'network', count: 1 }],
      people: 2,
    });
  });

  it('never let through what is denied', () => {
    expect(ask({ exec: { argv: ['rm'] }, proposed_effect_type: 'deploy' })).toMatchObject({
      verdict: 'deny',
    });
  });
});
