import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chownSync, lstatSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { CommandShort } from '@csc-fleet/test-kit/contract';
import { makeContract } from '@csc-fleet/test-kit/contract';
import { type Guest, jobUid } from '@csc-fleet/test-kit/fleet';
import { visitFleet } from '@csc-fleet/test-kit/shared-fleet';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

// What teams really run, through `csc submit`, with the executor's defaults: no inline code, no more than the defaults.
let fleet: Guest;
beforeAll(async () => {
  fleet = await visitFleet('workloads');
});
afterAll(() => fleet?.[Symbol.asyncDispose]());

/** A project directory of these files, which belongs to the job user. */
function project(name: string, files: Record<string, string>): string {
  const root = join(fleet.workspace, name);
  for (const [file, text] of Object.entries(files)) {
    const path = join(root, file);
    mkdirSync(join(path, '..'), { recursive: true });
    writeFileSync(path, text);
  }
  own(root);
  return root;
}

function own(path: string): void {
  if (process.getuid?.() !== 0) return;
  chownSync(path, jobUid, jobUid);
  if (!lstatSync(path).isDirectory()) return;
  for (const name of readdirSync(path)) own(join(path, name));
}

/** Runs commands in a directory that they may write, as `csc submit` does. */
async function submit(cwd: string, ...shorts: CommandShort[]) {
  const commands = shorts.map((short, index) => ({
    id: `step-${index}`,
    cwd,
    read_paths: [`${cwd}/**`],
    write_paths: [`${cwd}/**`],
    proposed_effect_type: 'transform_local' as const,
    timeout_sec: 120,
    ...short,
  }));
  const file = fleet.write('contract.json', JSON.stringify(makeContract(cwd, commands)));
  return await fleet.csc(['submit', file, '--quiet']);
}

describe('a workload in the sandbox', () => {
  it('npm ci, offline, and the tests', async () => {
    const app = { name: 'app', version: '1.0.0' };
    const dependencies = { dep: 'file:dep-1.0.0.tgz' };
    const root = project('npm', {
      'dep/package.json': JSON.stringify({ name: 'dep', version: '1.0.0', main: 'index.js' }),
      'dep/index.js': 'module.exports = 41;',
      'package.json': JSON.stringify({
        ...app,
        dependencies,
        scripts: { postinstall: 'node -p "require(\'dep\')" > installed', test: 'node --test' },
      }),
      'app.test.js':
        "require('node:test')('dep', () => require('node:assert').equal(require('dep') + 1, 42));",
    });
    // As npm pack and npm install make them, which take a second each.
    execFileSync('tar', ['-czf', 'dep-1.0.0.tgz', '--transform', 's#^dep#package#', 'dep'], { cwd: root });
    const integrity = createHash('sha512')
      .update(readFileSync(join(root, 'dep-1.0.0.tgz')))
      .digest('base64');
    const packages = {
      '': { ...app, hasInstallScript: true, dependencies },
      'node_modules/dep': { version: '1.0.0', resolved: dependencies.dep, integrity: `sha512-${integrity}` },
    };
    const lock = { ...app, lockfileVersion: 3, requires: true, packages };
    writeFileSync(join(root, 'package-lock.json'), JSON.stringify(lock));
    own(root);
    const { code, stdout, stderr } = await submit(
      root,
      { argv: ['npm', 'ci', '--offline', '--no-audit', '--no-fund'] },
      { argv: ['npm', 'test'] },
    );
    expect({ code, stderr }).toMatchObject({ code: 0 });
    expect(stdout).toMatch(/pass 1/);
    expect(readdirSync(join(root, 'node_modules'))).toContain('dep');
  });

  it('a C build with make', async () => {
    const sources = Array.from({ length: 12 }, (_, index) => `part${index}`);
    const root = project('c', {
      Makefile: [
        `OBJECTS := main.o ${sources.map((name) => `${name}.o`).join(' ')}`,
        'program: $(OBJECTS)\n\tcc -o $@ $^',
        '%.o: %.c\n\tcc -O1 -c -o $@ $<',
        'check: program\n\t./program | grep -q 66',
      ].join('\n\n'),
      'main.c': `#include <stdio.h>\n${sources.map((name) => `int ${name}(void);`).join('\n')}\nint main(void) { printf("%d\\n", ${sources.map((name) => `${name}()`).join('+')}); return 0; }\n`,
      ...Object.fromEntries(
        sources.map((name, index) => [`${name}.c`, `int ${name}(void) { return ${index}; }\n`]),
      ),
    });
    const built = await submit(root, { argv: ['make', '-j4'] }, { argv: ['make', 'check'] });
    expect(built).toMatchObject({ code: 0 });
  });

  it('git status and log of a repository that it may only read', async () => {
    const root = join(fleet.workspace, 'repository');
    mkdirSync(root);
    writeFileSync(join(root, 'README.md'), 'one\n');
    const git = (...args: string[]) =>
      execFileSync('git', ['-c', 'user.name=t', '-c', 'user.email=t@example.org', ...args], {
        cwd: root,
        stdio: 'pipe',
        env: { ...process.env, GIT_CONFIG_NOSYSTEM: '1', HOME: fleet.directory },
      });
    git('init', '-q', '-b', 'main');
    git('add', '.');
    git('commit', '-q', '-m', 'the first');
    writeFileSync(join(root, 'README.md'), 'two\n');
    own(root);
    const reading = { write_paths: [], proposed_effect_type: 'observe' as const };
    const { code, stdout } = await submit(
      root,
      { ...reading, argv: ['git', 'status', '--porcelain'] },
      { ...reading, argv: ['git', 'log', '--oneline'] },
    );
    expect(code).toBe(0);
    expect(stdout).toMatch(/^ M README\.md\n[0-9a-f]+ the first\n$/);
  });

  it('a Python test run, with processes and threads', async () => {
    const root = project('python', {
      'test_work.py': [
        'import multiprocessing, sqlite3, subprocess, sys, tempfile, threading, unittest',
        'def double(x): return 2 * x',
        'class Work(unittest.TestCase):',
        '    def test_pool(self):',
        '        with multiprocessing.Pool(2) as pool: self.assertEqual(pool.map(double, range(4)), [0, 2, 4, 6])',
        '    def test_thread(self):',
        '        seen = []; thread = threading.Thread(target=seen.append, args=(1,)); thread.start(); thread.join()',
        '        self.assertEqual(seen, [1])',
        '    def test_subprocess(self):',
        '        self.assertEqual(subprocess.run(["echo", "x"], capture_output=True, check=True).stdout, b"x\\n")',
        '    def test_files(self):',
        '        with tempfile.NamedTemporaryFile() as file: file.write(b"x")',
        '        sqlite3.connect("work.db").execute("create table t (a)").close()',
      ].join('\n'),
    });
    const { code, stderr } = await submit(root, { argv: ['python3', '-m', 'unittest', '-v'] });
    expect({ code, stderr }).toMatchObject({ code: 0 });
    expect(stderr).toMatch(/Ran 4 tests/);
  });

  it('tar of a large tree, there and back', async () => {
    const root = project('tree', { 'in/0/0': 'x' });
    for (let index = 0; index < 50; index += 1) {
      const directory = join(root, 'in', String(index));
      mkdirSync(directory, { recursive: true });
      for (let file = 0; file < 20; file += 1) writeFileSync(join(directory, String(file)), `${file}\n`);
    }
    mkdirSync(join(root, 'out'));
    own(root);
    const { code } = await submit(
      root,
      { argv: ['tar', '-czf', 'out.tgz', 'in'] },
      { argv: ['tar', '-xzf', 'out.tgz', '-C', 'out'] },
    );
    expect(code).toBe(0);
    expect(readdirSync(join(root, 'out/in/42'))).toHaveLength(20);
  });
});
