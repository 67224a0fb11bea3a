import { spawnSync } from 'node:child_process';
import { chmodSync, cpSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
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
  it('has all commands, from a folder without node_modules', () => {
    const { directory } = createScratch();
    const commands = readdirSync(new URL('commands/', import.meta.url))
      .filter((file) => !file.endsWith('.test.ts'))
      .map((file) => file.replace('.ts', ''));
    for (const command of commands) {
      const { status, stderr, stdout } = bundled([command, '--help'], directory);
      expect({ command, status, stderr }).toEqual({ command, status: 0, stderr: '' });
      expect(stdout).toContain(`csc ${command}`);
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
