import { spawnSync } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { sampleContract, samplePolicy } from '@csc-fleet/test-kit/cli/artifacts';
import { csc, freshCsc } from '@csc-fleet/test-kit/process';
import { createScratch } from '@csc-fleet/test-kit/scratch';
import { describe, expect, it } from 'vitest';

const commands = readdirSync(new URL('commands/', import.meta.url))
  .filter((file) => !file.endsWith('.test.ts'))
  .map((file) => file.replace('.ts', ''));
const bin = fileURLToPath(new URL('../bin/csc.js', import.meta.url));

/** The modules that a csc of the sources has loaded by the time that it ends. */
function modulesOf(args: readonly string[]): readonly string[] {
  const listing = `import { registerHooks } from 'node:module';
    import { writeSync } from 'node:fs';
    registerHooks({ load: (url, context, next) => (writeSync(2, url + '\\n'), next(url, context)) });`;
  const hook = `data:text/javascript,${encodeURIComponent(listing)}`;
  const { status, stderr } = spawnSync(process.execPath, ['--import', hook, bin, ...args], {
    encoding: 'utf8',
  });
  expect(status).toBe(0);
  return stderr.split('\n');
}

describe('csc', () => {
  it('lists its commands on stdout when asked, on stderr when called without one', async () => {
    const asked = await freshCsc(['--help']);
    expect(asked).toMatchObject({ code: 0, stderr: '' });
    for (const name of commands) expect(asked.stdout).toContain(`  ${name} `);
    const bare = await freshCsc([]);
    expect(bare).toMatchObject({ code: 64, stdout: '' });
    expect(bare.stderr).toContain('csc demo');
  });

  it.each(commands)('%s --help has examples or subcommands, and loads', async (name) => {
    const { code, stdout, stderr } = await csc([name, '--help']);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toMatch(/\$ csc |Commands:/);
    expect((await csc(['help', name])).stdout).toBe(stdout);
  });

  it('shows the help of a subcommand, named either way', async () => {
    const { code, stdout } = await csc(['help', 'ca', 'init']);
    expect({ code, stdout }).toEqual({ code: 0, stdout: (await csc(['ca', 'init', '--help'])).stdout });
    expect(stdout).toMatch(/^Usage: csc ca init /);
  });

  it('loads no gRPC, service or command to say what there is, and no other command than the one asked for', () => {
    const loaded = modulesOf(['--help']);
    expect(loaded.filter((url) => url.endsWith('/cli/src/program.ts'))).toHaveLength(1);
    expect(
      loaded.filter((url) => /grpc|protobuf|\/packages\/(?!cli\/|common\/)|\/commands\//.test(url)),
    ).toEqual([]);
    const schema = modulesOf(['schema', '--help']).filter((url) => /grpc|\/commands\//.test(url));
    expect(schema.map((url) => url.replace(/.*\//, ''))).toEqual(['schema.ts']);
  });

  it('loads no gRPC, HTTP/2, SQL builder or telemetry to check and to run', () => {
    const scratch = createScratch();
    const { directory } = scratch;
    const contract = sampleContract({ exec: { argv: ['true'] }, cwd: directory, read_paths: [directory] });
    scratch.write('contract.json', contract);
    scratch.write('policy.yaml', samplePolicy(directory));
    const files = ['contract.json', 'policy.yaml'].map((name) => join(directory, name));
    const local = ['--receipt-out', join(directory, 'receipt.json'), '--state-dir', join(directory, 'state')];
    const heavy = /grpc|node:http2|protobufjs|kysely|opentelemetry|\/pino|peculiar|tuf-js|node-pty/;
    const check = modulesOf(['check', ...files]);
    const ofServices = /\/packages\/(?:gate|executor|sandbox)\/|node:sqlite|node:http/;
    expect(check.filter((url) => url.endsWith('/commands/check.ts'))).toHaveLength(1);
    expect(check.filter((url) => heavy.test(url) || ofServices.test(url))).toEqual([]);
    const run = modulesOf(['run', ...files, ...local]);
    expect(run.filter((url) => url.endsWith('/local/run.ts'))).toHaveLength(1);
    expect(run.filter((url) => heavy.test(url))).toEqual([]);
  });

  it('says nothing where nobody reads what it prints', () => {
    const closed = ['-c', '{ sleep 0.2; "$@"; } | true', 'sh', process.execPath, bin, '--help'];
    expect(spawnSync('sh', closed, { encoding: 'utf8' })).toMatchObject({ status: 0, stderr: '' });
  });

  it('explains its exit codes', async () => {
    const { code, stdout } = await csc(['help', 'exit-codes']);
    expect(code).toBe(0);
    for (const exitCode of ['0', '1', '2', '64', '69', '70', '77', '78']) {
      expect(stdout).toMatch(new RegExp(`^ +${exitCode} `, 'm'));
    }
  });

  it('says its version, and what it does not know', async () => {
    expect((await freshCsc(['--version'])).stdout).toMatch(/^\d+\.\d+\.\d+\n$/);
    const wrong = await csc(['sumbit', 'contract.json']);
    expect(wrong).toMatchObject({ code: 64, stdout: '' });
    expect(wrong.stderr).toContain('submit');
    expect((await csc(['check', '--nonsense'])).code).toBe(64);
    const never = await csc(['audit', '--outcome', 'nonsense']);
    expect(never).toMatchObject({ code: 64, stderr: expect.stringContaining('needs_approval') });
  });

  it('tells a Node that is too old what to do, before it reads anything newer', () => {
    const old = `Object.defineProperty(process.versions, 'node', { value: '18.19.0' }); require(${JSON.stringify(bin)})`;
    const { status, stdout, stderr } = spawnSync(process.execPath, ['-e', old], { encoding: 'utf8' });
    expect({ status, stdout }).toEqual({ status: 78, stdout: '' });
    expect(stderr).toContain('needs Node.js 24 or newer');
    expect(stderr).not.toContain('    at ');
  });

  it('keeps compiled code only where nobody else can put any', async () => {
    const { directory } = createScratch();
    const cached = (folder: string): boolean => existsSync(join(folder, 'csc/compile-cache'));
    // The tests have a cache of their own, which Node would take first.
    const own = { NODE_COMPILE_CACHE: undefined };
    await freshCsc(['--version'], { env: { ...own, XDG_CACHE_HOME: directory } });
    expect(cached(directory)).toBe(true);
    const shared = join(directory, 'shared');
    mkdirSync(shared);
    chmodSync(shared, 0o777);
    await freshCsc(['--version'], { env: { ...own, XDG_CACHE_HOME: shared } });
    expect(cached(shared)).toBe(false);
  });

  it('works without a home', async () => {
    const { directory } = createScratch();
    const env = { HOME: '/nonexistent', XDG_CACHE_HOME: '' };
    expect((await freshCsc(['--version'], { env, cwd: directory })).code).toBe(0);
  });
});
