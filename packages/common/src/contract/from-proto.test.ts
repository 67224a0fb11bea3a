import { describe, expect, it } from 'vitest';
import { CommandContract } from '../gen/csc/common/v1/contract.ts';
import { contractFromJson } from './contract.ts';
import { contractFromProto } from './from-proto.ts';

const common = {
  id: 'one',
  cwd: '/workspace',
  readPaths: ['/workspace/**'],
  writePaths: ['/workspace/out'],
  network: 'deny',
  envAllow: ['CI'],
  secretRefs: [],
  timeoutSec: 10,
  proposedEffectType: 'observe',
};

const message: CommandContract = {
  version: 'csc.v0.1',
  contractId: 'contract-1',
  intent: 'look',
  actor: { agentId: 'a', sessionId: 's', initiatingUser: 'u', delegationScope: 'd' },
  commands: [
    { ...common, form: { $case: 'exec', value: { argv: ['ls', '-l'] } } },
    {
      ...common,
      id: 'two',
      form: { $case: 'pipeline', value: { segments: [{ argv: ['cat'] }, { argv: ['wc'] }] } },
    },
  ],
  riskClass: 'low',
  approvalMode: 'policy_only',
  expectedOutputs: ['/workspace/out/a'],
  justification: 'a test',
};

const json = {
  id: 'one',
  cwd: '/workspace',
  read_paths: ['/workspace/**'],
  write_paths: ['/workspace/out'],
  network: 'deny',
  env_allow: ['CI'],
  secret_refs: [],
  timeout_sec: 10,
  proposed_effect_type: 'observe',
};

describe('contractFromProto', () => {
  it('gives the JSON form of what came over the wire, member for member', () => {
    const received = CommandContract.decode(CommandContract.encode(message).finish());
    const value = contractFromProto(received);
    expect(value).toEqual({
      version: 'csc.v0.1',
      contract_id: 'contract-1',
      intent: 'look',
      actor: { agent_id: 'a', session_id: 's', initiating_user: 'u', delegation_scope: 'd' },
      commands: [
        { ...json, exec: { argv: ['ls', '-l'] } },
        { ...json, id: 'two', pipeline: { segments: [{ argv: ['cat'] }, { argv: ['wc'] }] } },
      ],
      risk_class: 'low',
      approval_mode: 'policy_only',
      expected_outputs: ['/workspace/out/a'],
      justification: 'a test',
    });
    expect(contractFromJson(value)).toEqual({ ok: true, value });
  });

  it('leaves out what the message leaves out, which the parser then names', () => {
    const value = contractFromProto({
      ...message,
      actor: undefined,
      commands: [{ ...common, form: undefined }],
    });
    const parsed = contractFromJson(value);
    expect(parsed.ok ? [] : parsed.faults.map(({ path }) => path)).toEqual(['actor', 'commands[0]']);
  });
});
