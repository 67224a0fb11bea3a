import { describe, expect, it } from 'vitest';
import {
  type Bindings,
  bindingOf,
  bindPolicy,
  checkBindings,
  parseBindings,
  submitterKeys,
} from './bindings.ts';
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

describe('bindings v0.2', () => {
  const key = Buffer.alloc(32, 7).toString('base64');
  const alice = 'spiffe://csc.local/client/alice';
  const head = `bindings_version: csc.bindings.v0.2
bindings:
  - identity: ${alice}
    policies: [build]
    hosts: {tier: build}
    secrets: {build: [TOKEN]}
    roles: [admin]
  - identity: spiffe://csc.local/client/*
    policies: [inspect]
`;

  it('say on which hosts, with which secrets and in which role', () => {
    const bindings = read(head);
    expect(bindingOf(bindings, alice)).toEqual({
      identity: alice,
      policies: ['build'],
      hosts: { tier: 'build' },
      secrets: { build: ['TOKEN'] },
      roles: ['admin'],
    });
    expect(bindingOf(bindings, 'spiffe://csc.local/client/bob')).toMatchObject({ secrets: {}, roles: [] });
  });

  it('say how much each identity may have of the gate', () => {
    const limits = { weight: 3, queued: 10, running: 2, submissions_per_min: 60, stored_bytes_per_day: 1000 };
    expect(
      bindingOf(read(head.replace('roles:', `limits: ${JSON.stringify(limits)}\n    roles:`)), alice),
    ).toMatchObject({ limits });
    for (const wrong of ['{weight: 0}', '{weight: 101}', '{running: 0}', '{queued: 1.5}', '{burst: 1}'])
      expect(faultsOf(head.replace('roles:', `limits: ${wrong}\n    roles:`))).toEqual([
        expect.stringMatching(/^bindings\[0\]\.limits\./),
      ]);
  });

  it('name the keys of a principal, and nobody else’s', () => {
    const text = `${head}submitters:\n  - principal: ${alice}\n    keys: [{key_id: a1, public_key: ${key}}]\n`;
    const bindings = read(text);
    expect(submitterKeys(bindings, alice)?.find('a1')).toMatchObject({
      keyId: 'a1',
      publicKey: new Uint8Array(32).fill(7),
    });
    expect(submitterKeys(bindings, 'spiffe://csc.local/client/bob')).toBeUndefined();
  });

  it.each([
    ['a principal that is a pattern', 'spiffe://csc.local/client/*', key],
    ['a principal that is an executor', 'spiffe://csc.local/executor/e', key],
    ['a key of another length', alice, 'AAAA'],
  ])('refuse %s', (_, principal, publicKey) => {
    const text = `${head}submitters:\n  - principal: "${principal}"\n    keys: [{key_id: a1, public_key: ${publicKey}}]\n`;
    expect(parseBindings(Buffer.from(text)).ok).toBe(false);
  });

  it('refuse a principal that stands twice', () => {
    const one = `  - principal: ${alice}\n    keys: [{key_id: a1, public_key: ${key}}]\n`;
    expect(parseBindings(Buffer.from(`${head}submitters:\n${one}${one}`))).toMatchObject({
      faults: [{ path: 'submitters[1].principal' }],
    });
  });
});
