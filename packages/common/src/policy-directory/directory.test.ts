import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { readPolicyFile } from '../policy/policy.ts';
import { readPolicyDirectory } from './directory.ts';

const profile = (name: string): string => `policy_schema_version: csc.policy.v0.1
name: ${name}
allow_commands: [ls]
allowed_effect_types: [observe]
allowed_risk_classes: [low]
max_timeout_sec: 60
network: deny
allow_secret_refs: false
allowed_cwd_prefixes: [/workspace]
allowed_read_prefixes: [/workspace]
`;

const samples = (code: string, more = ''): string => `samples_version: csc.policy-samples.v0.1
samples:
  - name: look
    commands: [{ argv: [ls] }]
    decision: allow
    reason_code: ${code}
${more}`;

let directory = '';
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'csc-policies-'));
});
afterEach(() => rmSync(directory, { recursive: true }));

function write(files: Readonly<Record<string, string>>): void {
  for (const [name, text] of Object.entries(files)) writeFileSync(join(directory, name), text);
}

const invalid = (message: string) =>
  expect.objectContaining({ code: 'POLICY_INVALID', message: expect.stringContaining(message) });

describe('readPolicyDirectory', () => {
  it('reads every profile, and leaves other files alone', () => {
    const other = { 'bindings.yaml': 'x: 1\n', 'README.md': '#', '.b.yaml.swp': '' };
    write({
      'b.yaml': profile('bee'),
      'a.yaml': profile('cee'),
      'a.samples.yaml': samples('ALLOW'),
      ...other,
    });
    const set = readPolicyDirectory(directory);
    expect(set.all().map(({ policy }) => policy.name)).toEqual(['bee', 'cee']);
    const bee = set.byName('bee');
    expect(bee?.source).toBe(join(directory, 'b.yaml'));
    expect(set.bySha256(bee?.sha256 ?? '')).toBe(bee);
    expect(set.bySha256((bee?.sha256 ?? '').toUpperCase())).toBe(bee);
    expect([set.byName('a'), set.bySha256('')]).toEqual([undefined, undefined]);
  });

  it('is refused as a whole where a sample fails, which is named', () => {
    write({
      'a.yaml': profile('a'),
      'b.yaml': profile('b'),
      'b.samples.yaml': samples('COMMAND_NOT_ALLOWED'),
    });
    expect(() => readPolicyDirectory(directory)).toThrow(invalid('samples[0]: "look" must be allow'));
  });

  it.each([
    ['a profile that is not one', { 'a.yaml': 'name: a\n' }, 'a.yaml was refused'],
    ['two profiles of one name', { 'a.yaml': profile('a'), 'b.yaml': profile('a') }, 'both named "a"'],
    [
      'samples without a profile',
      { 'a.yaml': profile('a'), 'b.samples.yaml': samples('ALLOW') },
      'b.samples.yaml',
    ],
    ['a file that would be passed over', { 'a.yaml': profile('a'), 'b.yml': profile('b') }, 'b.yml'],
    ['no profile at all', { 'bindings.yaml': 'x: 1\n' }, 'holds no policy profile'],
    ['samples that are not', { 'a.yaml': profile('a'), 'a.samples.yaml': 'samples: []\n' }, 'a.samples.yaml'],
  ])('refuses %s', (_, files, message) => {
    write(files);
    expect(() => readPolicyDirectory(directory)).toThrow(invalid(message));
  });

  it('says that it failed to read a directory that is not there', () => {
    expect(() => readPolicyDirectory(join(directory, 'none'))).toThrow(
      expect.objectContaining({ code: 'FILE_UNREADABLE' }),
    );
  });
});

describe('readPolicyFile', () => {
  it('says that it failed to read a file that is not there', () => {
    const message = expect.stringMatching(/^failed to read .*none\.yaml/);
    expect(() => readPolicyFile(join(directory, 'none.yaml'))).toThrow(
      expect.objectContaining({ code: 'FILE_UNREADABLE', message }),
    );
  });
});
