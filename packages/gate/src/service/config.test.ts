import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { defaultGateLimits, readGateConfig } from './config.ts';

const directory = mkdtempSync(join(tmpdir(), 'csc-gate-config-'));
afterAll(() => rmSync(directory, { recursive: true }));

function write(text: string): string {
  const path = join(directory, 'gate.yaml');
  writeFileSync(path, text);
  return path;
}

const least = 'data_dir: data\npolicies: policies\nbindings: bindings.yaml\n';

/** The members at fault. */
function faultsOf(text: string): string[] {
  try {
    readGateConfig(write(text));
    return [];
  } catch (error) {
    expect(error).toMatchObject({ code: 'CONFIG_INVALID' });
    return (error as { faults: { path: string }[] }).faults.map(({ path }) => path);
  }
}

describe('readGateConfig', () => {
  it('needs three members, and takes paths from where the file lies', () => {
    expect(readGateConfig(write(least))).toEqual({
      gateId: 'gate',
      webhooks: [],
      retention: { maxAgeDays: 30, maxBytes: 10 * 1024 ** 3, receiptsDays: 365 },
      listen: '127.0.0.1:7443',
      logLevel: 'info',
      dataDir: join(directory, 'data'),
      policies: join(directory, 'policies'),
      bindings: join(directory, 'bindings.yaml'),
      limits: defaultGateLimits(),
      acceptTokens: false,
      acceptUnsignedApprovals: false,
      keepDeniedContracts: false,
      requireSignedSubmissions: false,
      dualControl: 'refuse',
      executorLostAfterSec: 300,
      heartbeatIntervalSec: 10,
      decisionTtlSec: 86_400,
    });
  });

  it('takes all that can be said', () => {
    const config = readGateConfig(
      write(`${least}
gate_id: gate-1
listen: '[::]:443'
tls: {ca: ca.pem, cert: /etc/csc/gate.pem, key: gate.key}
signing_key: keys/gate.pem
retention: {max_age_days: 7, max_bytes: 100000000, receipts_days: 90}
limits:
  max_message_bytes: 65536
  requests_per_sec: 1
  burst: 2
  concurrent_calls: 3
  max_queued: 4
  queue_timeout_sec: 5
  output: {stdout_bytes: 6, stderr_bytes: 0}
  executor: {requests_per_sec: 10, burst: 11, concurrent_calls: 12}
  message_timeout_sec: 13
  bytes_in_flight: 10000000
  total_bytes_in_flight: 20000000
  connections: {total: 14, per_address: 15, per_identity: 16, silent_per_address: 17, handshakes_per_sec: 18, handshake_timeout_sec: 19}
  stored_bytes_per_day: 20
  executor_keys: 9
  offer_deadline_sec: 10
accept_unsigned_approvals: true
keep_denied_contracts: true
require_signed_submissions: true
dual_control: one_approval
executor_lost_after_sec: 7
heartbeat_interval_sec: 8
decision_ttl_sec: 9
log_level: warn
`),
    );
    expect(config).toEqual({
      gateId: 'gate-1',
      webhooks: [],
      retention: { maxAgeDays: 7, maxBytes: 100_000_000, receiptsDays: 90 },
      listen: '[::]:443',
      logLevel: 'warn',
      dataDir: join(directory, 'data'),
      policies: join(directory, 'policies'),
      bindings: join(directory, 'bindings.yaml'),
      tls: { ca: join(directory, 'ca.pem'), cert: '/etc/csc/gate.pem', key: join(directory, 'gate.key') },
      signingKey: join(directory, 'keys/gate.pem'),
      limits: {
        maxMessageBytes: 65_536,
        requestsPerSec: 1,
        burst: 2,
        concurrentCalls: 3,
        maxQueued: 4,
        queueTimeoutSec: 5,
        executorKeys: 9,
        offerDeadlineSec: 10,
        output: { stdout_bytes: 6, stderr_bytes: 0 },
        storedBytesPerDay: 20,
        traffic: {
          executor: { requestsPerSec: 10, burst: 11, concurrentCalls: 12 },
          messageTimeoutSec: 13,
          bytesInFlight: 10_000_000,
          totalBytesInFlight: 20_000_000,
          connections: {
            total: 14,
            perAddress: 15,
            perIdentity: 16,
            silentPerAddress: 17,
            handshakesPerSec: 18,
            handshakeTimeoutSec: 19,
          },
        },
      },
      acceptTokens: false,
      acceptUnsignedApprovals: true,
      keepDeniedContracts: true,
      requireSignedSubmissions: true,
      dualControl: 'one_approval',
      executorLostAfterSec: 7,
      heartbeatIntervalSec: 8,
      decisionTtlSec: 9,
    });
  });

  it.each([
    ['policy_repository: {directory: owners, root: root.json}\npolicies: policies', ['policies']],
    ['policy_repository: {directory: owners, root: root.json}\nbindings: b.yaml', ['bindings']],
    ['policies: policies', ['bindings']],
    ['', ['bindings', 'policies']],
    ['policy_repository: {directory: owners}', ['policy_repository.root']],
  ])('takes policies and bindings, or a policy repository: %s', (lines, faulty) => {
    expect(faultsOf(`data_dir: data\n${lines}\n`).sort()).toEqual(faulty);
  });

  it('reads a policy repository', () => {
    const lines = 'policy_repository: {directory: owners, root: owners/root.json, online_key: online.key}';
    const { policyRepository } = readGateConfig(write(`data_dir: data\n${lines}\n`));
    expect(policyRepository).toEqual({
      directory: join(directory, 'owners'),
      root: join(directory, 'owners/root.json'),
      onlineKey: join(directory, 'online.key'),
      refreshSec: 10,
    });
  });

  it('names every fault at once', () => {
    const faults = faultsOf(`
gate_id: two words
listen: nowhere
data_dir: ''
policies: policies
tls: {ca: ca.pem, cert: gate.pem, password: x}
limits: {requests_per_sec: 0, burst: many, output: {stdout_bytes: -1}}
heartbeat_interval_sec: 301
accept_unsigned_approvals: 'true'
more: 1
`);
    expect(faults.sort()).toEqual(
      [
        'accept_unsigned_approvals',
        'bindings',
        'data_dir',
        'gate_id',
        'heartbeat_interval_sec',
        'limits.burst',
        'limits.output.stdout_bytes',
        'limits.requests_per_sec',
        'listen',
        'more',
        'tls.key',
        'tls.password',
      ].sort(),
    );
  });

  it.each([
    ['a key that comes twice', `${least}listen: 127.0.0.1:1\nlisten: 127.0.0.1:2\n`],
    ['what YAML 1.1 and 1.2 read differently', `${least}accept_unsigned_approvals: yes\n`],
    ['an empty file', ''],
    ['another document', 'just text'],
  ])('refuses %s', (_what, text) => {
    expect(() => readGateConfig(write(text))).toThrow(expect.objectContaining({ code: 'CONFIG_INVALID' }));
  });

  it('says which file is not there', () => {
    expect(() => readGateConfig(join(directory, 'none.yaml'))).toThrow(
      expect.objectContaining({ code: 'FILE_UNREADABLE', message: expect.stringContaining('none.yaml') }),
    );
  });
});

describe('telemetry of a gate', () => {
  const section = (text: string) => `${least}telemetry: ${text}\n`;

  it('is off unless it is asked for, and is taken with its defaults', () => {
    expect(readGateConfig(write(least))).not.toHaveProperty('telemetry');
    const text = section(
      '{metrics: {address: "[::1]:9464"}, traces: {endpoint: "http://127.0.0.1:4318/v1/traces"}}',
    );
    expect(readGateConfig(write(text)).telemetry).toEqual({
      metrics: { address: '[::1]:9464' },
      traces: { endpoint: 'http://127.0.0.1:4318/v1/traces', sampleRatio: 1 },
    });
  });

  it('stays on this host until the owner says otherwise', () => {
    const at = 'telemetry.metrics.address';
    for (const address of ['0.0.0.0:9464', '[::]:9464', '192.0.2.1:9464', '[::ffff:192.0.2.1]:9464'])
      expect(faultsOf(section(`{metrics: {address: "${address}"}}`)), address).toEqual([at]);
    const said = section('{metrics: {address: "0.0.0.0:9464", allow_network: true}}');
    expect(readGateConfig(write(said)).telemetry).toEqual({ metrics: { address: '0.0.0.0:9464' } });
  });

  it('takes addresses, not names, and a collector without a password in its URL', () => {
    for (const address of ['localhost:9464', '127.0.0.1', '127.0.0.1:99999', '::1:9464', '1:2'])
      expect(faultsOf(section(`{metrics: {address: "${address}", allow_network: true}}`)), address).toEqual([
        'telemetry.metrics.address',
      ]);
    for (const endpoint of ['collector:4317', 'file:///etc/passwd', 'https://me:secret@collector/v1/traces'])
      expect(faultsOf(section(`{traces: {endpoint: "${endpoint}"}}`)), endpoint).toEqual([
        'telemetry.traces.endpoint',
      ]);
  });
});
