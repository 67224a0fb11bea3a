import { createPrivateKey, createPublicKey } from 'node:crypto';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { connect } from 'node:tls';
import { generateKeyPair } from '@csc-fleet/common/crypto';
import { isCscError } from '@csc-fleet/common/errors';
import { ExecutionState } from '@csc-fleet/common/messages';
import { certify, createDevelopmentPki, toCertificate } from '@csc-fleet/common/pki';
import { type Fleet, startFleet } from '@csc-fleet/test-kit/fleet';
import { csc, type Service } from '@csc-fleet/test-kit/process';
import { programFile } from '@csc-fleet/test-kit/programs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

let fleet: Fleet;
beforeAll(async () => {
  // Whose files are looked at more often than every two seconds, which is only waiting.
  const program = { path: programFile('run-executor'), args: ['50'] };
  fleet = await startFleet({ executors: [{ name: 'host-1', program }] });
});
afterAll(() => fleet[Symbol.asyncDispose]());

/** Asks for a reload, and resolves once the log has such a line. */
async function hangUp(service: Service, line: RegExp): Promise<void> {
  const from = service.log.length;
  service.child.kill('SIGHUP');
  await service.waitFor(line, from);
}

const policyFile = (policy: object): string => fleet.write('policies/tests.yaml', JSON.stringify(policy));
const policy = (): Record<string, unknown> =>
  JSON.parse(readFileSync(join(fleet.directory, 'policies/tests.yaml'), 'utf8'));

describe('SIGHUP', () => {
  it('reloads policies everywhere, and what runs goes on to its receipt', async () => {
    const client = fleet.connect();
    const executor = fleet.executor('host-1');
    const fetch = fleet.contract({ argv: ['uname'] });
    expect((await client.run(fetch)).execution.state).toBe(ExecutionState.BLOCKED);
    const go = join(fleet.writable('reload'), 'go');
    const script = `echo up; while [ ! -e ${go} ]; do sleep 0.1; done; echo done`;
    const write_paths = [join(fleet.workspace, 'reload/**')];
    const started = Promise.withResolvers<void>();
    const running = client.run(
      fleet.contract({ argv: ['sh', '-c', script], write_paths, proposed_effect_type: 'transform_local' }),
      {
        handlers: { onStdout: () => started.resolve() },
      },
    );
    await started.promise;

    const { allow_commands: allowed } = policy();
    policyFile({ ...policy(), allow_commands: [...(allowed as string[]), 'uname'] });
    await hangUp(executor, /"msg":"connected to the gate"/);
    await hangUp(fleet.gate, /"msg":"reloaded"/);
    const result = await client.run(fetch);
    expect(result).toMatchObject({ exitCode: 0, receipt: { status: 'success' } });

    fleet.write('workspace/reload/go', '');
    const { receipt, exitCode } = await running;
    expect(exitCode).toBe(0);
    expect(receipt?.policy_sha256).not.toBe(result.receipt?.policy_sha256);
    // What the owner has taken away is gone from the host at once, whatever a gate still believes.
    policyFile({ ...policy(), allow_commands: allowed });
    await hangUp(executor, /"msg":"connected to the gate"/);
    expect((await client.run(fetch, { queueTimeoutMs: 1000 })).execution.state).toBe(ExecutionState.EXPIRED);
    await hangUp(fleet.gate, /"msg":"reloaded"/);
    expect((await client.run(fetch)).execution.state).toBe(ExecutionState.BLOCKED);
  });

  it.each([
    ['policy', 'policies/tests.yaml', 'allow_commands: ['],
    ['set of bindings', 'bindings.yaml', '{"bindings_version":"csc.bindings.v0.1","bindings":[]}'],
    ['config', 'gate.yaml', 'listen: 7'],
    ['config', 'executor-host-1.yaml', 'slots: many'],
  ])('with a bad %s changes nothing (%s)', async (_, name, text) => {
    const path = join(fleet.directory, name);
    const good = readFileSync(path);
    fleet.write(name, text);
    const services = name.startsWith('executor') ? [fleet.executor('host-1')] : [fleet.gate];
    for (const service of services) await hangUp(service, /"msg":"not reloaded/);
    if (name.startsWith('executor')) {
      // Which says where its service keeps its record.
      fleet.write(name, JSON.stringify({ ...JSON.parse(good.toString()), slots: 'many' }));
      const { code, stdout } = await csc(['admin', 'reload', '--config', path]);
      expect({ code, stdout }).toEqual({
        code: 1,
        stdout: expect.stringMatching(/was refused: slots: .*; what/),
      });
    }
    fleet.write(name, good);
    const { exitCode } = await fleet.connect().run(fleet.contract({ argv: ['true'] }));
    expect(exitCode).toBe(0);
  });

  it('changes bindings and the log level', async () => {
    const client = fleet.connect();
    const change = (name: string, members: object): void => {
      const now = JSON.parse(readFileSync(join(fleet.directory, name), 'utf8'));
      fleet.write(name, JSON.stringify({ ...now, ...members }));
    };
    const isBound = async (): Promise<boolean> =>
      client.check(fleet.contract({ argv: ['true'] })).then(
        () => true,
        (error) => (isCscError(error, 'NOT_PERMITTED') ? false : Promise.reject(error)),
      );
    expect(await isBound()).toBe(true);
    change('bindings.yaml', {
      bindings: [{ identity: 'spiffe://csc.local/client/bob', policies: ['tests'] }],
    });
    change('gate.yaml', { log_level: 'error' });
    const from = fleet.gate.log.length;
    fleet.gate.child.kill('SIGHUP');
    while (await isBound());
    expect(fleet.gate.log.slice(from)).not.toContain('reloaded');
    change('bindings.yaml', { bindings: [{ identity: 'spiffe://csc.local/client/*', policies: ['tests'] }] });
    // Also where only warnings are logged.
    change('gate.yaml', { log_level: 'warn', decision_ttl_sec: 7 });
    await hangUp(fleet.gate, /"needs_restart":\["decision_ttl_sec"\].*"msg":"reloaded"/);
    expect(await isBound()).toBe(true);
    change('gate.yaml', { log_level: 'info' });
    await hangUp(fleet.gate, /"msg":"reloaded"/);
  });
});

describe('certificates and keys', () => {
  /** Makes the same names anew below another folder, of the same CA. */
  const renewed = async (name: string): Promise<string> => {
    const directory = join(fleet.directory, name);
    mkdirSync(directory, { mode: 0o700 });
    for (const file of ['ca.pem', 'ca.key']) copyFileSync(join(fleet.pki, file), join(directory, file));
    await csc(['pki', 'init', directory, '--executor', 'host-1', '--client', 'late']);
    return directory;
  };
  const put = (from: string, names: readonly string[]): void => {
    for (const name of names) copyFileSync(join(from, name), join(fleet.pki, name));
  };
  const serial = (): Promise<string> =>
    new Promise((resolve, reject) => {
      const { ca, cert, key } = fleet.tls('alice');
      const [host = '', port] = fleet.address.split(':');
      const pem = { ca: readFileSync(ca), cert: readFileSync(cert), key: readFileSync(key) };
      const socket = connect({ host, port: Number(port), ...pem, ALPNProtocols: ['h2'] }, () => {
        resolve(socket.getPeerCertificate().serialNumber);
        socket.destroy();
      });
      socket.on('error', reject);
    });

  it('of the gate are replaced by a reload, and no connection is lost', async () => {
    const client = fleet.connect();
    const script = `echo up; while [ ! -e ${join(fleet.writable('rotate'), 'go')} ]; do sleep 0.1; done`;
    const started = Promise.withResolvers<void>();
    const write_paths = [join(fleet.workspace, 'rotate/**')];
    const running = client.run(
      fleet.contract({ argv: ['sh', '-c', script], write_paths, proposed_effect_type: 'transform_local' }),
      { handlers: { onStdout: () => started.resolve() } },
    );
    await started.promise;
    const before = await serial();
    const next = await renewed('renewed');
    const config = ['--config', join(fleet.directory, 'gate.yaml')];
    // The certificate alone is half of it: refused, and the old pair goes on.
    put(next, ['gate.pem']);
    const half = await csc(['admin', 'reload', ...config]);
    expect(half).toMatchObject({ code: 1 });
    expect(half.stdout).toMatch(/^not reloaded: .*gate\.key is not the private key of .*gate\.pem/);
    expect(await serial()).toBe(before);
    put(next, ['gate.key']);
    const from = fleet.gate.log.length;
    const whole = await csc(['admin', 'reload', ...config]);
    expect(whole).toMatchObject({ code: 0 });
    expect(whole.stdout).toMatch(/^reloaded; policies: tests; .*replaced: tls$/m);
    expect(await serial()).not.toBe(before);
    expect(fleet.gate.log.slice(from)).toMatch(/"replaced":\["tls"\].*"msg":"reloaded"/);
    fleet.write('workspace/rotate/go', '');
    expect((await running).exitCode).toBe(0);
    expect(fleet.gate.log.slice(from)).not.toContain('not let in');
  });

  it('of an executor are taken up by themselves, keys of its gates included', async () => {
    const executor = fleet.executor('host-1');
    const from = executor.log.length;
    const next = await renewed('by-itself');
    put(next, ['executor-host-1.pem', 'executor-host-1.key']);
    const keys = join(fleet.directory, 'gate', 'gate-keys.json');
    const ring = JSON.parse(readFileSync(keys, 'utf8'));
    const other = { key_id: 'later', public_key: newPublicKey() };
    writeFileSync(keys, JSON.stringify({ keys: [...ring.keys, other] }));
    await executor.waitFor(/"replaced":\[[^\]]*"tls"/, from);
    await executor.waitFor(/"replaced":\[[^\]]*"trusted_gate_keys"/, from);
    writeFileSync(keys, 'none');
    await executor.waitFor(/"files":\["trusted_gate_keys"\].*cannot be used/, from);
    expect((await fleet.connect().run(fleet.contract({ argv: ['true'] }))).exitCode).toBe(0);
    const restored = executor.log.length;
    writeFileSync(keys, JSON.stringify(ring));
    await executor.waitFor(/"replaced":\["trusted_gate_keys"\]/, restored);
  });

  it('of a host’s receipts are not made anew where they are gone while it runs', async () => {
    const key = join(fleet.directory, 'executor-host-1', 'receipt-key.pem');
    const executor = fleet.executor('host-1');
    const from = executor.log.length;
    renameSync(key, `${key}.away`);
    await executor.waitFor(/"files":\["signing_key"\].*cannot be used/, from);
    expect(existsSync(key)).toBe(false);
    renameSync(`${key}.away`, key);
    expect((await fleet.connect().run(fleet.contract({ argv: ['true'] }))).exitCode).toBe(0);
  });

  it('of an executor speak for it at once: the gate sees the new one, its labels count, and what runs goes on', async () => {
    const cert = join(fleet.pki, 'executor-host-1.pem');
    const plain = readFileSync(cert, 'utf8');
    const pem = (name: string): string => readFileSync(join(fleet.pki, name), 'utf8');
    const issuer = { certificate: toCertificate(pem('ca.pem')), key: createPrivateKey(pem('ca.key')) };
    const publicKey = createPublicKey(pem('executor-host-1.key'));
    const placed = async (labels: Readonly<Record<string, string>>) =>
      fleet.connect().run(fleet.contract({ argv: ['true'] }), { selector: labels });
    const go = join(fleet.writable('renewal'), 'go');
    const script = `while [ ! -e ${go} ]; do echo up; sleep 0.02; done; echo done`;
    const write_paths = [join(fleet.workspace, 'renewal/**')];
    const started = Promise.withResolvers<void>();
    const meanwhile = fleet
      .connect()
      .run(
        fleet.contract({ argv: ['sh', '-c', script], write_paths, proposed_effect_type: 'transform_local' }),
        { handlers: { onStdout: () => started.resolve() } },
      );
    await started.promise;
    // The second takes the first's label away, which the host no longer says.
    for (const labels of [{ pool: 'near' }, { pool: 'far', os: 'linux' }, { pool: 'near' }]) {
      const from = fleet.gate.log.length;
      const subject = {
        trustDomain: 'csc.local',
        role: 'executor',
        name: 'host-1',
        labels,
        hosts: [],
      } as const;
      const life = { now: new Date(), lifeMs: 3_600_000 };
      writeFileSync(cert, (await certify(subject, 'tls', publicKey, issuer, life)).pem);
      const said = labels.os === undefined ? '"pool=near"' : '"os=linux, pool=far"';
      await fleet.gate.waitFor(new RegExp(`"labels":${said}.*"msg":"executor connected"`), from);
      expect((await placed(labels)).exitCode).toBe(0);
    }
    const from = fleet.gate.log.length;
    writeFileSync(cert, plain);
    await fleet.gate.waitFor(/"labels":"".*"msg":"executor connected"/, from);
    writeFileSync(go, '');
    expect((await meanwhile).exitCode).toBe(0);
  });

  it('sign with a new key from a reload on, which the hosts have been given', async () => {
    const key = join(fleet.directory, 'gate', 'gate.key');
    const from = fleet.gate.log.length;
    const heard = fleet.executor('host-1').log.length;
    copyFileSync(key, `${key}.old`);
    writeFileSync(key, generateKeyPair().privatePem, { mode: 0o600 });
    await hangUp(fleet.gate, /"replaced":\["signing_key"\].*"msg":"reloaded"/);
    await fleet.executor('host-1').waitFor(/"replaced":\["trusted_gate_keys"\]/, heard);
    const { exitCode, execution } = await fleet.connect().run(fleet.contract({ argv: ['true'] }));
    expect(exitCode).toBe(0);
    expect(execution.state).toBe(ExecutionState.SUCCEEDED);
    expect(fleet.gate.log.slice(from)).not.toContain('could not be kept');
  });

  it('are warned of at the terminal within their last 30 days, and renewed', async () => {
    const cert = join(fleet.pki, 'client-alice.pem');
    const pki = { hosts: ['127.0.0.1'], clients: ['alice'] };
    const clock = { now: () => new Date(Date.now() - 810 * 24 * 3600 * 1000) };
    rmSync(cert);
    await createDevelopmentPki(fleet.pki, { ...pki, clock });
    const soon = await fleet.csc(['list']);
    expect(soon.stderr).toMatch(
      /csc: WARNING the certificate .*client-alice\.pem ends in 1[45] days \(.*csc pki renew/,
    );
    const renewal = await csc(['pki', 'renew', '--dir', fleet.pki]);
    expect(renewal.stdout).toMatch(/^renewed .*client-alice\.pem until \d{4}-\d\d-\d\d\n$/);
    expect((await fleet.csc(['list'])).stderr).toBe('');
    const issued = await csc(['pki', 'issue', 'gate', 'gate', '--dir', fleet.pki, '--host', 'far.example']);
    expect(issued.code).toBe(78);
    expect(issued.stderr).toContain('is not for far.example: csc pki renew gate');
  });

  it('that do not count are told as that, at the client and in the log of the gate', async () => {
    const stranger = join(fleet.directory, 'stranger');
    await csc(['pki', 'init', stranger, '--client', 'eve', '--executor', 'host-1']);
    const of = (name: string) => ({
      CSC_CA: join(fleet.pki, 'ca.pem'),
      CSC_CERT: join(stranger, `${name}.pem`),
      CSC_KEY: readFileSync(join(stranger, `${name}.key`), 'utf8'),
    });
    const from = fleet.gate.log.length;
    const eve = await fleet.csc(['list'], { env: of('client-eve') });
    expect(eve.code).toBe(77);
    expect(eve.stderr).toMatch(/does not accept the certificate .*client-eve\.pem: it is of another CA \(/);
    await fleet.gate.waitFor(
      /"address":"127\.0\.0\.1","reason":"its certificate is of another CA".*"msg":"a peer was not let in"/,
      from,
    );
    const logged = fleet.gate.log
      .slice(from)
      .split('\n')
      .filter((line) => line.includes('not let in'));
    expect(logged).toHaveLength(1);
  });
});

const newPublicKey = (): string => Buffer.from(generateKeyPair().publicKey).toString('base64');
