import { KeyObject, X509Certificate } from 'node:crypto';
import { connect as connectHttp2 } from 'node:http2';
import { connect, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import { createJoinToken, joinFleet, joinPurpose, parseJoinToken } from '@csc-fleet/common/ca';
import { certifiedKey, parseCertificates, verifyCertificates } from '@csc-fleet/common/evidence';
import {
  certify,
  createRequest,
  generateTlsKey,
  makeIssuing,
  makeRoot,
  readRequest,
  toCertificate,
} from '@csc-fleet/common/pki';
import { silentLog } from '@csc-fleet/common/service';
import { codeOf, ed25519, keyPair, TestCa } from '@csc-fleet/test-kit/cli/test-ca';
import {
  BasicConstraintsExtension,
  Pkcs10CertificateRequestGenerator,
  X509CertificateGenerator,
} from '@peculiar/x509';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { certifiedRing, parsePem } from '../evidence/browser/certificates.ts';
import { Allowance } from './allowance.ts';
import { checkServerName } from './constraint-check.ts';
import { startCa } from './server.ts';

const testCa = new TestCa();
const { clock } = testCa;

beforeAll(() => testCa.open());

afterAll(() => testCa.close());

describe('certificate requests', () => {
  it('are taken for the key alone: what else they ask for is not read', async () => {
    const token = await testCa.tokenFor(testCa.fresh());
    const keys = await crypto.subtle.generateKey({ name: 'ECDSA', namedCurve: 'P-256' }, true, [
      'sign',
      'verify',
    ]);
    const greedy = await Pkcs10CertificateRequestGenerator.create({
      name: `CN=${joinPurpose(token)}`,
      keys,
      signingAlgorithm: { name: 'ECDSA', hash: 'SHA-256' },
      extensions: [new BasicConstraintsExtension(true, 9, true)],
    });
    const receiptRequest = await createRequest(ed25519(), joinPurpose(token));
    const tlsRequest = Buffer.from(greedy.rawData);
    const { pem } = (await testCa.askWith(token, { tlsRequest, receiptRequest })).tls;
    expect(new X509Certificate(pem).ca).toBe(false);
  });

  it('are refused without proof of possession, for another use, of another kind of key, or too long', async () => {
    const key = generateTlsKey();
    const good = await createRequest(key, 'join x');
    expect(await codeOf(() => readRequest(good, 'tls', 'join x'))).toBe('none');
    expect(await codeOf(() => readRequest(good, 'tls', 'join y'))).toBe('REQUEST_INVALID');
    expect(await codeOf(() => readRequest(good, 'receipts', 'join x'))).toBe('REQUEST_INVALID');
    const others = (await createRequest(generateTlsKey(), 'join x')).subarray(0);
    // The key of one in the request of another: the signature is then of neither.
    const point = (der: Buffer): number => der.indexOf(Buffer.from('034200', 'hex')) + 3;
    const forged = Buffer.from(good);
    others.copy(forged, point(forged), point(others), point(others) + 65);
    expect(await codeOf(() => readRequest(forged, 'tls', 'join x'))).toBe('REQUEST_INVALID');
    const receipts = await createRequest(ed25519(), 'join x');
    const broken = Buffer.from(receipts);
    broken[broken.length - 1] = (broken[broken.length - 1] ?? 0) ^ 1;
    expect(await codeOf(() => readRequest(receipts, 'receipts', 'join x'))).toBe('none');
    expect(await codeOf(() => readRequest(broken, 'receipts', 'join x'))).toBe('REQUEST_INVALID');
    const long = await createRequest(key, 'x'.repeat(3000));
    expect(await codeOf(() => readRequest(long, 'tls', 'x'.repeat(3000)))).toBe('REQUEST_INVALID');
    for (let length = 0; length < good.length; length += 7)
      expect(await codeOf(() => readRequest(good.subarray(0, length), 'tls', 'join x'))).toBe(
        'REQUEST_INVALID',
      );
  });
});
describe('name constraints', () => {
  it('keep a server of another name out of every handshake, as a mis-issued one shows', async () => {
    const key = generateTlsKey();
    const { keys, trustDomain } = testCa.ports;
    const certified = async (hosts: string[], domain = trustDomain): Promise<string> => {
      const subject = { trustDomain: domain, role: 'gate', name: 'g', labels: {}, hosts } as const;
      const { pem } = await certify(subject, 'tls', key, keys, { now: testCa.now, lifeMs: 60_000 });
      return codeOf(() =>
        checkServerName({ pem: `${pem}${keys.issuingPem}`, key, root: keys.rootPem, hosts }),
      );
    };
    expect(await certified(['localhost', 'a.localhost'])).toBe('none');
    expect(await certified(['evil.example'])).toBe('CONFIG_INVALID');
    expect(await certified(['127.0.0.1'])).toBe('CONFIG_INVALID');
    expect(await certified(['::1'])).toBe('CONFIG_INVALID');
    expect(await certified(['localhost'], 'other.example')).toBe('CONFIG_INVALID');
    expect(await certified(['localhost'], `sub.${trustDomain}`)).toBe('CONFIG_INVALID');
  });

  it('have receipts of another trust domain refused, which such a CA has certified', async () => {
    const root = await makeRoot({ trustDomain: 'fleet.example', hosts: [] }, testCa.now);
    const issuing = await makeIssuing(root, { trustDomain: 'fleet.example', hosts: [] }, testCa.now);
    const issuer = { certificate: toCertificate(issuing.pem), key: issuing.key };
    const verified = async (trustDomain: string): Promise<string> => {
      const subject = { trustDomain, role: 'executor', name: 'h', labels: {}, hosts: [] } as const;
      const { pem } = await certify(subject, 'receipts', ed25519(), issuer, {
        now: testCa.now,
        lifeMs: 60_000,
      });
      const chain = parseCertificates(`${pem}${issuing.pem}`, 'chain');
      const ca = parseCertificates(root.pem, 'ca');
      // The page of an audit bundle has a verifier of its own.
      const receiptJson = Buffer.from(
        JSON.stringify({
          receipt_certificates: chain.map((it) => it.raw.toString('base64')),
          signature: { key_id: 'k', signed_at: testCa.now.toISOString() },
        }),
      );
      const paged = await codeOf(() => certifiedRing({ receiptJson }, parsePem(root.pem)));
      expect(paged).toBe(await codeOf(() => certifiedKey({ receiptJson }, ca)));
      return codeOf(() => verifyCertificates(chain, ca, testCa.now));
    };
    expect(await verified('fleet.example')).toBe('none');
    expect(await verified('other.example')).toBe('RECEIPT_INVALID');
    expect(await verified('fleet.example.org')).toBe('RECEIPT_INVALID');
    // Each alone: name constraints of a CA that says no trust domain of itself, and that of one that has no constraints.
    const { privateKey, publicKey } = await crypto.subtle.generateKey(
      { name: 'ECDSA', namedCurve: 'P-256' },
      true,
      ['sign', 'verify'],
    );
    const rootOf = toCertificate(root.pem);
    const bareWith = (extension: string) =>
      X509CertificateGenerator.createSelfSigned({
        name: 'CN=bare',
        keys: { privateKey, publicKey },
        notBefore: new Date(testCa.now.getTime() - 60_000),
        notAfter: new Date(testCa.now.getTime() + 3_600_000),
        signingAlgorithm: { name: 'ECDSA', hash: 'SHA-256' },
        extensions: rootOf.extensions.filter(({ type }) => type === extension || type === '2.5.29.19'),
      });
    const key = KeyObject.from(privateKey);
    const bareVerified = async (
      bare: Awaited<ReturnType<typeof bareWith>>,
      trustDomain: string,
    ): Promise<string[]> => {
      const subject = { trustDomain, role: 'executor', name: 'h', labels: {}, hosts: [] } as const;
      const { pem } = await certify(
        subject,
        'receipts',
        ed25519(),
        { certificate: bare, key },
        { now: testCa.now, lifeMs: 60_000 },
      );
      const [one] = parseCertificates(pem, 'chain');
      const receiptJson = Buffer.from(
        JSON.stringify({
          receipt_certificates: [one?.raw.toString('base64')],
          signature: { key_id: 'k', signed_at: testCa.now.toISOString() },
        }),
      );
      const pinned = bare.toString('pem');
      return [
        await codeOf(() => certifiedRing({ receiptJson }, parsePem(pinned))),
        await codeOf(() => certifiedKey({ receiptJson }, parseCertificates(pinned, 'ca'))),
      ];
    };
    for (const extension of ['2.5.29.30', '2.5.29.17']) {
      const bare = await bareWith(extension);
      expect(await bareVerified(bare, 'fleet.example')).toEqual(['none', 'none']);
      expect(await bareVerified(bare, 'other.example')).toEqual(['RECEIPT_INVALID', 'RECEIPT_INVALID']);
      expect(await bareVerified(bare, 'sub.fleet.example')).toEqual(['RECEIPT_INVALID', 'RECEIPT_INVALID']);
    }
  });
});

describe('the door of a CA', () => {
  // Each on an address that is not the one of whoever joins honestly.
  const from = '127.0.0.2';
  const ended = (socket: Duplex): Promise<unknown> =>
    new Promise((resolve) => {
      socket.once('close', resolve);
      socket.resume();
    });

  it('lets nobody stay who says nothing, or says it slowly, and others in meanwhile', async () => {
    const said: Record<string, unknown>[] = [];
    const bounds = {
      connections: {
        total: 64,
        perAddress: 6,
        silentPerAddress: 3,
        handshakesPerSec: 99,
        handshakeTimeoutSec: 0.3,
      },
      idleMs: 200,
      ageMs: 500,
    };
    const log = { ...silentLog, warn: (fields: object) => said.push({ ...fields }) };
    const guarded = await startCa(testCa.config, log, { clock, bounds });
    const { port } = guarded;
    const plain = (): Socket =>
      connect({ host: '127.0.0.1', port, localAddress: from }).on('error', () => undefined);
    const secure = (): Promise<TLSSocket> =>
      new Promise((resolve) => {
        const socket = connectTls({ socket: plain(), ALPNProtocols: ['h2'], rejectUnauthorized: false }, () =>
          resolve(socket),
        );
        socket.on('error', () => undefined);
      });
    const half = (): Socket => {
      const socket = plain();
      // The first bytes of a handshake, and no more.
      socket.write(Buffer.from('160301', 'hex'));
      return socket;
    };
    const token = parseJoinToken(await testCa.tokenFor(testCa.fresh()));
    const crowd = [plain(), half(), half(), half(), plain(), half()];
    const beyond = plain();
    const gone = [...crowd, beyond].map(ended);
    expect((await joinFleet(`localhost:${port}`, token, keyPair(), testCa.asHost)).labels).toEqual({
      os: 'linux',
    });
    await Promise.all(gone);
    expect(said.map(({ address, why }) => `${address} ${why}`)).toContain(
      `${from} 6 connections of this address are open`,
    );
    const idle = await secure();
    const noise = await secure();
    noise.write('GET / HTTP/1.1\r\n'.repeat(9));
    const session = await secure();
    const http2 = connectHttp2('https://localhost', { createConnection: () => session });
    http2.on('error', () => undefined);
    const path = '/csc.ca.v1.CertificateAuthority/Join';
    const headers = { ':method': 'POST', ':path': path, 'content-type': 'application/grpc', te: 'trailers' };
    const call = http2.request(headers, { endStream: false });
    // A message that never becomes whole.
    call.on('error', () => undefined).write(Buffer.from([0, 0, 0]));
    await Promise.all([idle, noise, session].map(ended));
    await guarded.close();
  });
});

describe('the allowance of callers', () => {
  it('bounds the calls of one address, and of all together', async () => {
    let at = 0;
    const allowance = new Allowance(() => at);
    const calls = async (peer: string, count: number): Promise<number> => {
      let taken = 0;
      for (let index = 0; index < count; index++)
        if ((await codeOf(() => allowance.take(peer))) === 'none') taken += 1;
      return taken;
    };
    expect(await calls('10.0.0.1:999', 50)).toBe(20);
    expect(await calls('10.0.0.2:1', 1)).toBe(1);
    at += 1000;
    expect(await calls('10.0.0.1:5', 50)).toBe(2);
    let all = 0;
    for (let index = 0; index < 100; index++) all += await calls(`10.1.0.${index}:1`, 20);
    expect(all).toBeLessThanOrEqual(200);
  });

  it('is theirs before the CA looks at what they say', async () => {
    const still = await startCa(testCa.config, silentLog, { clock, monotonicMs: () => 0 });
    const { text } = createJoinToken(testCa.ports.keys.rootSha256, 'fleet.example');
    const guess = () =>
      codeOf(() => joinFleet(`localhost:${still.port}`, parseJoinToken(text), keyPair(), testCa.asHost));
    const codes: string[] = [];
    for (let index = 0; index < 21; index++) codes.push(await guess());
    expect(codes).toEqual([...Array<string>(20).fill('JOIN_REFUSED'), 'RATE_LIMITED']);
    await still.close();
  });
});
