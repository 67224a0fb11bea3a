import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { sampleContract, samplePolicy } from '@csc-fleet/test-kit/cli/artifacts';
import { cscBin } from '@csc-fleet/test-kit/process';
import { createScratch } from '@csc-fleet/test-kit/scratch';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

// Built for all tests, and moved to where nothing else of it is.
let shipped: string;
beforeAll(() => {
  shipped = mkdtempSync(join(tmpdir(), 'csc-shipped-'));
  cpSync(dirname(cscBin), shipped, { recursive: true });
});
afterAll(() => rmSync(shipped, { recursive: true, force: true }));

function bundled(args: readonly string[], cwd: string, more: NodeJS.ProcessEnv = {}) {
  const [PATH, compiled] = [process.env['PATH'], join(shipped, 'compiled')];
  const env = { PATH, HOME: cwd, NODE_COMPILE_CACHE: compiled, ...more };
  return spawnSync(process.execPath, [join(shipped, 'csc.js'), ...args], { cwd, env, encoding: 'utf8' });
}

describe('the bundle', () => {
  it.each([
    { service: 'gate', young: '--max-semi-space-size=8', mappedFrom: '20480' },
    { service: 'executor', young: '--min-semi-space-size=4', mappedFrom: '524288' },
  ])(
    'starts the $service again in place, with what a process can be told only as it starts',
    ({ service, young, mappedFrom }) => {
      const { directory } = createScratch();
      const tell = join(directory, 'tell.cjs');
      writeFileSync(
        tell,
        `process.on('exit', () => {
        const { MALLOC_ARENA_MAX, MALLOC_MMAP_THRESHOLD_ } = process.env;
        console.log(JSON.stringify({ pid: process.pid, args: process.execArgv, MALLOC_ARENA_MAX, MALLOC_MMAP_THRESHOLD_ }));
      });`,
      );
      const asOwners = { NODE_OPTIONS: `--require ${tell}`, MALLOC_ARENA_MAX: '3' };
      const { pid, stdout, stderr } = bundled([service, '--config', 'none.yaml'], directory, asOwners);
      expect(stderr).toContain('none.yaml');
      expect(JSON.parse(stdout)).toEqual({
        pid,
        args: ['--heap-growing-percent=50', young],
        MALLOC_ARENA_MAX: '3',
        MALLOC_MMAP_THRESHOLD_: mappedFrom,
      });
    },
  );

  it('has all commands, from a folder without node_modules', () => {
    const { directory } = createScratch();
    const program = readFileSync(new URL('../../packages/cli/src/program.ts', import.meta.url), 'utf8');
    const commands = [...program.matchAll(/import\('\.\/commands\/([\w-]+)\.ts'\)/g)].flatMap(
      ([, command]) => command ?? [],
    );
    expect(commands).toContain('run');
    // In one process, as most of what a command says of itself takes is the start.
    const all = `const { main } = require(process.argv[1]);
      (async () => {
        for (const command of process.argv.slice(2)) {
          await main([command, '--help']);
          process.stdout.write(\`\\0\${process.exitCode ?? 0}\\0\`);
        }
      })();`;
    const { stdout, stderr } = spawnSync(
      process.execPath,
      ['-e', all, join(shipped, 'main.cjs'), ...commands],
      { cwd: directory, env: { PATH: process.env['PATH'], HOME: directory }, encoding: 'utf8' },
    );
    expect(stderr).toBe('');
    const said = stdout.split('\0');
    expect(said).toHaveLength(2 * commands.length + 1);
    for (const [index, command] of commands.entries()) {
      const [text, code] = said.slice(2 * index);
      expect({ command, code }).toEqual({ command, code: '0' });
      expect(text).toContain(`csc ${command}`);
    }
  });

  it('checks, runs and verifies', () => {
    const scratch = createScratch();
    const workspace = join(scratch.directory, 'workspace');
    mkdirSync(workspace);
    const contract = sampleContract({
      exec: { argv: ['echo', 'hi'] },
      cwd: workspace,
      read_paths: [workspace],
    });
    scratch.write('contract.json', contract);
    scratch.write('policy.yaml', samplePolicy(workspace));
    const in_ = (args: readonly string[]) => bundled(args, scratch.directory);
    expect(in_(['check', 'contract.json', 'policy.yaml']).status).toBe(0);
    const key: { key_id: string } = JSON.parse(in_(['keygen', 'me', '--json']).stdout);
    const signing = ['--sign', '--signing-key', 'me.key', '--key-id', key.key_id];
    const run = in_(['run', 'contract.json', 'policy.yaml', ...signing]);
    expect({ status: run.status, stdout: run.stdout }).toEqual({ status: 0, stdout: 'hi\n' });
    const args = ['verify-receipt', 'out/receipt.json', '--public-key', 'me.pub', '--key-id', key.key_id];
    expect(in_(args).stdout).toMatch(/^VALID/);
    const errors = in_(['check', 'none.json', 'policy.yaml', '--json']);
    expect(JSON.parse(errors.stdout)).toMatchObject({ code: 'FILE_UNREADABLE' });
    expect(errors.status).toBe(1);
    expect(in_(['check']).status).toBe(64);
    // A verdict needs no hash, and a pipe no stream.
    scratch.write(
      'list.cjs',
      `require(process.argv[2]).main(process.argv.slice(3)).then(() => {
        const large = /^NativeModule (child_process|crypto|net|stream)$/;
        require('node:fs').writeSync(2, process.moduleLoadList.filter((it) => large.test(it)).join());
      })`,
    );
    const check = ['list.cjs', join(shipped, 'command-check.cjs'), 'check', 'contract.json', 'policy.yaml'];
    const [PATH, cwd] = [process.env['PATH'], scratch.directory];
    const checked = spawnSync(process.execPath, check, { cwd, env: { PATH }, encoding: 'utf8' });
    expect(checked).toMatchObject({ stderr: '', stdout: expect.stringMatching(/^ALLOW/), status: 0 });
  });

  it('keeps what it has compiled, for these very bytes, where nobody else can write', () => {
    const { directory } = createScratch();
    const other = join(directory, 'other');
    for (const file of ['csc.js', 'start.js', 'kept-code.js', 'main.cjs', 'package.json'])
      cpSync(join(shipped, file), join(other, file));
    // Node's own cache would otherwise be the one that the tests have.
    const env = { PATH: process.env['PATH'], XDG_CACHE_HOME: directory };
    const help = (): string =>
      spawnSync(process.execPath, [join(other, 'csc.js'), '--help'], { env, encoding: 'utf8' }).stdout;
    const folder = join(directory, 'csc/compile-cache/called');
    const first = help();
    const kept = readdirSync(folder).map((name) => join(folder, name));
    expect(kept).toHaveLength(1);
    expect(kept.map((it) => statSync(it).mode & 0o777)).toEqual([0o600]);
    expect(help()).toBe(first);
    // Another one as long, by which V8 would not tell.
    const changed = readFileSync(join(other, 'main.cjs'), 'utf8').replace(
      'Bounded command',
      'BOUNDED COMMAND',
    );
    writeFileSync(join(other, 'main.cjs'), changed);
    expect(help()).toBe(first.replace('Bounded command', 'BOUNDED COMMAND'));
    // One that was cut off is none.
    for (const it of kept) writeFileSync(it, readFileSync(it).subarray(0, -1000));
    expect(help()).toContain('BOUNDED COMMAND');
    rmSync(join(directory, 'csc/compile-cache'), { recursive: true });
    chmodSync(join(directory, 'csc'), 0o777);
    expect(help()).toContain('BOUNDED COMMAND');
    expect(existsSync(join(directory, 'csc/compile-cache'))).toBe(false);
  });

  it('plays the demo, reflection and health included, and leaves nothing behind', () => {
    const { directory } = createScratch();
    // As a shared temporary folder is: jobs of a root executor are another user.
    const temporary = join(directory, 'tmp');
    chmodSync(directory, 0o711);
    mkdirSync(temporary, { mode: 0o711 });
    const { status, stdout } = bundled(['demo', '--json'], directory, { TMPDIR: temporary });
    expect(readdirSync(temporary)).toEqual([]);
    const scenes = stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(scenes.filter(({ ok }) => !ok)).toEqual([]);
    expect(scenes).toHaveLength(11);
    expect(status).toBe(0);
  });
});
