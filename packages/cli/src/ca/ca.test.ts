import { execFileSync } from 'node:child_process';
import { createPrivateKey, generateKeyPairSync, KeyObject, randomBytes, X509Certificate } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { connect as connectHttp2 } from 'node:http2';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Duplex } from 'node:stream';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import {
  createJoinToken,
  hashJoinToken,
  joinFleet,
  joinPurpose,
  parseJoinToken,
  renewalTime,
  renewCertificate,
  renewOnce,
  renewPurpose,
  retryWait,
} from '@csc-fleet/common/ca';
import { toKeyRingJson } from '@csc-fleet/common/crypto';
import { CscError, withoutSecrets } from '@csc-fleet/common/errors';
import { certifiedKey, parseCertificates, verifyCertificates } from '@csc-fleet/common/evidence';
import { labelsInUnits } from '@csc-fleet/common/identity';
import { parseRevoked } from '@csc-fleet/common/owners';
import {
  certify,
  createRequest,
  fingerprintOf,
  generateTlsKey,
  makeIssuing,
  makeRoot,
  readRequest,
  toCertificate,
} from '@csc-fleet/common/pki';
import { initRepository } from '@csc-fleet/common/policy-repository';
import { type Role, TlsSource } from '@csc-fleet/common/rpc';
import { silentLog } from '@csc-fleet/common/service';
import { samplePolicy } from '@csc-fleet/test-kit/cli/artifacts';
import { freePort } from '@csc-fleet/test-kit/free-port';
import { csc } from '@csc-fleet/test-kit/process';
import { SmallDisk } from '@csc-fleet/test-kit/small-disk';
import {
  BasicConstraintsExtension,
  Pkcs10CertificateRequestGenerator,
  X509CertificateGenerator,
} from '@peculiar/x509';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { renewWhenDue } from '../connect/renewing.ts';
import { certifiedRing, parsePem } from '../evidence/browser/certificates.ts';
import { keepJoinedCa } from '../files/joined-ca.ts';
import { Allowance } from './allowance.ts';
import { openAuditLog } from './audit.ts';
import { type AuthorityPorts, type IssuedPair, join as joinAuthority, renew } from './authority.ts';
import { type CaConfig, readCaConfig } from './config.ts';
import { checkServerName } from './constraint-check.ts';
import { makeCaFolder, readCaKeys } from './folder.ts';
import { joinCa } from './join.ts';
import { keepFleet, makeToken, revokeMember, toRevocations } from './manage.ts';
import { type CaServer, startCa } from './server.ts';
import { CaStore } from './store.ts';

const bindingsText =
  'bindings_version: csc.bindings.v0.2\nbindings: [{identity: spiffe://fleet.example/client/a, policies: [sample]}]\n';
const root = mkdtempSync(join(tmpdir(), 'csc-ca-'));
const dir = join(root, 'ca');
let now = new Date();
const clock = { now: () => now };
let config: CaConfig;
let server: CaServer;
let address = '';
let ports: AuthorityPorts;
let names = 0;

beforeAll(async () => {
  const plan = { trustDomain: 'fleet.example', hosts: ['localhost'], permit: [], lifeSec: 3600 };
  await makeCaFolder(dir, { ...plan, listen: '127.0.0.1:0' }, new Date());
  config = readCaConfig(join(dir, 'ca.yaml'));
  // All of these call from one address, which has rested before each call.
  let restedMs = 0;
  const monotonicMs = () => (restedMs += 1000);
  server = await startCa(config, silentLog, { clock, monotonicMs });
  address = `localhost:${server.port}`;
  const store = new CaStore(config.stateDir);
  const audit = openAuditLog(config.stateDir, () => now);
  const { trustDomain, lifeMs } = config;
  ports = { keys: readCaKeys(config), trustDomain, lifeMs, store, audit, clock };
});

afterAll(async () => {
  await server.close();
  ports.store.close();
  ports.audit.close();
  rmSync(root, { recursive: true });
});

const ed25519 = (): KeyObject => generateKeyPairSync('ed25519').privateKey;
const asHost = () => ({ role: 'executor', identity: '', at: now }) as const;
const keyPair = () => ({ tls: generateTlsKey(), receipts: ed25519() });
const fresh = (): string => `host-${names++}`;

async function tokenFor(name: string, wish: Partial<Parameters<typeof makeToken>[1]> = {}): Promise<string> {
  const all = {
    role: 'executor',
    name,
    labels: { os: 'linux' },
    hosts: [],
    ttlMs: 600_000,
    again: false,
  } as const;
  return makeToken(config, { ...all, ...wish }, now);
}

async function codeOf(run: () => unknown): Promise<string> {
  try {
    await run();
    return 'none';
  } catch (error) {
    return error instanceof CscError ? error.code : String(error);
  }
}

const pairs: IssuedPair[] = [];
const encode = (issued: IssuedPair): Uint8Array => Buffer.from(String(pairs.push(issued) - 1));

/** What the CA decides, without the wire. */
async function ask(
  token: string,
  keys: { tls: KeyObject; receipts?: KeyObject },
  purpose = joinPurpose(token),
) {
  const tlsRequest = await createRequest(keys.tls, purpose);
  const receiptRequest =
    keys.receipts === undefined ? Buffer.alloc(0) : await createRequest(keys.receipts, purpose);
  const answer = await joinAuthority(ports, { token, tlsRequest, receiptRequest }, 'test', encode);
  return pairs[Number(Buffer.from(answer).toString())] as IssuedPair;
}

async function askRenewal(certificate: string, keys: { tls: KeyObject; receipts?: KeyObject }) {
  const { raw } = new X509Certificate(certificate);
  const purpose = renewPurpose(fingerprintOf(raw));
  const tlsRequest = await createRequest(keys.tls, purpose);
  const receiptRequest =
    keys.receipts === undefined ? Buffer.alloc(0) : await createRequest(keys.receipts, purpose);
  return renew(ports, { tlsRequest, receiptRequest }, raw, 'test');
}

describe('joining', () => {
  it('gives what the token says: name, labels, purposes and a life', async () => {
    const name = fresh();
    const keys = keyPair();
    const answer = await joinFleet(address, parseJoinToken(await tokenFor(name)), keys, asHost());
    const tls = new X509Certificate(answer.certificates?.tls ?? '');
    expect(tls.subjectAltName).toBe(`URI:spiffe://fleet.example/executor/${name}`);
    expect(labelsInUnits(tls.toLegacyObject().subject.OU)).toEqual({ os: 'linux' });
    expect(tls.keyUsage).toEqual(['1.3.6.1.5.5.7.3.2']);
    expect(tls.ca).toBe(false);
    const lifeMs = tls.validToDate.getTime() - now.getTime();
    expect(lifeMs).toBeGreaterThan(3590_000);
    expect(lifeMs).toBeLessThanOrEqual(3600_000);
    expect(tls.validFromDate.getTime()).toBeLessThan(now.getTime() - 200_000);
    const chain = parseCertificates(answer.certificates?.receipt ?? '', 'receipt');
    const ca = parseCertificates(answer.certificates?.ca ?? '', 'ca');
    expect(verifyCertificates(chain, ca, now).owner).toBe(`spiffe://fleet.example/executor/${name}`);
  });

  it('takes a token once, of many that come at once, and again with the same keys alone', async () => {
    const token = await tokenFor(fresh());
    const many = Array.from({ length: 8 }, keyPair);
    const outcomes = await Promise.all(many.map((keys) => codeOf(() => ask(token, keys))));
    expect(outcomes.filter((it) => it === 'none')).toHaveLength(1);
    expect(outcomes.filter((it) => it === 'JOIN_REFUSED')).toHaveLength(7);
    const winner = many[outcomes.indexOf('none')] as ReturnType<typeof keyPair>;
    const [one, other] = [await ask(token, winner), await ask(token, winner)];
    expect(one.tls.pem).toBe(other.tls.pem);
    expect(await codeOf(() => ask(token, { ...winner, tls: generateTlsKey() }))).toBe('JOIN_REFUSED');
  });

  it('keeps a token used up over the death of the CA, and the answer with it', async () => {
    const token = await tokenFor(fresh());
    const keys = keyPair();
    const issued = await ask(token, keys);
    // What another process reads of the same file: nothing of it was in this one's memory alone.
    const store = new CaStore(config.stateDir);
    const found = store.findToken(hashJoinToken(token));
    store.close();
    expect(found?.usedAt).toBeDefined();
    expect(found?.answer).toBeDefined();
    expect((await ask(token, keys)).tls.pem).toBe(issued.tls.pem);
    expect(await codeOf(() => ask(token, keyPair()))).toBe('JOIN_REFUSED');
  });

  it('says that its disk is full, does nothing then, and leaves an audit that can be read', async () => {
    const disk = new SmallDisk(join(root, 'small'), 1024 * 1024);
    const store = new CaStore(disk.path);
    const audit = openAuditLog(disk.path, () => now);
    const lines = () => readFileSync(join(disk.path, 'audit.jsonl'), 'utf8').trimEnd().split('\n');
    try {
      const expiresAt = new Date(now.getTime() + 60_000);
      const token = { role: 'client', name: 'x', labels: {}, hosts: [], expiresAt, again: false } as const;
      const add = (hash: string) =>
        store.atomically(() => {
          for (let n = 0; n < 500; n += 1) store.addToken({ ...token, hash: `${hash}${n}` });
        });
      const say = (why: string) => audit.write({ event: 'refused', why });
      say('one');
      disk.fill();
      expect(await codeOf(() => add('a'))).toBe('STORE_UNAVAILABLE');
      // What is left of its page is taken, and no more.
      expect(await codeOf(() => say('two'.repeat(3000)))).toBe('FILE_UNWRITABLE');
      disk.makeRoom();
      say('three');
      expect(lines()).toHaveLength(3);
      expect([lines()[0], lines()[2]].map((it) => JSON.parse(it ?? '').why)).toEqual(['one', 'three']);
      expect(await codeOf(() => add('a'))).toBe('none');
    } finally {
      audit.close();
      store.close();
      disk.unmount();
    }
  });

  it('has nothing on disk or in its errors that a token could be made of', async () => {
    const token = await tokenFor(fresh());
    await ask(token, keyPair());
    const secret = JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString())
      .secret as string;
    for (const file of ['audit.jsonl', 'ca.sqlite', 'ca.sqlite-wal']) {
      const path = join(config.stateDir, file);
      if (existsSync(path)) expect(readFileSync(path, 'latin1')).not.toContain(secret);
    }
    expect(withoutSecrets(`--token ${token} x`)).toBe('--token (a join token, not shown) x');
  });

  it('refuses a token that has ended, and one that is none', async () => {
    const token = await tokenFor(fresh());
    const before = now;
    now = new Date(now.getTime() + 600_000);
    expect(await codeOf(() => ask(token, keyPair()))).toBe('JOIN_REFUSED');
    now = before;
    expect(await codeOf(() => ask(`${token}x`, keyPair()))).toBe('JOIN_REFUSED');
    expect(await codeOf(() => parseJoinToken('csc-join-1.e30'))).toBe('CONFIG_INVALID');
  });

  it('refuses a receipt key for a client, and an executor without one', async () => {
    const client = await tokenFor(fresh(), { role: 'client', labels: {} });
    expect(await codeOf(() => ask(client, keyPair()))).toBe('REQUEST_INVALID');
    expect(await codeOf(() => ask(client, { tls: generateTlsKey() }))).toBe('none');
    expect(await codeOf(async () => ask(await tokenFor(fresh()), { tls: generateTlsKey() }))).toBe(
      'REQUEST_INVALID',
    );
    const name = fresh();
    const join = ask(await tokenFor(name), { tls: generateTlsKey() });
    await expect(join).rejects.toThrow(
      `for the executor ${name}, which has a receipt key, too: csc executor join`,
    );
  });

  it('refuses the receipt key of another host, and a name that is taken', async () => {
    const [name, keys] = [fresh(), keyPair()];
    await ask(await tokenFor(name), keys);
    const other = await tokenFor(fresh());
    expect(await codeOf(() => ask(other, { ...keyPair(), receipts: keys.receipts }))).toBe('REQUEST_INVALID');
    expect(await codeOf(() => tokenFor(name))).toBe('CONFIG_INVALID');
  });

  it('leaves a token of another name unused, where somebody has joined already, and lets none join twice at once', async () => {
    const place = join(root, 'named');
    const name = fresh();
    writeFileSync(join(root, 'own-keys.json'), '{"keys":[]}');
    const rest = { gate: 'localhost:1', gateKeys: join(root, 'own-keys.json'), policies: root } as const;
    const options = { ...rest, role: 'executor', ca: address, dir: place, mode: 'local' } as const;
    await joinCa({ ...options, token: await tokenFor(name), again: false });
    const cert = readFileSync(join(place, 'pki/executor.pem'), 'utf8');
    const other = await tokenFor(fresh());
    expect(await codeOf(() => joinCa({ ...options, token: other, again: true }))).toBe('JOIN_REFUSED');
    expect(readFileSync(join(place, 'pki/executor.pem'), 'utf8')).toBe(cert);
    expect(ports.store.findToken(hashJoinToken(other))?.usedAt).toBeUndefined();
    const again = { ...options, token: await tokenFor(name, { again: true }), again: true };
    writeFileSync(join(place, 'pki/joining'), String(process.pid));
    expect(await codeOf(() => joinCa(again))).toBe('CONFIG_INVALID');
    // Of a process that was killed meanwhile.
    writeFileSync(join(place, 'pki/joining'), '4194305');
    expect((await joinCa(again)).identity).toContain(name);
    expect(existsSync(join(place, 'pki/joining'))).toBe(false);
  });

  it('leaves a token unused where what it gives would be of no use', async () => {
    const place = join(root, 'unused');
    const gate = await tokenFor(fresh(), { role: 'gate', labels: {}, hosts: ['localhost'] });
    const client = await tokenFor(fresh(), { role: 'client', labels: {} });
    const host = await tokenFor(fresh());
    const isUnused = (token: string) => ports.store.findToken(hashJoinToken(token))?.usedAt === undefined;
    const joining = async (role: Role, token: string, over: object = {}): Promise<string> => {
      try {
        await joinCa({ role, ca: address, token, dir: place, again: false, ...over });
        return 'joined';
      } catch (error) {
        return error instanceof CscError ? error.message : String(error);
      }
    };
    // Of another kind.
    expect(await joining('gate', client)).toMatch(/csc ca join takes it, and it is not used up/);
    expect(await joining('client', gate)).toMatch(/csc gate join takes it, and it is not used up/);
    expect(await joining('executor', gate)).toMatch(/csc gate join takes it/);
    // What stands where its files are to be.
    for (const path of ['pki/gate.pem', 'gate-keys.json']) {
      mkdirSync(join(place, path), { recursive: true });
      expect(await joining('gate', gate)).toContain(`${join(place, path)} is no file`);
      rmSync(join(place, path), { recursive: true });
    }
    writeFileSync(join(root, 'a-file'), '');
    expect(await joining('gate', gate, { dir: join(root, 'a-file') })).toMatch(/is no directory/);
    // What the command line names beside it.
    for (const [flag, file, why] of [
      ['gateKeys', join(root, 'a-file'), /is no gate-keys.json/],
      ['policyRoot', join(root, 'a-file'), /a-file/],
    ] as const)
      expect(await joining('executor', host, { [flag]: file })).toMatch(why);
    // By a clock by which the certificate would not be good.
    const keys = keyPair();
    for (const [offMs, why] of [
      [-10 * 60_000, /600 s behind the CA/],
      [2 * 3600_000, /7200 s ahead of the CA/],
    ] as const) {
      const at = new Date(now.getTime() + offMs);
      await expect(joinFleet(address, parseJoinToken(host), keys, { ...asHost(), at })).rejects.toThrow(why);
    }
    expect([gate, client, host].map(isUnused)).toEqual([true, true, true]);
    expect(await joining('gate', gate)).toBe('joined');
    expect([gate, client, host].map(isUnused)).toEqual([false, true, true]);
  });

  it('leaves no key of a client but its own: neither where it is refused nor where it has joined', async () => {
    const place = join(root, 'a-client');
    const keysIn = (): string[] =>
      readdirSync(place, { recursive: true, encoding: 'utf8' }).filter((it) => it.endsWith('.key'));
    const joining = (token: string, ca = address) =>
      codeOf(() => joinCa({ role: 'client', ca, token, dir: place, again: false }));
    const used = await tokenFor(fresh(), { role: 'client', labels: {} });
    expect(await joining(used)).toBe('none');
    const [own = '', ...others] = keysIn();
    expect([own, others]).toEqual([expect.stringMatching(/^client-/), []]);
    expect(await joining(used)).toBe('JOIN_REFUSED');
    expect(await joining(await tokenFor(fresh()))).toBe('REQUEST_INVALID');
    expect(keysIn()).toEqual([own]);
    // Nobody knows what became of it: the same command goes on with the same key.
    const [name, key] = [fresh(), readFileSync(join(place, own), 'utf8')];
    const token = await tokenFor(name, { role: 'client', labels: {} });
    expect(await joining(token, 'localhost:1')).toBe('CA_UNREACHABLE');
    const [pending = ''] = keysIn().filter((it) => it !== own);
    const made = readFileSync(join(place, pending), 'utf8');
    expect(await joining(token)).toBe('none');
    expect(keysIn().sort()).toEqual([own, `client-${name}.key`].sort());
    expect(readFileSync(join(place, `client-${name}.key`), 'utf8')).toBe(made);
    expect(made).not.toBe(key);
  });

  it('makes a config of a gate that keeps its policies fresh, with the key that csc policy init makes', async () => {
    const place = join(root, 'a-gate');
    const token = await tokenFor(fresh(), { role: 'gate', labels: {}, hosts: ['localhost'] });
    const port = await freePort();
    const args = ['--ca', address, '--token', token, '--dir', place, '--listen', `127.0.0.1:${port}`];
    const { stdout } = await csc(['gate', 'join', ...args]);
    expect(stdout).toContain(`made ${join(place, 'pki/gate.key')}   (a private key`);
    expect(stdout).toContain(`--gate HOST:${port}`);
    const check = () => csc(['gate', '--config', join(place, 'gate.yaml'), '--check-config']);
    const [policy, bindings] = [join(place, 'sample.yaml'), join(place, 'bindings.yaml')];
    writeFileSync(policy, JSON.stringify({ ...samplePolicy(), name: 'sample' }));
    writeFileSync(bindings, bindingsText);
    await csc(['policy', 'init', '--dir', join(place, 'policy-repository'), '--local', policy, bindings]);
    expect(await check()).toMatchObject({ code: 0, stderr: expect.not.stringContaining('online_key') });
    const text = readFileSync(join(place, 'gate.yaml'), 'utf8');
    writeFileSync(join(place, 'gate.yaml'), text.replace(/^ *online_key:.*$/m, ''));
    expect((await check()).stderr).toContain('policy_repository has no online_key');
    writeFileSync(join(place, 'gate.yaml'), text);
    rmSync(join(place, 'policy-repository/keys/online.key'));
    expect((await check()).code).toBe(78);
  });

  it('goes on with the same command once the CA has what hosts pin', async () => {
    const place = join(root, 'later');
    const token = await tokenFor(fresh());
    const options = { role: 'executor', ca: address, dir: place, token, again: false } as const;
    expect(await codeOf(() => joinCa(options))).toBe('CONFIG_INVALID');
    const owners = join(root, 'owners');
    const publicKey = randomBytes(32);
    const roles = { publicKeys: [publicKey], threshold: 1 };
    initRepository(owners, { root: roles, targets: roles, online: randomBytes(32) }, new Date());
    const gateKeys = join(root, 'gate-keys.json');
    writeFileSync(
      gateKeys,
      toKeyRingJson([{ keyId: 'g', publicKey, owner: 'spiffe://fleet.example/gate/g' }]),
    );
    const policyRoot = join(owners, 'staged/root.json');
    expect(await codeOf(() => keepFleet(config, { gate: 'g:1', gateKeys: policyRoot, policyRoot }))).toBe(
      'CONFIG_INVALID',
    );
    const before = readFileSync(config.file, 'utf8');
    const sha256 = keepFleet(config, { gate: 'gate.fleet.example:7443', gateKeys, policyRoot });
    expect((await joinCa(options)).policyRootSha256).toBe(sha256);
    expect(readFileSync(join(place, 'executor.yaml'), 'utf8')).toContain('"gate.fleet.example:7443"');
    keepFleet(config, { gate: 'other.example:7443', gateKeys, policyRoot });
    expect(readFileSync(config.file, 'utf8').match(/^fleet:/gm)).toHaveLength(1);
    writeFileSync(config.file, before);
  });

  it('sends the token to no CA but the one that the token names', async () => {
    const elsewhere = join(root, 'other');
    await makeCaFolder(
      elsewhere,
      {
        trustDomain: 'fleet.example',
        hosts: ['localhost'],
        permit: [],
        lifeSec: 3600,
        listen: '127.0.0.1:0',
      },
      new Date(),
    );
    const said: string[] = [];
    const log = { ...silentLog, warn: (_: object, message: string) => said.push(message) };
    const middle = await startCa(readCaConfig(join(elsewhere, 'ca.yaml')), log);
    const token = parseJoinToken(await tokenFor(fresh()));
    expect(await codeOf(() => joinFleet(`localhost:${middle.port}`, token, keyPair(), asHost()))).toBe(
      'CREDENTIALS_INVALID',
    );
    expect(said).toEqual([]);
    await middle.close();
  });
});

describe('certificate requests', () => {
  it('are taken for the key alone: what else they ask for is not read', async () => {
    const token = await tokenFor(fresh());
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
    const answer = await joinAuthority(ports, { token, tlsRequest, receiptRequest }, 'test', encode);
    const pem = (pairs[Number(Buffer.from(answer).toString())] as IssuedPair).tls.pem;
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

describe('renewal', () => {
  it('gives the same name and labels again, over mutual TLS, and puts them in their files', async () => {
    const place = join(root, 'renewed');
    const name = fresh();
    const options = {
      role: 'executor',
      ca: address,
      token: await tokenFor(name),
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
    const next = await renewOnce({ address, tls, files, receipts });
    expect(next.subject).toBe(new X509Certificate(before).subject);
    expect(readFileSync(files.cert, 'utf8')).not.toBe(before);
    tls.prepare()?.();
    expect(tls.material.own.certificate.serialNumber).toBe(next.serialNumber);
    // Whoever has taken the TLS key alone.
    const own = createPrivateKey(readFileSync(files.key));
    const stolen = renewCertificate(address, tls, { tls: own, receipts: ed25519() });
    expect(await codeOf(() => stolen)).toBe('REQUEST_INVALID');
    revokeMember(config, 'executor', name, 'test', now);
    expect(await codeOf(() => renewOnce({ address, tls, files, receipts }))).toBe('NOT_PERMITTED');
  });

  it('is done by csc itself for a client that has joined, past two thirds of its life, and asked for once in a while', async () => {
    const place = join(root, 'client');
    const token = await tokenFor(fresh(), { role: 'client', labels: {} });
    const { made } = await joinCa({ role: 'client', ca: address, token, dir: place, again: false });
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
      const options = { ca: address, again: false, mode: 'local', ...rest } as const;
      for (const role of ['gate', 'executor'] as const) {
        const hosts = role === 'gate' ? ['localhost'] : [];
        const token = await tokenFor(fresh(), { role, hosts, labels: {} });
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
      const audit = () => readFileSync(join(config.stateDir, 'audit.jsonl'), 'utf8');
      const before = audit();
      const tls = new TlsSource(files);
      expect(await codeOf(() => renewOnce({ address, tls, files }))).toBe('FILE_UNWRITABLE');
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
    const [name, keys] = [fresh(), keyPair()];
    const { tls } = await ask(await tokenFor(name), keys);
    expect(await codeOf(() => askRenewal(tls.pem, keys))).toBe('none');
    const member = revokeMember(config, 'executor', name, 'lost', now);
    expect(await codeOf(() => askRenewal(tls.pem, keys))).toBe('NOT_PERMITTED');
    expect(await codeOf(() => tokenFor(name, { again: true }))).toBe('CONFIG_INVALID');
    const revoked = parseRevoked(Buffer.from(toRevocations(member, 'lost', now)));
    expect(revoked.ok && revoked.value.revoked).toMatchObject([{ kind: 'host', id: name }, { kind: 'key' }]);
  });

  it('is written there by the lines that csc ca revoke prints, as they stand', async () => {
    const [name, reason, owners] = [fresh(), "it's lost; $(false)", join(root, 'revoking')];
    await ask(await tokenFor(name), keyPair());
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
    const [name, old, young] = [fresh(), keyPair(), keyPair()];
    const first = await ask(await tokenFor(name), old);
    const second = await ask(await tokenFor(name, { again: true, labels: { os: 'other' } }), young);
    expect(await codeOf(() => askRenewal(first.tls.pem, old))).toBe('JOIN_REFUSED');
    const renewed = await askRenewal(second.tls.pem, young);
    expect(labelsInUnits(new X509Certificate(renewed.tls.pem).toLegacyObject().subject.OU)).toEqual({
      os: 'other',
    });
  });

  it('is refused with a certificate that this CA has not issued to a party, though its key has signed it', async () => {
    const keys = keyPair();
    const name = fresh();
    await ask(await tokenFor(name), keys);
    const subject = {
      trustDomain: 'fleet.example',
      role: 'executor',
      name,
      labels: { os: 'x' },
      hosts: [],
    } as const;
    const life = { now, lifeMs: 60_000 };
    const forged = await certify(subject, 'tls', keys.tls, ports.keys, life);
    expect(await codeOf(() => askRenewal(forged.pem, keys))).toBe('JOIN_REFUSED');
  });

  it('needs requests that were made for this certificate', async () => {
    const keys = keyPair();
    const { tls } = await ask(await tokenFor(fresh()), keys);
    const { raw } = new X509Certificate(tls.pem);
    const tlsRequest = await createRequest(keys.tls, renewPurpose('0'.repeat(64)));
    const receiptRequest = await createRequest(keys.receipts, renewPurpose('0'.repeat(64)));
    expect(await codeOf(() => renew(ports, { tlsRequest, receiptRequest }, raw, 'test'))).toBe(
      'REQUEST_INVALID',
    );
  });

  it('is due at two thirds of a life, sooner by up to a tenth, and is tried again more and more seldom', async () => {
    const { tls } = await ask(await tokenFor(fresh()), keyPair());
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

describe('name constraints', () => {
  it('keep a server of another name out of every handshake, as a mis-issued one shows', async () => {
    const key = generateTlsKey();
    const { keys, trustDomain } = ports;
    const certified = async (hosts: string[], domain = trustDomain): Promise<string> => {
      const subject = { trustDomain: domain, role: 'gate', name: 'g', labels: {}, hosts } as const;
      const { pem } = await certify(subject, 'tls', key, keys, { now, lifeMs: 60_000 });
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
    const root = await makeRoot({ trustDomain: 'fleet.example', hosts: [] }, now);
    const issuing = await makeIssuing(root, { trustDomain: 'fleet.example', hosts: [] }, now);
    const issuer = { certificate: toCertificate(issuing.pem), key: issuing.key };
    const verified = async (trustDomain: string): Promise<string> => {
      const subject = { trustDomain, role: 'executor', name: 'h', labels: {}, hosts: [] } as const;
      const { pem } = await certify(subject, 'receipts', ed25519(), issuer, { now, lifeMs: 60_000 });
      const chain = parseCertificates(`${pem}${issuing.pem}`, 'chain');
      const ca = parseCertificates(root.pem, 'ca');
      // The page of an audit bundle has a verifier of its own.
      const receiptJson = Buffer.from(
        JSON.stringify({
          receipt_certificates: chain.map((it) => it.raw.toString('base64')),
          signature: { key_id: 'k', signed_at: now.toISOString() },
        }),
      );
      const paged = await codeOf(() => certifiedRing({ receiptJson }, parsePem(root.pem)));
      expect(paged).toBe(await codeOf(() => certifiedKey({ receiptJson }, ca)));
      return codeOf(() => verifyCertificates(chain, ca, now));
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
        notBefore: new Date(now.getTime() - 60_000),
        notAfter: new Date(now.getTime() + 3_600_000),
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
        { now, lifeMs: 60_000 },
      );
      const [one] = parseCertificates(pem, 'chain');
      const receiptJson = Buffer.from(
        JSON.stringify({
          receipt_certificates: [one?.raw.toString('base64')],
          signature: { key_id: 'k', signed_at: now.toISOString() },
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
    const guarded = await startCa(config, log, { clock, bounds });
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
    const token = parseJoinToken(await tokenFor(fresh()));
    const crowd = [plain(), half(), half(), half(), plain(), half()];
    const beyond = plain();
    const gone = [...crowd, beyond].map(ended);
    expect((await joinFleet(`localhost:${port}`, token, keyPair(), asHost())).labels).toEqual({
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
    const still = await startCa(config, silentLog, { clock, monotonicMs: () => 0 });
    const { text } = createJoinToken(ports.keys.rootSha256, 'fleet.example');
    const guess = () =>
      codeOf(() => joinFleet(`localhost:${still.port}`, parseJoinToken(text), keyPair(), asHost()));
    const codes: string[] = [];
    for (let index = 0; index < 21; index++) codes.push(await guess());
    expect(codes).toEqual([...Array<string>(20).fill('JOIN_REFUSED'), 'RATE_LIMITED']);
    await still.close();
  });
});
