import { randomBytes, X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { hashJoinToken, joinFleet, parseJoinToken } from '@csc-fleet/common/ca';
import { toKeyRingJson } from '@csc-fleet/common/crypto';
import { CscError, withoutSecrets } from '@csc-fleet/common/errors';
import { parseCertificates, verifyCertificates } from '@csc-fleet/common/evidence';
import { labelsInUnits } from '@csc-fleet/common/identity';
import { generateTlsKey } from '@csc-fleet/common/pki';
import { initRepository } from '@csc-fleet/common/policy-repository';
import type { Role } from '@csc-fleet/common/rpc';
import { silentLog } from '@csc-fleet/common/service';
import { samplePolicy } from '@csc-fleet/test-kit/cli/artifacts';
import { codeOf, keyPair, TestCa } from '@csc-fleet/test-kit/cli/test-ca';
import { freePort } from '@csc-fleet/test-kit/free-port';
import { csc } from '@csc-fleet/test-kit/process';
import { SmallDisk } from '@csc-fleet/test-kit/small-disk';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { openAuditLog } from './audit.ts';
import { readCaConfig } from './config.ts';
import { makeCaFolder } from './folder.ts';
import { joinCa } from './join.ts';
import { keepFleet } from './manage.ts';
import { startCa } from './server.ts';
import { CaStore } from './store.ts';

const bindingsText =
  'bindings_version: csc.bindings.v0.2\nbindings: [{identity: spiffe://fleet.example/client/a, policies: [sample]}]\n';
const testCa = new TestCa();
const { root } = testCa;

beforeAll(() => testCa.open());

afterAll(() => testCa.close());

describe('joining', () => {
  it('gives what the token says: name, labels, purposes and a life', async () => {
    const name = testCa.fresh();
    const keys = keyPair();
    const answer = await joinFleet(
      testCa.address,
      parseJoinToken(await testCa.tokenFor(name)),
      keys,
      testCa.asHost,
    );
    const tls = new X509Certificate(answer.certificates?.tls ?? '');
    expect(tls.subjectAltName).toBe(`URI:spiffe://fleet.example/executor/${name}`);
    expect(labelsInUnits(tls.toLegacyObject().subject.OU)).toEqual({ os: 'linux' });
    expect(tls.keyUsage).toEqual(['1.3.6.1.5.5.7.3.2']);
    expect(tls.ca).toBe(false);
    const lifeMs = tls.validToDate.getTime() - testCa.now.getTime();
    expect(lifeMs).toBeGreaterThan(3590_000);
    expect(lifeMs).toBeLessThanOrEqual(3600_000);
    expect(tls.validFromDate.getTime()).toBeLessThan(testCa.now.getTime() - 200_000);
    const chain = parseCertificates(answer.certificates?.receipt ?? '', 'receipt');
    const ca = parseCertificates(answer.certificates?.ca ?? '', 'ca');
    expect(verifyCertificates(chain, ca, testCa.now).owner).toBe(`spiffe://fleet.example/executor/${name}`);
  });

  it('takes a token once, of many that come at once, and again with the same keys alone', async () => {
    const token = await testCa.tokenFor(testCa.fresh());
    const many = Array.from({ length: 8 }, keyPair);
    const outcomes = await Promise.all(many.map((keys) => codeOf(() => testCa.ask(token, keys))));
    expect(outcomes.filter((it) => it === 'none')).toHaveLength(1);
    expect(outcomes.filter((it) => it === 'JOIN_REFUSED')).toHaveLength(7);
    const winner = many[outcomes.indexOf('none')] as ReturnType<typeof keyPair>;
    const [one, other] = [await testCa.ask(token, winner), await testCa.ask(token, winner)];
    expect(one.tls.pem).toBe(other.tls.pem);
    expect(await codeOf(() => testCa.ask(token, { ...winner, tls: generateTlsKey() }))).toBe('JOIN_REFUSED');
  });

  it('keeps a token used up over the death of the CA, and the answer with it', async () => {
    const token = await testCa.tokenFor(testCa.fresh());
    const keys = keyPair();
    const issued = await testCa.ask(token, keys);
    // What another process reads of the same file: nothing of it was in this one's memory alone.
    const store = new CaStore(testCa.config.stateDir);
    const found = store.findToken(hashJoinToken(token));
    store.close();
    expect(found?.usedAt).toBeDefined();
    expect(found?.answer).toBeDefined();
    expect((await testCa.ask(token, keys)).tls.pem).toBe(issued.tls.pem);
    expect(await codeOf(() => testCa.ask(token, keyPair()))).toBe('JOIN_REFUSED');
  });

  it('says that its state_dir cannot be written before it runs, and where somebody tries all the same', async () => {
    const disk = new SmallDisk(join(root, 'read-only'), 1024 * 1024);
    onTestFinished(() => disk.unmount());
    disk.turn('ro');
    expect(() => new CaStore(disk.path)).toThrow(expect.objectContaining({ code: 'FILE_UNWRITABLE' }));
    const dir = join(root, 'another-ca');
    await csc(['ca', 'init', dir, '--trust-domain', 'fleet.example', '--host', 'localhost']);
    const check = () => csc(['ca', 'serve', '--dir', dir, '--check-config']);
    expect((await check()).code).toBe(0);
    const config = join(dir, 'ca.yaml');
    writeFileSync(
      config,
      readFileSync(config, 'utf8').replace('state_dir: state', `state_dir: ${disk.path}`),
    );
    const refused = await check();
    expect(refused.code).not.toBe(0);
    expect(refused.stderr).toContain(`state_dir ${disk.path} cannot be written`);
  });

  it('says that its disk is full, does nothing then, and leaves an audit that can be read', async () => {
    const disk = new SmallDisk(join(root, 'small'), 1024 * 1024);
    const store = new CaStore(disk.path);
    const audit = openAuditLog(disk.path, () => testCa.now);
    const lines = () => readFileSync(join(disk.path, 'audit.jsonl'), 'utf8').trimEnd().split('\n');
    try {
      const expiresAt = new Date(testCa.now.getTime() + 60_000);
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
    const token = await testCa.tokenFor(testCa.fresh());
    await testCa.ask(token, keyPair());
    const secret = JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString())
      .secret as string;
    for (const file of ['audit.jsonl', 'ca.sqlite', 'ca.sqlite-wal']) {
      const path = join(testCa.config.stateDir, file);
      if (existsSync(path)) expect(readFileSync(path, 'latin1')).not.toContain(secret);
    }
    expect(withoutSecrets(`--token ${token} x`)).toBe('--token (a join token, not shown) x');
  });

  it('refuses a token that has ended, and one that is none', async () => {
    const token = await testCa.tokenFor(testCa.fresh());
    const before = testCa.now;
    testCa.now = new Date(testCa.now.getTime() + 600_000);
    expect(await codeOf(() => testCa.ask(token, keyPair()))).toBe('JOIN_REFUSED');
    testCa.now = before;
    expect(await codeOf(() => testCa.ask(`${token}x`, keyPair()))).toBe('JOIN_REFUSED');
    expect(await codeOf(() => parseJoinToken('csc-join-1.e30'))).toBe('CONFIG_INVALID');
  });

  it('refuses a receipt key for a client, and an executor without one', async () => {
    const client = await testCa.tokenFor(testCa.fresh(), { role: 'client', labels: {} });
    expect(await codeOf(() => testCa.ask(client, keyPair()))).toBe('REQUEST_INVALID');
    expect(await codeOf(() => testCa.ask(client, { tls: generateTlsKey() }))).toBe('none');
    expect(
      await codeOf(async () => testCa.ask(await testCa.tokenFor(testCa.fresh()), { tls: generateTlsKey() })),
    ).toBe('REQUEST_INVALID');
    const name = testCa.fresh();
    const join = testCa.ask(await testCa.tokenFor(name), { tls: generateTlsKey() });
    await expect(join).rejects.toThrow(
      `for the executor ${name}, which has a receipt key, too: csc executor join`,
    );
  });

  it('refuses the receipt key of another host, and a name that is taken', async () => {
    const [name, keys] = [testCa.fresh(), keyPair()];
    await testCa.ask(await testCa.tokenFor(name), keys);
    const other = await testCa.tokenFor(testCa.fresh());
    expect(await codeOf(() => testCa.ask(other, { ...keyPair(), receipts: keys.receipts }))).toBe(
      'REQUEST_INVALID',
    );
    expect(await codeOf(() => testCa.tokenFor(name))).toBe('CONFIG_INVALID');
  });

  it('leaves a token of another name unused, where somebody has joined already, and lets none join twice at once', async () => {
    const place = join(root, 'named');
    const name = testCa.fresh();
    writeFileSync(join(root, 'own-keys.json'), '{"keys":[]}');
    const rest = { gate: 'localhost:1', gateKeys: join(root, 'own-keys.json'), policies: root } as const;
    const options = { ...rest, role: 'executor', ca: testCa.address, dir: place, mode: 'local' } as const;
    await joinCa({ ...options, token: await testCa.tokenFor(name), again: false });
    const cert = readFileSync(join(place, 'pki/executor.pem'), 'utf8');
    const other = await testCa.tokenFor(testCa.fresh());
    expect(await codeOf(() => joinCa({ ...options, token: other, again: true }))).toBe('JOIN_REFUSED');
    expect(readFileSync(join(place, 'pki/executor.pem'), 'utf8')).toBe(cert);
    expect(testCa.ports.store.findToken(hashJoinToken(other))?.usedAt).toBeUndefined();
    const again = { ...options, token: await testCa.tokenFor(name, { again: true }), again: true };
    writeFileSync(join(place, 'pki/joining'), String(process.pid));
    expect(await codeOf(() => joinCa(again))).toBe('CONFIG_INVALID');
    // Of a process that was killed meanwhile.
    writeFileSync(join(place, 'pki/joining'), '4194305');
    expect((await joinCa(again)).identity).toContain(name);
    expect(existsSync(join(place, 'pki/joining'))).toBe(false);
  });

  it('leaves a token unused where what it gives would be of no use', async () => {
    const place = join(root, 'unused');
    const gate = await testCa.tokenFor(testCa.fresh(), { role: 'gate', labels: {}, hosts: ['localhost'] });
    const client = await testCa.tokenFor(testCa.fresh(), { role: 'client', labels: {} });
    const host = await testCa.tokenFor(testCa.fresh());
    const isUnused = (token: string) =>
      testCa.ports.store.findToken(hashJoinToken(token))?.usedAt === undefined;
    const joining = async (role: Role, token: string, over: object = {}): Promise<string> => {
      try {
        await joinCa({ role, ca: testCa.address, token, dir: place, again: false, ...over });
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
      const at = new Date(testCa.now.getTime() + offMs);
      await expect(
        joinFleet(testCa.address, parseJoinToken(host), keys, { ...testCa.asHost, at }),
      ).rejects.toThrow(why);
    }
    expect([gate, client, host].map(isUnused)).toEqual([true, true, true]);
    expect(await joining('gate', gate)).toBe('joined');
    expect([gate, client, host].map(isUnused)).toEqual([false, true, true]);
  });

  it('leaves no key of a client but its own: neither where it is refused nor where it has joined', async () => {
    const place = join(root, 'a-client');
    const keysIn = (): string[] =>
      readdirSync(place, { recursive: true, encoding: 'utf8' }).filter((it) => it.endsWith('.key'));
    const joining = (token: string, ca = testCa.address) =>
      codeOf(() => joinCa({ role: 'client', ca, token, dir: place, again: false }));
    const used = await testCa.tokenFor(testCa.fresh(), { role: 'client', labels: {} });
    expect(await joining(used)).toBe('none');
    const [own = '', ...others] = keysIn();
    expect([own, others]).toEqual([expect.stringMatching(/^client-/), []]);
    expect(await joining(used)).toBe('JOIN_REFUSED');
    expect(await joining(await testCa.tokenFor(testCa.fresh()))).toBe('REQUEST_INVALID');
    expect(keysIn()).toEqual([own]);
    // Nobody knows what became of it: the same command goes on with the same key.
    const [name, key] = [testCa.fresh(), readFileSync(join(place, own), 'utf8')];
    const token = await testCa.tokenFor(name, { role: 'client', labels: {} });
    expect(await joining(token, 'localhost:1')).toBe('CA_UNREACHABLE');
    const [pending = ''] = keysIn().filter((it) => it !== own);
    const made = readFileSync(join(place, pending), 'utf8');
    expect(await joining(token)).toBe('none');
    expect(keysIn().sort()).toEqual([own, `client-${name}.key`].sort());
    expect(readFileSync(join(place, `client-${name}.key`), 'utf8')).toBe(made);
    expect(made).not.toBe(key);
  });

  it('says what it waits for, and gives up a CA that says nothing, before its handshake or after', async () => {
    const place = join(root, 'waiting');
    const token = await testCa.tokenFor(testCa.fresh(), { role: 'client', labels: {} });
    const { stderr } = await csc(['ca', 'join', '--ca', testCa.address, '--token', token, '--dir', place]);
    expect(stderr).toContain(`waiting for the CA at ${testCa.address}, 10 s at most`);
    const sockets: Socket[] = [];
    const caPort = Number(testCa.address.split(':').at(-1));
    for (const answered of [0, 1]) {
      let count = 0;
      const server = createServer((socket) => {
        sockets.push(socket);
        if (count++ < answered) socket.pipe(connect(caPort, 'localhost')).pipe(socket);
      }).listen(0, '127.0.0.1');
      await once(server, 'listening');
      const { port } = server.address() as AddressInfo;
      const another = parseJoinToken(await testCa.tokenFor(testCa.fresh()));
      const joining = joinFleet(`localhost:${port}`, another, keyPair(), testCa.asHost, 1000);
      await expect(joining).rejects.toMatchObject({
        code: 'CA_UNREACHABLE',
        message: expect.stringContaining(
          `the CA at localhost:${port} does not answer; it was waited for 1 s. See that csc ca serve runs there`,
        ),
      });
      expect(count).toBeGreaterThan(answered);
      server.close();
    }
    for (const socket of sockets) socket.destroy();
  }, 15_000);

  it('makes a config of a gate that keeps its policies fresh, with the key that csc policy init makes', async () => {
    const place = join(root, 'a-gate');
    const token = await testCa.tokenFor(testCa.fresh(), { role: 'gate', labels: {}, hosts: ['localhost'] });
    const port = await freePort();
    const args = ['--ca', testCa.address, '--token', token, '--dir', place, '--listen', `127.0.0.1:${port}`];
    const { stdout } = await csc(['gate', 'join', ...args]);
    expect(stdout).toContain(`made ${join(place, 'pki/gate.key')}   (a private key`);
    expect(stdout).toContain(`--gate HOST:${port}`);
    // Its service is another user than who joins.
    expect(statSync(place).mode & 0o777).toBe(0o755);
    expect(statSync(join(place, 'pki')).mode & 0o777).toBe(0o700);
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
    const token = await testCa.tokenFor(testCa.fresh());
    const options = { role: 'executor', ca: testCa.address, dir: place, token, again: false } as const;
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
    expect(
      await codeOf(() => keepFleet(testCa.config, { gate: 'g:1', gateKeys: policyRoot, policyRoot })),
    ).toBe('CONFIG_INVALID');
    const before = readFileSync(testCa.config.file, 'utf8');
    const sha256 = keepFleet(testCa.config, { gate: 'gate.fleet.example:7443', gateKeys, policyRoot });
    expect((await joinCa(options)).policyRootSha256).toBe(sha256);
    expect(readFileSync(join(place, 'executor.yaml'), 'utf8')).toContain('"gate.fleet.example:7443"');
    keepFleet(testCa.config, { gate: 'other.example:7443', gateKeys, policyRoot });
    expect(readFileSync(testCa.config.file, 'utf8').match(/^fleet:/gm)).toHaveLength(1);
    writeFileSync(testCa.config.file, before);
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
    const token = parseJoinToken(await testCa.tokenFor(testCa.fresh()));
    expect(await codeOf(() => joinFleet(`localhost:${middle.port}`, token, keyPair(), testCa.asHost))).toBe(
      'CREDENTIALS_INVALID',
    );
    expect(said).toEqual([]);
    await middle.close();
  });
});
