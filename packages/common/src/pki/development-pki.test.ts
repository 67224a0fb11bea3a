import { createPrivateKey, generateKeyPairSync, type KeyObject, X509Certificate } from 'node:crypto';
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeEach, describe, expect, it } from 'vitest';
import { CscError } from '../errors/index.ts';
import { identityOfCertificate } from '../identity/index.ts';
import { createDevelopmentPki, renewCertificates } from './development-pki.ts';

const root = mkdtempSync(join(tmpdir(), 'csc-pki-'));
let dir = '';
let count = 0;
beforeEach(() => {
  dir = join(root, String(count++), 'pki');
});
afterAll(() => rmSync(root, { recursive: true }));

function certificate(name: string): X509Certificate {
  return new X509Certificate(readFileSync(join(dir, `${name}.pem`)));
}

async function codeOf(run: () => unknown): Promise<string> {
  try {
    await run();
    return 'none';
  } catch (error) {
    return error instanceof CscError ? error.code : 'another error';
  }
}

const serverAuth = '1.3.6.1.5.5.7.3.1';
const clientAuth = '1.3.6.1.5.5.7.3.2';

describe('createDevelopmentPki', () => {
  it('writes a certificate and a private key for each party', async () => {
    const { ca, created } = await createDevelopmentPki(dir, { clients: ['ci', 'ana'], executors: ['e1'] });
    const names = ['ca', 'gate', 'executor-e1', 'client-ci', 'client-ana'];
    expect(readdirSync(dir).sort()).toEqual(names.flatMap((name) => [`${name}.key`, `${name}.pem`]).sort());
    expect(created).toHaveLength(10);
    expect(ca).toBe(join(dir, 'ca.pem'));
    for (const name of names) {
      expect(statSync(join(dir, `${name}.key`)).mode & 0o777).toBe(0o600);
      expect(certificate(name).checkPrivateKey(keyOf(name))).toBe(true);
      expect(certificate(name).verify(certificate('ca').publicKey)).toBe(true);
    }
  });

  it('names each party in one URI, and limits what its certificate is good for', async () => {
    await createDevelopmentPki(dir, {
      clients: ['ci'],
      executors: ['e1'],
      gate: 'g1',
      trustDomain: 'prod.example',
    });
    expect(identityOfCertificate(certificate('gate').raw).uri).toBe('spiffe://prod.example/gate/g1');
    expect(identityOfCertificate(certificate('executor-e1').raw).uri).toBe(
      'spiffe://prod.example/executor/e1',
    );
    expect(identityOfCertificate(certificate('client-ci').raw).uri).toBe('spiffe://prod.example/client/ci');
    expect(certificate('gate').keyUsage).toEqual([serverAuth]);
    expect(certificate('executor-e1').keyUsage).toEqual([clientAuth]);
    expect(certificate('client-ci').keyUsage).toEqual([clientAuth]);
    expect(['ca', 'gate', 'client-ci'].map((name) => certificate(name).ca)).toEqual([true, false, false]);
  });

  it("puts host names and addresses into the gate's certificate only", async () => {
    await createDevelopmentPki(dir, { hosts: ['gate.example.org', '10.1.2.3', 'fd00::1'], clients: ['ci'] });
    expect(certificate('gate').checkHost('gate.example.org')).toBe('gate.example.org');
    expect(certificate('gate').checkHost('localhost')).toBeUndefined();
    expect(certificate('gate').checkIP('10.1.2.3')).toBe('10.1.2.3');
    expect(certificate('gate').checkIP('fd00::1')).toBe('fd00::1');
    expect(certificate('client-ci').checkHost('gate.example.org')).toBeUndefined();
  });

  it('is good from now for some years', async () => {
    const clock = { now: () => new Date('2026-06-01T00:00:00Z') };
    await createDevelopmentPki(dir, { clock });
    for (const name of ['ca', 'gate']) {
      expect(certificate(name).validFromDate <= clock.now()).toBe(true);
      expect(certificate(name).validToDate > new Date('2028-06-01T00:00:00Z')).toBe(true);
    }
  });

  it('adds what is missing and overwrites nothing', async () => {
    await createDevelopmentPki(dir, { clients: ['ci'] });
    const before = readdirSync(dir).map((name) => [name, readFileSync(join(dir, name), 'utf8')]);
    const { created } = await createDevelopmentPki(dir, { clients: ['ci', 'new'] });
    expect(created).toEqual([join(dir, 'client-new.key'), join(dir, 'client-new.pem')]);
    for (const [name = '', text] of before) expect(readFileSync(join(dir, name), 'utf8')).toBe(text);
    expect(certificate('client-new').verify(certificate('ca').publicKey)).toBe(true);
    expect((await createDevelopmentPki(dir, { clients: ['ci', 'new'] })).created).toEqual([]);
  });

  it('goes on where a run was interrupted', async () => {
    await createDevelopmentPki(dir, { clients: ['ci'] });
    const key = readFileSync(join(dir, 'client-ci.key'), 'utf8');
    rmSync(join(dir, 'client-ci.pem'));
    expect((await createDevelopmentPki(dir, { clients: ['ci'] })).created).toEqual([
      join(dir, 'client-ci.pem'),
    ]);
    expect(readFileSync(join(dir, 'client-ci.key'), 'utf8')).toBe(key);
    expect(certificate('client-ci').checkPrivateKey(keyOf('client-ci'))).toBe(true);
  });

  it('does not make a new key for a certificate that is there', async () => {
    await createDevelopmentPki(dir);
    rmSync(join(dir, 'ca.key'));
    expect(await codeOf(() => createDevelopmentPki(dir, { clients: ['ci'] }))).toBe('FILE_UNREADABLE');
    expect(readdirSync(dir)).not.toContain('client-ci.pem');
  });

  it('refuses files that do not hold what they should', async () => {
    await createDevelopmentPki(dir);
    writeFileSync(join(dir, 'ca.pem'), 'text');
    expect(await codeOf(() => createDevelopmentPki(dir, { clients: ['ci'] }))).toBe('FILE_UNREADABLE');
    await createDevelopmentPki(join(dir, 'b'));
    chmodSync(join(dir, 'b', 'ca.key'), 0o600);
    writeFileSync(join(dir, 'b', 'ca.key'), 'text');
    expect(await codeOf(() => createDevelopmentPki(join(dir, 'b'), { clients: ['ci'] }))).toBe(
      'FILE_UNREADABLE',
    );
    const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-384' });
    writeFileSync(join(dir, 'b', 'ca.key'), privateKey.export({ type: 'pkcs8', format: 'pem' }));
    expect(await codeOf(() => createDevelopmentPki(join(dir, 'b'), { clients: ['ci'] }))).toBe(
      'FILE_UNREADABLE',
    );
  });

  it.each([
    { clients: ['../x'] },
    { executors: ['a/b'] },
    { clients: [''] },
    { gate: 'ü' },
    { trustDomain: 'UPPER' },
  ])('refuses %j before it writes anything', async (options) => {
    expect(await codeOf(() => createDevelopmentPki(dir, options))).toBe('CONFIG_INVALID');
    expect(await codeOf(() => readdirSync(dir))).toBe('another error');
  });

  it('says where it cannot write', async () => {
    expect(await codeOf(() => createDevelopmentPki('/dev/null/pki'))).toBe('FILE_UNWRITABLE');
  });
});

function keyOf(name: string): KeyObject {
  return createPrivateKey(readFileSync(join(dir, `${name}.key`)));
}

describe('renewCertificates', () => {
  const clockAt = (text: string) => ({ now: () => new Date(text) });

  it('makes anew what ends within 30 days, for the same names and keys, under a CA renewed with it', async () => {
    const hosts = ['gate.example', '10.0.0.5', '::1'];
    const past = clockAt('2020-01-01T00:00:00Z');
    await createDevelopmentPki(dir, { clients: ['ci'], executors: ['e1'], hosts, clock: past });
    const old = Object.fromEntries(
      ['ca', 'gate', 'client-ci', 'executor-e1'].map((it) => [it, certificate(it)]),
    );
    // 825 days later the CA has years to go.
    const due = await renewCertificates(dir, { clock: clockAt('2022-03-20T00:00:00Z') });
    expect(due.map(({ path }) => path).sort()).toEqual(
      ['client-ci', 'executor-e1', 'gate'].map((name) => join(dir, `${name}.pem`)),
    );
    await renewCertificates(dir, { names: ['gate', 'ca'], clock: clockAt('2029-12-20T00:00:00Z') });
    for (const [name, before] of Object.entries(old)) {
      const now = certificate(name);
      expect(now.serialNumber).not.toBe(before.serialNumber);
      expect([now.subject, now.subjectAltName, now.keyUsage]).toEqual([
        before.subject,
        before.subjectAltName,
        before.keyUsage,
      ]);
      expect(now.checkPrivateKey(keyOf(name))).toBe(true);
      expect(now.checkIssued(certificate('ca')) && now.verify(certificate('ca').publicKey)).toBe(true);
    }
    expect(new Date(certificate('ca').validTo).getUTCFullYear()).toBe(2039);
    expect(await renewCertificates(dir, { clock: clockAt('2022-04-01T00:00:00Z') })).toEqual([]);
  });

  it('gives the gate other names, and nobody else; a name that it lacks is not passed over', async () => {
    await createDevelopmentPki(dir, { clients: ['ci'], hosts: ['localhost'] });
    const asked = createDevelopmentPki(dir, { hosts: ['localhost', 'gate.example'] });
    await expect(asked).rejects.toThrow(
      `was there and is not for gate.example: csc pki renew gate --dir ${dir} --host localhost --host gate.example`,
    );
    await renewCertificates(dir, { hosts: ['gate.example', '10.0.0.5'] });
    expect(certificate('gate').subjectAltName).toBe(
      'URI:spiffe://csc.local/gate/gate, DNS:gate.example, IP Address:10.0.0.5',
    );
    await createDevelopmentPki(dir, { hosts: ['gate.example', '10.0.0.5'] });
    expect(await codeOf(() => renewCertificates(dir, { names: ['client-ci'], hosts: ['x'] }))).toBe(
      'CONFIG_INVALID',
    );
    expect(await codeOf(() => renewCertificates(dir, { names: ['nobody'] }))).toBe('CONFIG_INVALID');
    expect(await codeOf(() => renewCertificates(dir, { names: ['../pki/gate'] }))).toBe('CONFIG_INVALID');
    expect(await codeOf(() => renewCertificates(join(dir, 'none')))).toBe('CONFIG_INVALID');
  });
});
