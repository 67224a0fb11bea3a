import { describe, expect, it } from 'vitest';
import { policyFromJson } from './policy.ts';

const written = {
  name: 'test',
  allow_commands: ['ls'],
  allowed_effect_types: ['observe'],
  allowed_risk_classes: ['low'],
  max_timeout_sec: 60,
  network: 'deny',
  allow_secret_refs: false,
  allowed_cwd_prefixes: ['/workspace'],
  allowed_read_prefixes: ['/workspace'],
};
const defaults = {
  deny_argv_prefixes: [],
  manual_approval_for_classified_effect_types: [],
  require_write_paths_empty: false,
  allowed_write_prefixes: [],
  allowed_egress_hosts: [],
};

describe('policyFromJson', () => {
  it.each(['csc.policy.v0.1', 'csc.policy.v0.2'])(
    'fills in the defaults of %s, and no other member',
    (version) => {
      const value = { policy_schema_version: version, ...written };
      expect(policyFromJson(value)).toMatchObject({ ok: true, value: { policy: { ...value, ...defaults } } });
      const parsed = policyFromJson(value);
      const members = Object.keys(parsed.ok ? parsed.value.policy : {}).sort();
      expect(members).toEqual(Object.keys({ ...value, ...defaults }).sort());
    },
  );

  it('gives two versions of the same words two hashes', () => {
    const [one, two] = ['csc.policy.v0.1', 'csc.policy.v0.2'].map((version) =>
      policyFromJson({ policy_schema_version: version, ...written }),
    );
    expect(one?.ok && two?.ok && one.value.sha256 !== two.value.sha256).toBe(true);
  });

  it('says of an unknown version only that: there are no rules to hold it against', () => {
    const faults = [
      {
        path: 'policy_schema_version',
        message:
          'unsupported policy version "csc.policy.v9"; this build reads csc.policy.v0.1 and csc.policy.v0.2',
      },
    ];
    expect(policyFromJson({ policy_schema_version: 'csc.policy.v9', extra: 1 })).toEqual({
      ok: false,
      faults,
    });
  });

  it('says what is missing where there is no version either', () => {
    const parsed = policyFromJson({ ...written, name: '' });
    expect(parsed.ok ? [] : parsed.faults.map(({ path }) => path)).toEqual(['policy_schema_version', 'name']);
  });

  it.each([null, [], 'x', 7])('refuses %j', (value) => {
    expect(policyFromJson(value).ok).toBe(false);
  });
});

describe('umask', () => {
  const read = (umask: string | number) =>
    policyFromJson({ policy_schema_version: 'csc.policy.v0.2', ...written, umask });

  it.each(['0022', '027', '0000'])('may be "%s"', (umask) => {
    expect(read(umask)).toMatchObject({ ok: true, value: { policy: { umask } } });
  });

  // YAML takes 0022 for twenty-two, or for eighteen.
  it.each([22, 18, '22', '0o22', '9', '1022', ''])('may not be %s', (umask) => {
    const parsed = read(umask);
    expect(parsed.ok ? [] : parsed.faults.map(({ path }) => path)).toEqual(['umask']);
  });
});

describe('set_env', () => {
  const read = (set_env: Record<string, string>) =>
    policyFromJson({ policy_schema_version: 'csc.policy.v0.2', ...written, set_env });

  it('may be any variables', () => {
    expect(read({ GIT_PAGER: 'cat', EMPTY: '' })).toMatchObject({ ok: true });
  });

  // Where a program comes from, what is loaded into it and which way it goes out are the executor's to say.
  it.each(['PATH', 'HOME', 'LD_PRELOAD', 'https_proxy', 'ALL_PROXY', 'A-B', ''])('may not be %s', (name) => {
    const parsed = read({ [name]: 'x' });
    expect(parsed.ok ? [] : parsed.faults.map(({ path }) => path)).toEqual([
      expect.stringContaining('set_env'),
    ]);
  });

  it('may not hold NUL', () => {
    expect(read({ A: 'x\0y' })).toMatchObject({ ok: false });
  });
});
