import { describe, expect, it } from 'vitest';
import type { Command, CommandContract } from '../contract/index.ts';
import { policyFromJson } from '../policy/index.ts';
import { evaluate } from './evaluate.ts';

const parsed = policyFromJson({
  policy_schema_version: 'csc.policy.v0.1',
  name: 'test',
  allow_commands: ['git', 'ls'],
  deny_argv_prefixes: [['git', 'push']],
  allowed_effect_types: ['observe'],
  allowed_risk_classes: ['low'],
  max_timeout_sec: 60,
  network: 'deny',
  allow_secret_refs: false,
  allowed_cwd_prefixes: ['/workspace'],
  allowed_read_prefixes: ['/workspace'],
});
if (!parsed.ok) throw new Error('the policy is not one');
const policy = parsed.value;

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
    [contract({ exec: { argv: ['rm'] } }), 'command not allowed: rm; the policy allows git, ls'],
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
