import { X509Certificate } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CscError } from '@csc-fleet/common/errors';
import { labelUnits } from '@csc-fleet/common/identity';
import { generateTlsKey, issueCertificate } from '@csc-fleet/common/pki';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { defaultOutputLimits } from '../output/limits.ts';
import { checkRunAs, readExecutorConfig } from './config.ts';
import { labelsOf } from './labels.ts';

let directory: string;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'csc-config-'));
});

afterEach(() => rmSync(directory, { recursive: true }));

const minimal = `
gate: { address: "gate.example:8443" }
tls: { ca: pki/ca.pem, cert: pki/executor.pem, key: pki/executor.key }
trusted_gate_keys: /etc/csc/gate-keys.json
policies: policies
state_dir: state
`;

function read(text: string) {
  const path = join(directory, 'executor.yaml');
  writeFileSync(path, text);
  return readExecutorConfig(path);
}

function faultPaths(text: string): string[] {
  try {
    read(text);
  } catch (error) {
    expect(error).toBeInstanceOf(CscError);
    expect((error as CscError).code).toBe('CONFIG_INVALID');
    return (error as CscError).faults.map(({ path }) => path).sort();
  }
  return [];
}

describe('readExecutorConfig', () => {
  it('tells metrics on this host alone, whatever is said: it has no listening port on the network', () => {
    const metrics = (text: string) => `${minimal}telemetry: { metrics: { ${text} } }\n`;
    expect(read(metrics('address: "127.0.0.1:9465"')).telemetry).toEqual({
      metrics: { address: '127.0.0.1:9465' },
    });
    expect(faultPaths(metrics('address: "0.0.0.0:9465"'))).toEqual(['telemetry.metrics.address']);
    expect(faultPaths(metrics('address: "127.0.0.1:9465", allow_network: true'))).toHaveLength(1);
    expect(faultPaths(metrics('address: "192.0.2.1:9465", allow_network: true'))).not.toEqual([]);
  });

  it('fills in what a small config leaves out, with paths from where the file is', () => {
    const config = read(minimal);
    expect(config).toMatchObject({
      gateAddress: 'gate.example:8443',
      trustedGateKeys: '/etc/csc/gate-keys.json',
      policies: join(directory, 'policies'),
      stateDir: join(directory, 'state'),
      labels: {},
      env: {},
      limits: defaultOutputLimits,
      acceptUnsignedApprovals: false,
      dualControl: 'refuse',
      executionMode: 'hardened',
    });
    expect(config.tls.key).toBe(join(directory, 'pki/executor.key'));
    expect(config.slots).toBeGreaterThan(0);
    expect(config).not.toHaveProperty('runAs');
    expect(config).not.toHaveProperty('signingKey');
  });

  it('takes everything that can be said', () => {
    const config = read(`${minimal}
executor_id: build-1
labels: { os: linux, pool: "2" }
slots: 3
run_as: { uid: 2000, gid: 2001 }
env: { CI: "true" }
limits: { stdout_bytes: 5, spool_bytes: 7 }
accept_unsigned_approvals: true
dual_control: one_approval
execution_mode: local
signing_key: receipts.pem
`);
    expect(config).toMatchObject({
      executorId: 'build-1',
      labels: { os: 'linux', pool: '2' },
      slots: 3,
      runAs: { uid: 2000, gid: 2001 },
      env: { CI: 'true' },
      limits: { ...defaultOutputLimits, stdoutBytes: 5, spoolBytes: 7 },
      acceptUnsignedApprovals: true,
      dualControl: 'one_approval',
      executionMode: 'local',
      signingKey: join(directory, 'receipts.pem'),
    });
  });

  it('takes an account by its name', () => {
    expect(read(`${minimal}\nrun_as: { user: csc-job }`).runAs).toBe('csc-job');
  });

  it('has a root executor told whom its jobs run as, if need be to choose by itself', () => {
    const hardened = read(minimal);
    expect(() => checkRunAs(hardened, 0)).toThrow(
      expect.objectContaining({ code: 'CONFIG_INVALID', message: expect.stringContaining('run_as: auto') }),
    );
    checkRunAs(hardened, 1000);
    checkRunAs(read(`${minimal}\nexecution_mode: local`), 0);
    const auto = read(`${minimal}\nrun_as: auto`);
    checkRunAs(auto, 0);
    expect(auto.runAs).toEqual({ auto: true });
    expect(faultPaths(`${minimal}\nrun_as: csc-job`)).not.toEqual([]);
  });

  it('names every fault at once', () => {
    const text = minimal.replace('ca: pki/ca.pem, ', '').replace('state_dir', 'state_directory');
    expect(faultPaths(`${text}\nslots: 0\nexecution_mode: soft\nenv: { "a b": x }`)).toEqual(
      ['env["a b"]', 'execution_mode', 'slots', 'state_dir', 'state_directory', 'tls.ca'].sort(),
    );
  });

  it('takes a pool of users by name or id, with one for each slot', () => {
    const pool = 'run_as: { pool: [csc-job-0, 61001], group: csc-jobs }';
    expect(read(`${minimal}\n${pool}\nslots: 2`)).toMatchObject({
      runAs: { pool: ['csc-job-0', 61001], group: 'csc-jobs' },
      slots: 2,
    });
    expect(read(`${minimal}\n${pool}`).slots).toBeLessThanOrEqual(2);
    expect(faultPaths(`${minimal}\n${pool}\nslots: 3`)).toEqual(['slots']);
  });

  it.each([
    'run_as: { uid: 0, gid: 0 }',
    'run_as: { pool: [], group: a }',
    'run_as: { pool: [0], group: a }',
    'run_as: { pool: [a] }',
    'run_as: { user: a, uid: 1, gid: 1 }',
  ])('refuses %s', (line) => {
    expect(faultPaths(`${minimal}\n${line}`).every((path) => path.startsWith('run_as'))).toBe(true);
    expect(faultPaths(`${minimal}\n${line}`)).not.toEqual([]);
  });

  it('refuses a key that is there twice', () => {
    expect(() => read(`${minimal}\nslots: 1\nslots: 2`)).toThrow(
      expect.objectContaining({ code: 'CONFIG_INVALID' }),
    );
  });
});

describe('labelsOf', () => {
  const certified = async (units: readonly string[]) => {
    const life = { notBefore: new Date(0), notAfter: new Date(2_000_000_000_000) };
    return new X509Certificate(
      await issueCertificate({ commonName: 'x', use: 'client', units, ...life }, generateTlsKey()),
    );
  };

  it('takes all labels that the certificate says, and none that it does not', async () => {
    const labels = { os: 'linux', 'a/b': 'x=y, ü "z"\\', long: 'v'.repeat(255) };
    const certificate = await certified(labelUnits(labels));
    expect(labelsOf({}, certificate)).toEqual(labels);
    expect(labelsOf({ os: 'linux' }, certificate)).toEqual(labels);
    expect(() => labelsOf({ os: 'linux', role: 'deploy' }, certificate)).toThrow(
      'labels: role is not certified',
    );
    expect(() => labelsOf({ os: 'mac' }, certificate)).toThrow('labels: os');
    expect(labelsOf({}, await certified(labelUnits({})))).toEqual({});
  });

  it('takes those of the config where the certificate says nothing of labels', async () => {
    expect(labelsOf({ os: 'mac' }, await certified([]))).toEqual({ os: 'mac' });
    expect(labelsOf({ os: 'mac' }, await certified(['Engineering', 'csc-label:os=linux']))).toEqual({
      os: 'mac',
    });
  });
});
