import { execFileSync } from 'node:child_process';
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { mkdirSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { renewalTime, renewCertificate, renewOnce, renewPurpose, retryWait } from '@csc-fleet/common/ca';
import { labelsInUnits } from '@csc-fleet/common/identity';
import { parseRevoked } from '@csc-fleet/common/owners';
import { certify, createRequest } from '@csc-fleet/common/pki';
import { TlsSource } from '@csc-fleet/common/rpc';
import { samplePolicy } from '@csc-fleet/test-kit/cli/artifacts';
import { codeOf, ed25519, keyPair, TestCa } from '@csc-fleet/test-kit/cli/test-ca';
import { csc } from '@csc-fleet/test-kit/process';
import { SmallDisk } from '@csc-fleet/test-kit/small-disk';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { renewWhenDue } from '../connect/renewing.ts';
import { keepJoinedCa } from '../files/joined-ca.ts';
import { renew } from './authority.ts';
import { joinCa } from './join.ts';
import { revokeMember, toRevocations } from './manage.ts';

const bindingsText =
  'bindings_version: csc.bindings.v0.2\nbindings: [{identity: spiffe://fleet.example/client/a, policies: [sample]}]\n';
const testCa = new TestCa();
const { root, dir } = testCa;

beforeAll(() => testCa.open());

afterAll(() => testCa.close());

describe('renewal', () => {
  it('gives the same name and labels again, over mutual TLS, and puts them in their files', async () => {
    const place = join(root, 'renewed');
    const name = testCa.fresh();
    const options = {
      role: 'executor',
      ca: testCa.address,
      token: await testCa.tokenFor(name),
      dir: place,
      again: false,
    } as const;
    const policies = join(root, 'policies');
    writeFileSync(join(root, 'keys.json'), '{"keys":[]}');
    const rest = { gate: 'localhost:1', gateKeys: join(root, 'keys.json'), policies, mode: 'local' } as const;
    const joined = await joinCa({ ...options, ...rest });
    expect(joined.labels).toEqual({ os: 'linux' });
    expect(await codeOf(() => joinCa({ ...options, ...rest }))).toBe('CONFIG_INVALID');
    const pki = join(place, 'pki');
    const files = {
      ca: join(pki, 'ca.pem'),
      cert: join(pki, 'executor.pem'),
      key: join(pki, 'executor.key'),
    };
    const tls = new TlsSource(files);
    const before = readFileSync(files.cert, 'utf8');
    const receipts = { key: join(place, 'state/receipt-key.pem'), certificate: join(pki, 'receipts.pem') };
    const next = await renewOnce({ address: testCa.address, tls, files, receipts });
    expect(next.subject).toBe(new X509Certificate(before).subject);
    expect(readFileSync(files.cert, 'utf8')).not.toBe(before);
    tls.prepare()?.();
    expect(tls.material.own.certificate.serialNumber).toBe(next.serialNumber);
    // A key that was taken away is made anew, and named.
    rmSync(receipts.key);
    const token = await testCa.tokenFor(name, { again: true });
    expect((await joinCa({ ...options, token, again: true })).keys).toEqual([receipts.key]);
    // Whoever has taken the TLS key alone.
    const own = createPrivateKey(readFileSync(files.key));
    const stolen = renewCertificate(testCa.address, tls, { tls: own, receipts: ed25519() });
    expect(await codeOf(() => stolen)).toBe('REQUEST_INVALID');
    revokeMember(testCa.config, 'executor', name, 'test', testCa.now);
    expect(await codeOf(() => renewOnce({ address: testCa.address, tls, files, receipts }))).toBe(
      'NOT_PERMITTED',
    );
  });

  it('is done by csc itself for a client that has joined, past two thirds of its life, and asked for once in a while', async () => {
    const place = join(root, 'client');
    const token = await testCa.tokenFor(testCa.fresh(), { role: 'client', labels: {} });
    const { made } = await joinCa({ role: 'client', ca: testCa.address, token, dir: place, again: false });
    const cert = made.find((it) => /client-[^/]*\.pem$/.test(it)) ?? '';
    const files = { ca: join(place, 'ca.pem'), cert, key: cert.replace(/pem$/, 'key') };
    const read = (): X509Certificate => new X509Certificate(readFileSync(cert));
    const first = read();
    const failures: string[] = [];
    const at = (part: number, minutes = 0): Promise<void> | undefined => {
      const [from, until] = [first.validFromDate.getTime(), first.validToDate.getTime()];
      const when = new Date(from + part * (until - from) + minutes * 60_000);
      return renewWhenDue({ files, certificate: first }, when, (why) => failures.push(why));
    };
    expect(at(0.5)).toBeUndefined();
    expect(at(1.01)).toBeUndefined();
    await at(0.7);
    const second = read();
    expect(second.serialNumber).not.toBe(first.serialNumber);
    utimesSync(
      `${cert}.renewal`,
      first.validFromDate,
      new Date(first.validFromDate.getTime() + 0.7 * 3900_000),
    );
    expect(at(0.7, 4.9)).toBeUndefined();
    keepJoinedCa(place, 'localhost:1');
    await at(0.9);
    expect(failures).toEqual([expect.stringContaining('localhost:1 cannot be reached')]);
    expect(read().serialNumber).toBe(second.serialNumber);
    rmSync(join(place, 'csc-ca.json'));
    expect(at(0.99)).toBeUndefined();
  });

  it('is seen beforehand to be impossible where its folder takes no files, and the CA is asked for nothing', async () => {
    const disk = new SmallDisk(join(root, 'read-only'), 1024 * 1024);
    const state = join(root, 'read-only-state');
    try {
      writeFileSync(join(root, 'pinned-keys.json'), '{"keys":[]}');
      const policies = join(root, 'plain-policies');
      mkdirSync(policies);
      const [policy, bindings] = [join(policies, 'sample.yaml'), join(policies, 'bindings.yaml')];
      writeFileSync(policy, JSON.stringify({ ...samplePolicy(), name: 'sample' }));
      writeFileSync(bindings, bindingsText);
      const places = { gate: join(disk.path, 'gate'), executor: join(disk.path, 'host') };
      const rest = { gate: 'localhost:1', gateKeys: join(root, 'pinned-keys.json'), policies } as const;
      const options = { ca: testCa.address, again: false, mode: 'local', ...rest } as const;
      for (const role of ['gate', 'executor'] as const) {
        const hosts = role === 'gate' ? ['localhost'] : [];
        const token = await testCa.tokenFor(testCa.fresh(), { role, hosts, labels: {} });
        await joinCa({ ...options, role, token, dir: places[role], stateDir: join(state, role) });
      }
      const listen = join(places.gate, 'gate.yaml');
      writeFileSync(listen, readFileSync(listen, 'utf8').replace('0.0.0.0:7443', '127.0.0.1:0'));
      await csc([
        'policy',
        'init',
        '--dir',
        join(places.gate, 'policy-repository'),
        '--local',
        policy,
        bindings,
      ]);
      disk.turn('ro');
      const files = {
        ca: join(places.gate, 'pki/ca.pem'),
        cert: join(places.gate, 'pki/gate.pem'),
        key: join(places.gate, 'pki/gate.key'),
      };
      const audit = () => readFileSync(join(testCa.config.stateDir, 'audit.jsonl'), 'utf8');
      const before = audit();
      const tls = new TlsSource(files);
      expect(await codeOf(() => renewOnce({ address: testCa.address, tls, files }))).toBe('FILE_UNWRITABLE');
      expect(audit()).toBe(before);
      const check = (role: 'gate' | 'executor') =>
        csc([role, '--config', join(places[role], `${role}.yaml`), '--check-config']);
      for (const role of ['gate', 'executor'] as const) {
        const { code, stderr } = await check(role);
        expect({ code, stderr }).toEqual({
          code: 78,
          stderr: expect.stringContaining(
            `where the CA renews ${join(places[role], `pki/${role}.pem`)}, cannot be written`,
          ),
        });
      }
    } finally {
      disk.turn('rw');
      disk.unmount();
    }
  });

  it('is refused after a revocation, which has the words for revoked.yaml', async () => {
    const [name, keys] = [testCa.fresh(), keyPair()];
    const { tls } = await testCa.ask(await testCa.tokenFor(name), keys);
    expect(await codeOf(() => testCa.askRenewal(tls.pem, keys))).toBe('none');
    const member = revokeMember(testCa.config, 'executor', name, 'lost', testCa.now);
    expect(await codeOf(() => testCa.askRenewal(tls.pem, keys))).toBe('NOT_PERMITTED');
    expect(await codeOf(() => testCa.tokenFor(name, { again: true }))).toBe('CONFIG_INVALID');
    const revoked = parseRevoked(Buffer.from(toRevocations(member, 'lost', testCa.now)));
    expect(revoked.ok && revoked.value.revoked).toMatchObject([{ kind: 'host', id: name }, { kind: 'key' }]);
  });

  it('is written there by the lines that csc ca revoke prints, as they stand', async () => {
    const [name, reason, owners] = [testCa.fresh(), "it's lost; $(false)", join(root, 'revoking')];
    await testCa.ask(await testCa.tokenFor(name), keyPair());
    const [policy, bindings] = [join(root, 'sample.yaml'), join(root, 'bindings.yaml')];
    writeFileSync(bindings, bindingsText);
    writeFileSync(policy, JSON.stringify({ ...samplePolicy(), name: 'sample' }));
    await csc(['policy', 'init', '--dir', owners, '--local', policy, bindings]);
    const told = await csc(['ca', 'revoke', 'executor', name, '--dir', dir, '--reason', reason]);
    const shown = parseRevoked(Buffer.from(told.stdout));
    expect(shown.ok && shown.value.revoked).toMatchObject([
      { kind: 'host', reason },
      { kind: 'key', reason },
    ]);
    const lines = told.stderr.split('\n').filter((it) => it.startsWith('  csc '));
    expect(lines).toHaveLength(2);
    for (const line of lines) {
      const split = execFileSync('sh', ['-c', `csc() { printf '%s\\0' "$@"; }; ${line}`], {
        encoding: 'utf8',
      });
      const args = split.split('\0').slice(0, -1);
      const done = await csc(args.map((it) => (it === 'policy-repository' ? owners : it)));
      expect(done.code).toBe(0);
    }
    const written = parseRevoked(readFileSync(join(owners, 'targets', 'revoked.yaml')));
    const ids = (it: typeof written) =>
      it.ok && it.value.revoked.map(({ kind, id, reason: why }) => [kind, id, why]);
    expect(ids(written)).toEqual(ids(shown));
  });

  it('is refused with a certificate of before another joined in its place', async () => {
    const [name, old, young] = [testCa.fresh(), keyPair(), keyPair()];
    const first = await testCa.ask(await testCa.tokenFor(name), old);
    const second = await testCa.ask(
      await testCa.tokenFor(name, { again: true, labels: { os: 'other' } }),
      young,
    );
    expect(await codeOf(() => testCa.askRenewal(first.tls.pem, old))).toBe('JOIN_REFUSED');
    const renewed = await testCa.askRenewal(second.tls.pem, young);
    expect(labelsInUnits(new X509Certificate(renewed.tls.pem).toLegacyObject().subject.OU)).toEqual({
      os: 'other',
    });
  });

  it('is refused with a certificate that this CA has not issued to a party, though its key has signed it', async () => {
    const keys = keyPair();
    const name = testCa.fresh();
    await testCa.ask(await testCa.tokenFor(name), keys);
    const subject = {
      trustDomain: 'fleet.example',
      role: 'executor',
      name,
      labels: { os: 'x' },
      hosts: [],
    } as const;
    const life = { now: testCa.now, lifeMs: 60_000 };
    const forged = await certify(subject, 'tls', keys.tls, testCa.ports.keys, life);
    expect(await codeOf(() => testCa.askRenewal(forged.pem, keys))).toBe('JOIN_REFUSED');
  });

  it('needs requests that were made for this certificate', async () => {
    const keys = keyPair();
    const { tls } = await testCa.ask(await testCa.tokenFor(testCa.fresh()), keys);
    const { raw } = new X509Certificate(tls.pem);
    const tlsRequest = await createRequest(keys.tls, renewPurpose('0'.repeat(64)));
    const receiptRequest = await createRequest(keys.receipts, renewPurpose('0'.repeat(64)));
    expect(await codeOf(() => renew(testCa.ports, { tlsRequest, receiptRequest }, raw, 'test'))).toBe(
      'REQUEST_INVALID',
    );
  });

  it('is due at two thirds of a life, sooner by up to a tenth, and is tried again more and more seldom', async () => {
    const { tls } = await testCa.ask(await testCa.tokenFor(testCa.fresh()), keyPair());
    const certificate = new X509Certificate(tls.pem);
    const [from, until] = [certificate.validFromDate.getTime(), certificate.validToDate.getTime()];
    const part = (at: Date): number => (at.getTime() - from) / (until - from);
    expect(part(renewalTime(certificate, 0))).toBeCloseTo(2 / 3, 3);
    expect(part(renewalTime(certificate, 1))).toBeCloseTo(2 / 3 - 0.1, 3);
    const waits = Array.from({ length: 40 }, (_, failures) => retryWait(certificate, failures, 1));
    expect(waits.every((wait, index) => index === 0 || wait >= (waits[index - 1] ?? 0))).toBe(true);
    expect(Math.min(...waits)).toBeGreaterThanOrEqual(1000);
    expect(Math.max(...waits)).toBeLessThanOrEqual((until - from) / 10);
  });
});
