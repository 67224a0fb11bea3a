import { describe, expect, it } from 'vitest';
import { canonicalJson, sha256Hex } from '../encoding/index.ts';
import {
  argvs,
  type Command,
  contractFromJson,
  contractSha256,
  parseContract,
  readContract,
} from './contract.ts';

const command: Command = {
  id: 'look',
  exec: { argv: ['git', 'status'] },
  cwd: '/workspace',
  read_paths: [],
  write_paths: [],
  network: 'deny',
  env_allow: [],
  secret_refs: [],
  timeout_sec: 10,
  proposed_effect_type: 'observe',
};

const contract = {
  version: 'csc.v0.1',
  contract_id: 'contract-1',
  intent: 'look',
  actor: { agent_id: 'a', session_id: 's', initiating_user: 'u', delegation_scope: 'd' },
  commands: [command],
  risk_class: 'low',
  approval_mode: 'policy_only',
  justification: 'a test',
};

const { exec: _exec, ...formless } = command;

describe('argvs', () => {
  it('gives one vector for exec, and one a segment for a pipeline', () => {
    const segments = [{ argv: ['cat', 'a'] }, { argv: ['wc'] }];
    expect(argvs(command)).toEqual([['git', 'status']]);
    expect(argvs({ ...formless, pipeline: { segments } })).toEqual([['cat', 'a'], ['wc']]);
  });
});

describe('parseContract', () => {
  it('leaves the absent one of exec and pipeline out where it is null', () => {
    const text = JSON.stringify({ ...contract, commands: [{ ...command, pipeline: null }] });
    const parsed = parseContract(Buffer.from(text));
    expect(parsed).toEqual({ ok: true, value: { ...contract, expected_outputs: [] } });
  });

  it('does not change the value that it is given', () => {
    const value = Object.freeze({ ...contract, commands: [Object.freeze({ ...command, pipeline: null })] });
    expect(contractFromJson({ ...value }).ok).toBe(true);
    expect(value.commands[0]).toHaveProperty('pipeline', null);
  });

  it.each([
    [[null], 'commands[0]', 'must be an object, not null'],
    [[{ ...command, exec: 'ls' }], 'commands[0].exec', 'must be an object, not a string'],
  ])('refuses commands such as %j', (commands, path, message) => {
    const parsed = contractFromJson({ ...contract, commands });
    expect(parsed).toEqual({ ok: false, faults: [{ path, message }] });
  });
});

describe('readContract', () => {
  it.each([
    ['as programs write it', JSON.stringify({ ...contract, expected_outputs: [] })],
    ['in order', canonicalJson({ ...contract, expected_outputs: [] })],
    ['for people', JSON.stringify({ ...contract, expected_outputs: [] }, undefined, 2)],
    ['without what has a default', JSON.stringify(contract)],
    ['in order, without what has a default', canonicalJson(contract)],
    [
      'in order, with a form that is null',
      canonicalJson({ ...contract, commands: [{ ...command, pipeline: null }] }, { keepNulls: true }),
    ],
  ])('gives the canonical text of one that is written %s', (_, text) => {
    const whole = { ...contract, expected_outputs: [] };
    const contractJson = canonicalJson(whole);
    const contractSha256 = sha256Hex(contractJson);
    const value = { contract: whole, contractJson, contractSha256 };
    expect(readContract(Buffer.from(text))).toEqual({ ok: true, value });
  });

  it('has the faults of the text, and of the contract', () => {
    const fault = (text: string) => readContract(Buffer.from(text));
    expect(fault('{"version":1,"version":1}')).toEqual(
      parseContract(Buffer.from('{"version":1,"version":1}')),
    );
    expect(fault('{"version":1}')).toEqual(parseContract(Buffer.from('{"version":1}')));
    expect(fault('{"version":1}').ok).toBe(false);
  });
});

describe('contractSha256', () => {
  it('is of the contract with expected_outputs filled in', () => {
    const [absent, empty] = [contract, { ...contract, expected_outputs: [] }].map((it) =>
      contractFromJson(it),
    );
    if (!absent?.ok || !empty?.ok) throw new Error('the contract is not one');
    expect(contractSha256(absent.value)).toBe(contractSha256(empty.value));
  });
});
