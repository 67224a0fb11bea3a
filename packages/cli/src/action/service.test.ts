import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { createDevelopmentPki } from '@csc-fleet/common/pki';
import { csc, freshCsc } from '@csc-fleet/test-kit/process';
import { createScratch } from '@csc-fleet/test-kit/scratch';
import { describe, expect, it } from 'vitest';
import { setStage } from '../demo/stage.ts';

describe('csc gate and csc executor', () => {
  it('--check-config says whether a config is good', async () => {
    using stage = await setStage();
    expect(await freshCsc(['gate', '--config', stage.gateConfig, '--check-config'])).toMatchObject({
      code: 0,
      stdout: '',
    });
    const config = stage.writeExecutorConfig('127.0.0.1:1', 'local');
    // The key ring that it is to pin is made by the gate's first start.
    const early = await csc(['executor', '--config', config, '--check-config']);
    expect(early.code).toBe(78);
    expect(early.stderr).toContain('gate-keys.json');
  });

  it('--check-config tries what the config names', async () => {
    using stage = await setStage();
    const good = JSON.parse(readFileSync(stage.gateConfig, 'utf8'));
    const busy = createServer();
    await new Promise<void>((resolve) => busy.listen(0, '127.0.0.1', resolve));
    const at = busy.address();
    const taken = `127.0.0.1:${typeof at === 'object' ? at?.port : 0}`;
    const pki = (name: string) => ({ ca: 'pki/ca.pem', cert: `pki/${name}.pem`, key: `pki/${name}.key` });
    const tries: [object, string][] = [
      [{ listen: taken }, `listen: cannot listen on ${taken}: something else listens there`],
      [{ listen: '203.0.113.9:1' }, 'this host has no such address'],
      [{ listen: '127.0.0.1:99999' }, 'listen: has a port above 65535'],
      [
        { policy_repository: { ...good.policy_repository, online_key: good.signing_key } },
        'policy_repository.online_key: it is not the online key of the repository in',
      ],
      [
        { data_dir: '/proc/nowhere/x' },
        'data_dir /proc/nowhere/x: it is to be made in /proc, which cannot be written',
      ],
      [{ tls: pki('client-alice') }, 'is the certificate of the role client; one of the role gate is due'],
      [{ tls: { ...pki('gate'), key: 'pki/client-alice.key' } }, 'is not the private key of'],
    ];
    for (const [members, words] of tries) {
      const config = stage.write('tried.yaml', JSON.stringify({ ...good, ...members }));
      const { code, stderr } = await csc(['gate', '--config', config, '--check-config']);
      expect({ code, stderr }).toEqual({ code: 78, stderr: expect.stringContaining(words) });
    }
    const nowhere = await csc(['gate', '--config', stage.gateConfig, '--check-config'], {
      env: { TMPDIR: '/proc/nowhere' },
    });
    expect(nowhere).toMatchObject({
      code: 78,
      stderr: expect.stringContaining('into /proc/nowhere for a moment: there is no such directory; TMPDIR'),
    });
    busy.close();
    const ends = { now: () => new Date(Date.now() - 810 * 24 * 3600 * 1000) };
    await createDevelopmentPki(join(stage.directory, 'ending'), { clock: ends });
    const ending = stage.write(
      'ending.yaml',
      JSON.stringify({ ...good, tls: pki('gate') }).replaceAll('pki/', 'ending/'),
    );
    const warned = await csc(['gate', '--config', ending, '--check-config']);
    expect(warned.stderr).toMatch(
      /WARNING the certificate .*ending\/gate\.pem ends in 1[45] days .*\ncsc: WARNING nobody may be keeping the policies fresh.*\n.*is good/,
    );
  });

  it('--check-config tries what the config of an executor names', async () => {
    using stage = await setStage();
    stage.write('keys.json', '{"keys":[]}');
    const config = stage.writeExecutorConfig('127.0.0.1:1', 'local');
    const good = { ...JSON.parse(readFileSync(config, 'utf8')), trusted_gate_keys: 'keys.json' };
    const check = (members: object) => {
      writeFileSync(config, JSON.stringify({ ...good, ...members }));
      return csc(['executor', '--config', config, '--check-config']);
    };
    const root = stage.write('no-root.json', '{}');
    expect(await check({ policy_repository: { root, from: 'gate' } })).toMatchObject({
      code: 78,
      stderr: expect.stringMatching(/no-root.json is no root of a policy repository: pin the root.json/),
    });
    const secrets = join(stage.directory, 'secrets');
    mkdirSync(secrets, { mode: 0o700 });
    writeFileSync(join(secrets, 'token'), 'kept', { mode: 0o644 });
    const { code, stderr } = await check({
      secrets: { directory: secrets },
      ceiling: { path_roots: [stage.directory, '/nowhere/at/all'] },
    });
    expect(code).toBe(0);
    expect(stderr).toMatch(
      /WARNING secrets: .*secrets\/token has mode 0644, not 0400 or 0600: run chmod 400/,
    );
    expect(stderr).toMatch(/WARNING ceiling.path_roots: \/nowhere\/at\/all is not there.* mkdir \/nowhere/);
    expect(await check({ ceiling: { path_roots: ['/nowhere/at/all'] } })).toMatchObject({
      code: 78,
      stderr: expect.stringContaining('ceiling.path_roots: /nowhere/at/all is not there'),
    });
  });

  it.each(['gate', 'executor'])(
    '%s names every fault of a config at once, and ends with 78',
    async (service) => {
      const scratch = createScratch();
      const config = scratch.write('config.yaml', { state_dir: 1, data_dir: 2, surprise: true });
      const { code, stdout, stderr } = await csc([service, '--config', config, '--check-config']);
      expect({ code, stdout }).toEqual({ code: 78, stdout: '' });
      for (const path of ['surprise', 'policies', service === 'gate' ? 'data_dir' : 'state_dir']) {
        expect(stderr).toContain(`  ${path}: `);
      }
      expect(stderr).not.toMatch(/\n\s+at /);
    },
  );

  it.each([
    ['gate', { state_dir: 's', gate: { address: 'g:1' } }, 'an executor’s config (it has state_dir)'],
    ['executor', { data_dir: 'd', listen: 'h:1' }, 'a gate’s config (it has data_dir)'],
    ['doctor', { data_dir: 'd', listen: 'h:1' }, 'a gate’s config (it has data_dir)'],
  ])(
    '%s says that the other service’s config is that, and nothing of its members',
    async (command, members, what) => {
      const config = createScratch().write('config.yaml', members);
      const check = command === 'doctor' ? [] : ['--check-config'];
      const { code, stderr } = await csc([command, '--config', config, ...check]);
      expect(code).toBe(78);
      expect(stderr).toContain(`${config} looks like ${what}: name that of the`);
      expect(stderr).not.toContain('listen');
    },
  );

  it.each(['gate', 'executor'])('%s needs a config', async (service) => {
    expect((await csc([service])).code).toBe(64);
    expect((await csc([service, '--config', '/nonexistent.yaml'])).code).toBe(78);
  });
});

describe('runService', () => {
  it('ends with 70 and a word where the service waits for what can never come', () => {
    const module = JSON.stringify(new URL('service.ts', import.meta.url).href);
    const program = `const { runService } = await import(${module});
      void runService('a.yaml', false, () => new Promise(() => {})).then((code) => { process.exitCode = code; });`;
    const { status, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', program], {
      encoding: 'utf8',
    });
    expect({ status, stderr }).toEqual({
      status: 70,
      stderr: expect.stringContaining('the service ended before it was told to'),
    });
  });
});

// Node's own recursive mkdir never ends there, at full speed.
describe('a directory where none can be made', () => {
  const nowhere = '/proc/nowhere/x';

  it('ends csc gate', async () => {
    const policies = `${import.meta.dirname}/../../../../policies`;
    const config = {
      data_dir: nowhere,
      policies,
      bindings: `${policies}/bindings.yaml`,
      listen: '127.0.0.1:0',
    };
    const { code, stderr } = await freshCsc(['gate', '--config', createScratch().write('gate.yaml', config)]);
    expect(code).not.toBe(0);
    expect(stderr).toContain(`failed to make data_dir ${nowhere}: no directory can be made there`);
  });

  it('ends csc executor', async () => {
    using stage = await setStage();
    const keys = createScratch().write('keys.json', { keys: [] });
    const config = stage.writeExecutorConfig('127.0.0.1:1', 'local');
    const members = JSON.parse(readFileSync(config, 'utf8'));
    writeFileSync(config, JSON.stringify({ ...members, state_dir: nowhere, trusted_gate_keys: keys }));
    const { code, stderr } = await freshCsc(['executor', '--config', config]);
    expect(code).not.toBe(0);
    expect(stderr).toContain(`failed to make state_dir ${nowhere}: no directory can be made there`);
  });

  it('ends csc pki', async () => {
    const { code, stderr } = await csc(['pki', 'init', nowhere]);
    expect(code).not.toBe(0);
    expect(stderr).toContain(`failed to make ${nowhere}: no directory can be made there`);
  });
});

describe('csc doctor', () => {
  it('tries each thing and says what it found', async () => {
    const { code, stdout } = await csc(['doctor', '--json']);
    const { able, checks } = JSON.parse(stdout);
    expect(code).toBe(able ? 0 : 1);
    expect(checks.map(({ name }: { name: string }) => name)).toContain('bwrap');
    const human = await csc(['doctor']);
    expect(human.code).toBe(code);
    expect(human.stdout).toMatch(/(NOT )?ABLE — this host/);
  });

  it('says what to do about what is missing', async () => {
    const { code, stdout } = await csc(['doctor', '--run-as', 'no-such-account', '--json']);
    expect(code).toBe(1);
    const failed = JSON.parse(stdout).checks.find(({ ok }: { ok: boolean }) => !ok);
    expect(failed.remedy).not.toBe('');
  });
});

describe('csc demo', () => {
  it('goes without a sandbox as well, and says so', async () => {
    const { code, stdout } = await freshCsc(['demo', '--local']);
    expect(stdout).toContain('LOCAL MODE');
    expect(code).toBe(0);
  });
});
