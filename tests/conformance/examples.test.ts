import { globSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { type CommandContract, parseContract } from '@csc-fleet/common/contract';
import { evaluate } from '@csc-fleet/common/decision';
import { orThrow } from '@csc-fleet/common/errors';
import { bindPolicy, checkBindings, parseBindings } from '@csc-fleet/common/policy';
import { readPolicyDirectory } from '@csc-fleet/common/policy-directory';
import { describe, expect, it } from 'vitest';

const root = join(import.meta.dirname, '..', '..');
// Throws where a sample beside a profile fails.
const policies = readPolicyDirectory(join(root, 'policies'));
const bindings = orThrow(
  parseBindings(readFileSync(join(root, 'policies', 'bindings.yaml'))),
  'POLICY_INVALID',
  'bindings.yaml',
);

const decided: [string, string, string][] = [
  ['git-status', 'inspect', 'allow'],
  ['pipeline', 'inspect', 'allow'],
  ['npm-test', 'ci-build', 'allow'],
  ['build-artifacts', 'ci-build', 'allow'],
  ['npm-test', 'build-with-registry', 'allow'],
  ['needs-approval', 'restricted', 'needs_approval'],
  ['denied', 'inspect', 'deny'],
  ['denied', 'ci-build', 'deny'],
  ['denied', 'restricted', 'deny'],
  ['denied', 'build-with-registry', 'deny'],
];

function readExample(name: string): CommandContract {
  const path = join(root, 'examples', 'contracts', `${name}.json`);
  return orThrow(parseContract(readFileSync(path)), 'CONTRACT_INVALID', path);
}

describe('the contracts in examples/', () => {
  it.each(decided)('%s under the profile %s: %s', (name, profile, verdict) => {
    const policy = policies.byName(profile);
    if (policy === undefined) throw new Error(`there is no profile ${profile}`);
    expect(evaluate(readExample(name), policy).verdict).toBe(verdict);
  });

  it('are all held against a profile here', () => {
    const files = globSync(join(root, 'examples', 'contracts', '*.json')).map((file) =>
      basename(file, '.json'),
    );
    expect(new Set(files)).toEqual(new Set(decided.map(([name]) => name)));
  });
});

describe('policies/', () => {
  it('binds to profiles that are there', () => {
    expect(() => checkBindings(bindings, policies)).not.toThrow();
  });

  it.each([
    ['ci-main', '', 'ci-build'],
    ['ci-main', 'inspect', 'inspect'],
    ['ops-alice', '', 'restricted'],
    ['anyone', '', 'inspect'],
  ])('gives %s who wants "%s" the profile %s', (name, wanted, profile) => {
    const { policy } = bindPolicy(bindings, policies, `spiffe://csc.local/client/${name}`, wanted);
    expect(policy.name).toBe(profile);
  });
});
