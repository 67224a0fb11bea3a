import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { parsePrivateKey, parsePublicKey } from '@csc-fleet/common/crypto';
import { orThrow } from '@csc-fleet/common/errors';
import { parseBindings } from '@csc-fleet/common/policy';
import { standingFiles } from '@csc-fleet/common/policy-repository';
import { formatVkey } from '@csc-fleet/common/tlog';
import { sampleContract, samplePolicy } from '@csc-fleet/test-kit/cli/artifacts';
import { csc } from '@csc-fleet/test-kit/process';
import { createScratch } from '@csc-fleet/test-kit/scratch';
import { describe, expect, it } from 'vitest';

describe('csc validate', () => {
  it('says of each file whether it is valid, with every fault', async () => {
    const scratch = createScratch();
    const good = scratch.write('good.json', sampleContract());
    const bad = scratch.write('bad.json', { ...sampleContract({ cwd: 'here' }), extra: true });
    const { code, stdout, stderr } = await csc(['validate', 'contract', good, bad, '/nonexistent.json']);
    expect({ code, stderr }).toEqual({ code: 1, stderr: '' });
    expect(stdout).toContain(`VALID — ${good}`);
    expect(stdout).toContain(`INVALID — ${bad}: 2 faults`);
    expect(stdout).toContain('commands[0].cwd');
    expect(stdout).toContain('extra');
    expect(stdout).toContain('INVALID — /nonexistent.json: 1 fault');
  });

  it('--json prints one document a file', async () => {
    const scratch = createScratch();
    const policy = scratch.write('policy.yaml', samplePolicy());
    const bad = scratch.write('bad.yaml', samplePolicy('/w', { max_timeout_sec: 'long' }));
    const { code, stdout } = await csc(['validate', 'policy', policy, bad, '--json']);
    expect(code).toBe(1);
    const answers = stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(answers[0]).toEqual({ file: policy, kind: 'policy', valid: true, faults: [] });
    expect(answers[1]).toMatchObject({ file: bad, valid: false, faults: [{ path: 'max_timeout_sec' }] });
  });

  it.each(['contract', 'policy', 'approval', 'receipt', 'ticket'])('refuses an empty %s', async (kind) => {
    const { code, stdout } = await csc(['validate', kind, createScratch().write('empty.json', '{}')]);
    expect(code).toBe(1);
    expect(stdout).toMatch(/^INVALID — /);
  });

  it('knows no other kinds', async () => {
    expect((await csc(['validate', 'letter', '-'])).code).toBe(64);
  });
});

describe('csc schema', () => {
  it('prints each schema that it names', async () => {
    const names: string[] = JSON.parse((await csc(['schema', '--json'])).stdout);
    expect(names).toEqual(
      expect.arrayContaining(['contract', 'policy', 'receipt', 'receipt-v0.1', 'ticket']),
    );
    for (const name of names) {
      const { code, stdout } = await csc(['schema', name]);
      expect(code).toBe(0);
      expect(JSON.parse(stdout)).toHaveProperty('$schema', 'https://json-schema.org/draft/2020-12/schema');
    }
  });

  it('has no schema of the prototype', async () => {
    expect((await csc(['schema', 'toString'])).code).toBe(64);
  });
});

describe('csc keygen', () => {
  it.each(['pem', 'raw'])('makes a %s pair that belongs together and never overwrites it', async (format) => {
    const { directory } = createScratch();
    const args = ['keygen', 'build-1', '--dir', directory, '--format', format, '--json'];
    const { code, stdout } = await csc(args);
    expect(code).toBe(0);
    const made = JSON.parse(stdout);
    const seed = parsePrivateKey(readFileSync(made.private_key_file));
    const open = parsePublicKey(readFileSync(made.public_key_file));
    expect(seed.ok).toBe(true);
    expect(open.ok && Buffer.from(open.value).toString('base64')).toBe(made.public_key);
    expect(made.key_id).toMatch(/^build-1-[0-9a-f]{16}$/);
    expect(statSync(made.private_key_file).mode & 0o777).toBe(0o600);
    const before = readFileSync(made.private_key_file);
    const again = await csc(args);
    expect(again.code).toBe(1);
    expect(readFileSync(made.private_key_file).equals(before)).toBe(true);
  });

  it('refuses a name that would leave the folder, or that is a key', async () => {
    const { directory } = createScratch();
    expect((await csc(['keygen', '../evil', '--dir', directory])).code).toBe(78);
    // The line of a PEM file, where neither + nor / happens to be in it.
    const key = 'MC4CAQAwBQYDK2VwBCIEIBUHJ7fXPY1jfDuUvBzEkdZIIHNwuuOgk6Tm6b60lR4Z';
    for (const args of [
      ['keygen', key, '--dir', directory],
      ['pki', 'init', join(directory, 'pki'), '--client', key],
    ]) {
      const { code, stdout, stderr } = await csc(args);
      expect(code).toBe(78);
      expect(stdout + stderr).not.toContain(key.slice(0, 16));
    }
    expect(readdirSync(directory)).toEqual([]);
  });
});

describe('csc pki', () => {
  it('makes a PKI, adds to it, and overwrites nothing', async () => {
    const { directory } = createScratch();
    const dir = join(directory, 'pki');
    const args = ['pki', 'init', dir, '--client', 'alice', '--executor', 'build-1', '--host', 'gate.example'];
    const { code, stdout } = await csc([...args, '--json']);
    expect(code).toBe(0);
    expect(JSON.parse(stdout).created).toHaveLength(8);
    const ca = readFileSync(join(dir, 'ca.pem'), 'utf8');
    expect(JSON.parse((await csc([...args, '--json'])).stdout).created).toEqual([]);
    const issued = await csc(['pki', 'issue', 'client', 'bob', '--dir', dir, '--json']);
    expect(JSON.parse(issued.stdout).created).toEqual([
      join(dir, 'client-bob.key'),
      join(dir, 'client-bob.pem'),
    ]);
    expect(readFileSync(join(dir, 'ca.pem'), 'utf8')).toBe(ca);
  });

  it('issues nothing where there is no CA', async () => {
    const { directory } = createScratch();
    const { code, stderr } = await csc(['pki', 'issue', 'client', 'bob', '--dir', directory]);
    expect(code).toBe(78);
    expect(stderr).toContain('csc pki init');
    expect(readdirSync(directory)).toEqual([]);
  });
});

const bindings = `bindings_version: csc.bindings.v0.1
bindings:
  - identity: spiffe://csc.local/client/*
    policies: [sample]
`;

describe('csc policy', () => {
  it('makes, signs and publishes a repository in one command where all keys are in one place', async () => {
    const scratch = createScratch();
    const files = [
      scratch.write('sample.yaml', { ...samplePolicy(), name: 'sample' }),
      scratch.write('bindings.yaml', bindings),
    ];
    const dir = join(scratch.directory, 'repository');
    const made = await csc(['policy', 'init', '--local', '--dir', dir, ...files]);
    expect(made).toMatchObject({ code: 0, stdout: '' });
    expect(statSync(join(dir, 'keys', 'owner.key')).mode & 0o777).toBe(0o600);
    const status = JSON.parse((await csc(['policy', 'status', '--dir', dir, '--json'])).stdout);
    expect(status).toMatchObject({
      targets: { version: 1 },
      files: ['bindings.yaml', 'policies/sample.yaml'],
    });
    expect(readFileSync(join(dir, 'root.json'))).toEqual(
      readFileSync(join(dir, 'published/metadata/1.root.json')),
    );
  });

  it('makes the key of who asks, too, names it in bindings.yaml, and done again changes nothing', async () => {
    const scratch = createScratch();
    const dir = join(scratch.directory, 'repository');
    const env = { XDG_CONFIG_HOME: join(scratch.directory, 'config') };
    const policy = scratch.write('sample.yaml', { ...samplePolicy(), name: 'sample' });
    const mine = scratch.write('bindings.yaml', `# ours\n${bindings.replace('v0.1', 'v0.2')}`);
    const init = (file: string, name: string, ...more: string[]) =>
      csc(
        [
          'policy',
          'init',
          '--local',
          '--dir',
          dir,
          '--principal',
          `spiffe://csc.local/client/${name}`,
        ].concat([policy, file, ...more]),
        { env },
      );
    expect(await init(mine, 'alice')).toMatchObject({ code: 0, stdout: '' });
    const first = readFileSync(mine, 'utf8');
    expect(first).toContain('# ours\n');
    expect(first).toContain('submitters:\n  - principal: spiffe://csc.local/client/alice\n');
    expect(await init(mine, 'alice')).toMatchObject({ code: 0 });
    expect(readFileSync(mine, 'utf8')).toBe(first);
    expect(await init(mine, 'bob')).toMatchObject({ code: 0 });
    const read = () =>
      orThrow(parseBindings(readFileSync(join(dir, 'targets/bindings.yaml'))), 'INTERNAL', '');
    expect(read().submitters?.map(({ principal }) => principal.split('/').at(-1))).toEqual(['bob', 'alice']);
    const logins = JSON.parse(readFileSync(join(scratch.directory, 'config/csc/submitters.json'), 'utf8'));
    expect(Object.keys(logins)).toHaveLength(2);
    const status = JSON.parse((await csc(['policy', 'status', '--dir', dir, '--json'])).stdout);
    expect(status.targets.version).toBe(2);
    // Who has lost the key is told how to make one: the owners may know the old one only.
    rmSync(join(scratch.directory, 'config'), { recursive: true });
    expect((await init(mine, 'alice')).stderr).toMatch(
      /other keys of .*: csc login makes yours and prints what to put beside them/,
    );
    // Who has made one sees it whole, to put it there: a message is shown without what may be a key.
    const login = await csc(['login', '--principal', 'spiffe://csc.local/client/alice'], { env });
    const other = await init(mine, 'alice');
    expect(other.stderr).toMatch(/other keys of .*: what is printed here is what to put beside them/);
    expect(other.stdout).toMatch(/public_key: [A-Za-z0-9+/]{43}=\n/);
    expect(other.stdout).toBe(login.stdout);
    // The same where the file is laid out in a way that is not known here.
    const flow = bindings.replace('v0.1', 'v0.2').replace(/\n*$/, '\nsubmitters: &none []\n');
    const unknown = await init(createScratch().write('bindings.yaml', flow), 'alice');
    expect(unknown.stderr).toMatch(/another way .*: what is printed here is what to add below submitters/);
    expect(unknown.stdout).toBe(login.stdout);
    // What cannot be done is said before anything is.
    rmSync(dir, { recursive: true });
    const old = await init(createScratch().write('bindings.yaml', bindings), 'alice');
    expect(old).toMatchObject({ code: 78, stderr: expect.stringContaining('make it csc.bindings.v0.2') });
    expect(existsSync(dir)).toBe(false);
  });

  it('makes no key and changes no file where it is refused', async () => {
    const scratch = createScratch();
    const env = { XDG_CONFIG_HOME: join(scratch.directory, 'config') };
    const good = scratch.write('sample.yaml', { ...samplePolicy(), name: 'sample' });
    const mine = scratch.write('bindings.yaml', bindings.replace('v0.1', 'v0.2'));
    const before = readFileSync(mine, 'utf8');
    const init = (dir: string, ...args: string[]) =>
      csc(['policy', 'init', '--local', '--dir', join(scratch.directory, dir), ...args], { env });
    const asAlice = ['--principal', 'spiffe://csc.local/client/alice'];
    const bad = scratch.write('bad.yaml', { ...samplePolicy(), name: 'bad', max_timeout_sec: 0 });
    const foreign = scratch.write('foreign.yaml', { ...samplePolicy(), name: 'foreign' });
    mkdirSync(join(scratch.directory, 'taken', 'published'), { recursive: true });
    for (const [args, said] of [
      [['a', ...asAlice, good, bad, mine], 'max_timeout_sec'],
      [['b', ...asAlice, foreign, mine], 'sample'],
      [['c', good], 'there is no bindings.yaml'],
      [['taken', ...asAlice, good, mine], 'holds a policy repository already'],
    ] as const) {
      const [dir, ...rest] = args;
      const refused = await init(dir, ...rest);
      expect(refused).toMatchObject({ stderr: expect.stringContaining(said) });
      expect(refused.code).not.toBe(0);
    }
    expect(readFileSync(mine, 'utf8')).toBe(before);
    expect(
      ['a', 'b', 'c', 'config', 'taken/keys'].filter((it) => existsSync(join(scratch.directory, it))),
    ).toEqual([]);
  });

  it('lets who asks use the profiles where there are no bindings, and says where nobody signs', async () => {
    const scratch = createScratch();
    const env = { XDG_CONFIG_HOME: join(scratch.directory, 'config') };
    const policy = scratch.write('sample.yaml', { ...samplePolicy(), name: 'sample' });
    const init = (dir: string, ...args: string[]) =>
      csc(['policy', 'init', '--local', '--dir', join(scratch.directory, dir), ...args], { env });
    const made = await init('a', '--principal', 'spiffe://csc.local/client/alice', policy);
    expect(made.stderr).toContain(
      'lets spiffe://csc.local/client/alice use sample, and nobody else anything',
    );
    const nobody = scratch.write('bindings.yaml', bindings.replace('v0.1', 'v0.2'));
    expect((await init('b', policy, nobody)).stderr).toContain('names no key that signs submissions');
    // As the bindings beside the samples are of another trust domain than the fleet's: what is printed is what helps.
    const asAlice = ['--principal', 'spiffe://example.org/client/alice', policy, nobody];
    const { stderr } = await init('c', ...asAlice);
    expect(stderr).toMatch(/no binding in .* means spiffe:.*example.org.* they mean spiffe:.*csc.local/);
    const [added = ''] = /^ {2}- identity: .*\n.*\]$/m.exec(stderr) ?? [];
    writeFileSync(nobody, readFileSync(nobody, 'utf8').replace('bindings:\n', `$&${added}\n`));
    expect((await init('c', ...asAlice)).stderr).not.toContain('WARNING');
  });

  it('publishes nothing before enough owners have signed it', async () => {
    const scratch = createScratch();
    const [a, b, online] = ['a', 'b', 'online'].map((name) => join(scratch.directory, name));
    const dir = join(scratch.directory, 'repository');
    const at = ['--dir', dir];
    for (const name of ['a', 'b', 'online']) await csc(['keygen', name, '--dir', scratch.directory]);
    const owners = ['--root-key', `${a}.pub`, '--root-key', `${b}.pub`, '--root-threshold', '2'];
    await csc(['policy', 'init', ...at, ...owners, '--online-key', `${online}.pub`]);
    const policy = scratch.write('sample.yaml', { ...samplePolicy(), name: 'sample' });
    await csc(['policy', 'add', ...at, policy, scratch.write('bindings.yaml', bindings)]);
    await csc(['policy', 'sign', ...at, '--key', `${a}.key`]);
    const early = await csc(['policy', 'publish', ...at, '--online-key', `${online}.key`]);
    expect(early.code).toBe(1);
    expect(early.stderr).toContain('1 of the 2 signatures');
    await csc(['policy', 'sign', ...at, '--key', `${b}.key`]);
    expect((await csc(['policy', 'publish', ...at, '--online-key', `${online}.key`])).code).toBe(0);
  });

  it('takes each owners’ file by its name, that of the approvers too', async () => {
    const scratch = createScratch();
    const dir = join(scratch.directory, 'repository');
    const policy = scratch.write('sample.yaml', { ...samplePolicy(), name: 'sample' });
    await csc(['policy', 'init', '--local', '--dir', dir, policy, scratch.write('bindings.yaml', bindings)]);
    expect(await csc(['policy', 'add', '--dir', dir, 'examples/approvals/approvers.yaml'])).toMatchObject({
      code: 0,
    });
    expect(existsSync(join(dir, 'targets/approvers.yaml'))).toBe(true);
    const claims = { repository: 'acme/app', environemnt: 'prod' };
    const issuer = 'https://token.actions.githubusercontent.com';
    const principals = [{ principal: 'ci.{repositroy}', claims }];
    const issuers = scratch.write('issuers.yaml', {
      issuers_version: 'csc.issuers.v0.1',
      issuers: [{ issuer, kind: 'github', fetch: {}, principals }],
    });
    expect((await csc(['policy', 'add', '--dir', dir, issuers])).stderr).toMatch(
      /WARNING: issuers.yaml: .* not known to have environemnt, repositroy/,
    );
    for (const what of ['targets/policies', 'targets/issuers.yaml'])
      expect(await csc(['policy', 'lint', join(dir, what)])).toMatchObject({
        code: 1,
        stdout: expect.stringMatching(/targets\/issuers.yaml: .* not known to have environemnt, repositroy/),
      });
    const beside = join(dir, 'targets/policies/approvers.yaml');
    copyFileSync(join(dir, 'targets/approvers.yaml'), beside);
    expect((await csc(['policy', 'lint', join(dir, 'targets/policies')])).stderr).not.toMatch(/approvers/);
    expect((await csc(['policy', 'test', join(dir, 'targets/policies')])).stdout).not.toMatch(/approvers/);
    rmSync(beside);
    const key = (type: 'ed25519' | 'cosignature') =>
      formatVkey({ name: type, type, publicKey: Buffer.alloc(32, type.length) });
    const named = { log_version: 'csc.log.v0.1', vkey: key('ed25519'), witnesses: [key('cosignature')] };
    const lintLog = async (log: object) => {
      const file = join(dir, 'targets/log.yaml');
      writeFileSync(file, JSON.stringify(log));
      const linted = await csc(['policy', 'lint', join(dir, 'targets/policies')]);
      rmSync(file);
      return linted;
    };
    expect((await lintLog({ ...named, quorum: 0 })).stdout).toMatch(
      /targets\/log.yaml: quorum: 0 demands no witness/,
    );
    expect((await lintLog({ ...named, vkey: key('cosignature') })).stderr).toMatch(
      /log.yaml.*is that of a witness/s,
    );
    expect((await lintLog(named)).stdout).not.toContain('log.yaml');
    const revoke = (...what: string[]) => csc(['admin', 'revoke', ...what, '--reason', 'lost', '--dir', dir]);
    await csc(['policy', 'sign', '--dir', dir]);
    await csc(['policy', 'publish', '--dir', dir]);
    for (const what of [
      ['issuer', issuer],
      ['key', 'bob-1'],
      ['principal', 'spiffe://csc.local/client/alice-laptop'],
    ])
      expect(await revoke(...what)).toMatchObject({
        code: 0,
        stderr: expect.not.stringContaining('WARNING'),
      });
    expect((await revoke('issuer', 'https://token.example')).stderr).toContain('WARNING');
    expect((await revoke('key', 'nobody-1')).stderr).toContain('WARNING');
    const ofHost = (await revoke('key', Buffer.alloc(32, 7).toString('base64'))).stderr;
    expect(ofHost).toContain('it stops an executor that signs receipts with it, and nobody else');
    expect(ofHost).not.toContain('WARNING');
  });
});

it('says how old what is signed is, and signs anew what is to be good for less', async () => {
  const scratch = createScratch();
  const dir = join(scratch.directory, 'repository');
  const policy = scratch.write('sample.yaml', { ...samplePolicy(), name: 'sample' });
  await csc(['policy', 'init', '--local', '--dir', dir, policy, scratch.write('bindings.yaml', bindings)]);
  const status = (await csc(['policy', 'status', '--dir', dir])).stdout;
  expect(status).toMatch(/files +version 1, expires \S+, signed \S+ \(\d minutes ago\)/);
  expect(status).toMatch(/fresh +until \S+, signed \S+ \(\d minutes ago\)/);
  const sign = (days: string) => csc(['policy', 'sign', '--dir', dir, '--days', days]);
  expect((await sign('90')).stderr).toContain('there is nothing new to sign');
  expect((await sign('14')).stderr).toContain('signed: targets');
  expect((await sign('soon')).code).toBe(78);
});

describe('csc admin', () => {
  it('warns where it revokes what nobody has ever seen, and does it', async () => {
    const scratch = createScratch();
    const dir = join(scratch.directory, 'repository');
    const policy = scratch.write('sample.yaml', { ...samplePolicy(), name: 'sample' });
    await csc(['policy', 'init', '--local', '--dir', dir, policy, scratch.write('bindings.yaml', bindings)]);
    const revoke = (...what: string[]) => csc(['admin', 'revoke', ...what, '--reason', 'lost', '--dir', dir]);
    for (const what of [
      ['key', 'alcie-1'],
      ['principal', 'alice'],
      ['profile', 'smaple'],
      ['submission', 'exec_1'],
    ])
      expect(await revoke(...what)).toMatchObject({ code: 0, stderr: expect.stringContaining('WARNING') });
    for (const what of [
      ['principal', 'spiffe://csc.local/client/ci-7'],
      ['profile', 'sample'],
      ['host', 'build-1'],
    ])
      expect((await revoke(...what)).stderr).not.toContain('WARNING');
    expect(readFileSync(join(dir, 'targets/revoked.yaml'), 'utf8')).toContain('"alcie-1"');
  });

  it('stops a fleet on top of what is published, whatever else was begun in the folder', async () => {
    const scratch = createScratch();
    const dir = join(scratch.directory, 'repository');
    const policy = scratch.write('sample.yaml', { ...samplePolicy(), name: 'sample' });
    const at = ['--dir', dir];
    await csc(['policy', 'init', '--local', ...at, policy, scratch.write('bindings.yaml', bindings)]);
    const edited = bindings.replace('client/*', 'client/eve');
    const begun = ['policy', 'add', ...at, scratch.write('bindings.yaml', edited)];
    expect(await csc(begun)).toMatchObject({ code: 0 });
    expect(await csc(['policy', 'sign', ...at])).toMatchObject({ code: 0 });
    writeFileSync(join(dir, 'targets/policies/junk.yaml'), 'half: [writ');
    writeFileSync(join(dir, 'targets/revoked.yaml'), 'revoked: [');
    const published = () => [...standingFiles(dir)].map(([name, bytes]) => `${name}\n${bytes}`).join('\n');
    const frozen = await csc(['admin', 'freeze', '--reason', 'lost', ...at]);
    expect(frozen).toMatchObject({ code: 0, stderr: expect.stringContaining('stays unpublished') });
    const revoke = ['admin', 'revoke', 'host', 'build-1', '--reason', 'copied', ...at];
    expect(await csc(revoke)).toMatchObject({ code: 0 });
    expect(published()).toMatch(
      /bindings[\s\S]*freeze.yaml\n[\s\S]*"lost"[\s\S]*revoked.yaml\n[\s\S]*"build-1"/,
    );
    expect(published()).not.toMatch(/eve|junk/);
    expect(await csc(['policy', 'publish', ...at])).toMatchObject({ code: 0 });
    expect(published()).not.toMatch(/eve|junk/);
    expect(await csc(['admin', 'thaw', ...at])).toMatchObject({ code: 0 });
    // The edit is still there, and goes out when its owner says so, with what was revoked meanwhile.
    rmSync(join(dir, 'targets/policies/junk.yaml'));
    expect(await csc(['policy', 'sign', ...at])).toMatchObject({ code: 0 });
    expect(published()).not.toContain('eve');
    await csc(['policy', 'publish', ...at]);
    expect(published()).toMatch(/client\/eve[\s\S]*build-1/);
    expect(published()).not.toContain('"lost"');
  });

  it('stops a fleet by as many owners as it takes, past a rotation that waits for signatures', async () => {
    const scratch = createScratch();
    const [a, b, online] = ['a', 'b', 'online'].map((name) => join(scratch.directory, name));
    const dir = join(scratch.directory, 'repository');
    const at = ['--dir', dir];
    for (const name of ['a', 'b', 'online']) await csc(['keygen', name, '--dir', scratch.directory]);
    const owners = ['--root-key', `${a}.pub`, '--root-key', `${b}.pub`, '--root-threshold', '2'];
    const keys = [...at, ...owners, '--online-key', `${online}.pub`];
    const sign = (key: string | undefined) => csc(['policy', 'sign', ...at, '--key', `${key}.key`]);
    const publish = () => csc(['policy', 'publish', ...at, '--online-key', `${online}.key`]);
    await csc(['policy', 'init', ...keys]);
    const policy = scratch.write('sample.yaml', { ...samplePolicy(), name: 'sample' });
    await csc(['policy', 'add', ...at, policy, scratch.write('bindings.yaml', bindings)]);
    await sign(a);
    await sign(b);
    await publish();
    await csc(['policy', 'rotate', ...keys]);
    writeFileSync(join(dir, 'targets/policies/junk.yaml'), 'half: [writ');
    const freeze = ['admin', 'freeze', '--reason', 'lost', ...at, '--key', `${a}.key`];
    const early = await csc([...freeze, '--online-key', `${online}.key`]);
    expect(early).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('targets version 2 has 1 of the 2'),
    });
    expect(await sign(b)).toMatchObject({ code: 0 });
    expect(await publish()).toMatchObject({ code: 0 });
    const status = JSON.parse((await csc(['policy', 'status', ...at, '--json'])).stdout);
    expect(status).toMatchObject({
      root: { version: 1 },
      targets: { version: 2 },
      stagedRoot: { version: 2 },
    });
    expect([...standingFiles(dir).keys()].sort()).toEqual([
      'bindings.yaml',
      'freeze.yaml',
      'policies/sample.yaml',
    ]);
  });

  it('says loudly that a freeze is not in effect where the online key is away', async () => {
    const scratch = createScratch();
    const dir = join(scratch.directory, 'repository');
    const policy = scratch.write('sample.yaml', { ...samplePolicy(), name: 'sample' });
    await csc(['policy', 'init', '--local', '--dir', dir, policy, scratch.write('bindings.yaml', bindings)]);
    rmSync(join(dir, 'keys', 'online.key'));
    const { code, stderr } = await csc(['admin', 'freeze', '--reason', 'lost', '--dir', dir]);
    expect(code).toBe(1);
    expect(stderr).toContain('NOT IN EFFECT');
  });

  it('freezes, thaws, revokes and restores, each a version of its own that the owners have signed', async () => {
    const scratch = createScratch();
    const dir = join(scratch.directory, 'repository');
    const policy = scratch.write('sample.yaml', { ...samplePolicy(), name: 'sample' });
    await csc(['policy', 'init', '--local', '--dir', dir, policy, scratch.write('bindings.yaml', bindings)]);
    const read = (name: string) => readFileSync(join(dir, 'targets', name), 'utf8');
    const admin = (...args: string[]) => csc(['admin', ...args, '--dir', dir]);
    await admin('freeze', '--reason', 'a key is lost', '--end');
    expect(read('freeze.yaml')).toContain('running: "end"');
    await admin('thaw');
    expect(read('freeze.yaml')).not.toContain('frozen');
    await admin('revoke', 'key', 'alice-1', '--reason', 'stolen');
    expect(read('revoked.yaml')).toContain('"alice-1"');
    expect((await admin('restore', 'key', 'bob-1')).code).toBe(78);
    await admin('restore', 'key', 'alice-1');
    expect(read('revoked.yaml')).toContain('revoked: []');
    const status = JSON.parse((await csc(['policy', 'status', '--dir', dir, '--json'])).stdout);
    expect(status.targets.version).toBe(5);
  });
});
