import { describe, expect, it } from 'vitest';
import { type Bindings, bindPolicy, checkBindings, parseBindings } from './bindings.ts';
import type { PolicyDocument } from './policy.ts';
import { policyFromJson } from './policy.ts';
import { createPolicySet } from './policy-set.ts';

function profile(name: string): PolicyDocument {
  const parsed = policyFromJson({
    policy_schema_version: 'csc.policy.v0.1',
    name,
    allow_commands: ['ls'],
    allowed_effect_types: ['observe'],
    allowed_risk_classes: ['low'],
    max_timeout_sec: 60,
    network: 'deny',
    allow_secret_refs: false,
    allowed_cwd_prefixes: ['/workspace'],
    allowed_read_prefixes: ['/workspace'],
  });
  if (!parsed.ok) throw new Error('the policy is not one');
  return parsed.value;
}

const policies = createPolicySet([profile('inspect'), profile('build')]);
const text = `
bindings_version: csc.bindings.v0.1
bindings:
  - identity: spiffe://csc.local/client/ci-*
    policies: [build, inspect]
  - identity: spiffe://csc.local/client/old
    policies: [gone]
  - identity: spiffe://csc.local/client/*
    policies: [inspect]
`;

function read(yaml: string): Bindings {
  const parsed = parseBindings(Buffer.from(yaml));
  if (!parsed.ok) throw new Error(JSON.stringify(parsed.faults));
  return parsed.value;
}

function faultsOf(yaml: string): string[] {
  const parsed = parseBindings(Buffer.from(yaml));
  return parsed.ok ? [] : parsed.faults.map(({ path }) => path);
}

describe('bindPolicy', () => {
  const bound = (name: string, wanted: string) =>
    bindPolicy(read(text), policies, `spiffe://csc.local/client/${name}`, wanted).policy.name;

  it('gives the first profile of the first binding that matches, where none is wanted', () => {
    expect(bound('ci-1', '')).toBe('build');
    expect(bound('me', '')).toBe('inspect');
  });

  it('gives the wanted profile where it is bound', () => {
    expect(bound('ci-1', 'inspect')).toBe('inspect');
  });

  it.each([
    ['me', 'build'],
    ['old', ''],
    ['old', 'inspect'],
  ])('refuses %s who wants "%s"', (name, wanted) => {
    expect(() => bound(name, wanted)).toThrow(expect.objectContaining({ code: 'NOT_PERMITTED' }));
  });

  it('refuses an identity that nothing matches', () => {
    const call = () => bindPolicy(read(text), policies, 'spiffe://other/client/me', '');
    expect(call).toThrow(expect.objectContaining({ code: 'NOT_PERMITTED' }));
  });
});

describe('checkBindings', () => {
  it('names every profile that is not there', () => {
    const faults = [{ path: 'bindings[1].policies[0]', message: 'there is no profile named "gone"' }];
    expect(() => checkBindings(read(text), policies)).toThrow(
      expect.objectContaining({ code: 'POLICY_INVALID', faults }),
    );
  });
});

describe('parseBindings', () => {
  const head = 'bindings_version: csc.bindings.v0.1\nbindings:\n';
  const one = (identity: string, rest = 'policies: [inspect]') => `  - identity: ${identity}\n    ${rest}\n`;
  const all = 'spiffe://csc.local/client/*';

  it('refuses a binding that is never reached', () => {
    expect(faultsOf(`${head}${one(all)}${one('spiffe://csc.local/client/ci-*')}`)).toEqual([
      'bindings[1].identity',
    ]);
  });

  it.each([
    [`${head}${one('everyone')}`, 'bindings[0].identity'],
    [`${head}${one(all, 'policies: []')}`, 'bindings[0].policies'],
    [`${head}${one(all, 'policies: [a, a]')}`, 'bindings[0].policies[1]'],
    [`${head}${one(all, 'policies: [a]\n    extra: 1')}`, 'bindings[0].extra'],
    [`bindings_version: csc.bindings.v9\nbindings:\n${one(all)}`, 'bindings_version'],
    ['bindings_version: csc.bindings.v0.1\nbindings: []\n', 'bindings'],
  ])('refuses %j', (yaml, path) => {
    expect(faultsOf(yaml)).toEqual([path]);
  });
});
