import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { cscOnTerminal } from '@csc-fleet/test-kit/cli/terminal';
import { type Fleet, startFleet } from '@csc-fleet/test-kit/fleet';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

let fleet: Fleet;

beforeAll(async () => {
  fleet = await startFleet({
    executors: [{ name: 'build-1' }],
    policy: { policy_schema_version: 'csc.policy.v0.2', terminal: {} },
  });
}, 60_000);

afterAll(() => fleet?.[Symbol.asyncDispose]());

describe('csc submit --tty', () => {
  it('is a terminal: echo, size, resize, Ctrl-C, and the exit code of what ran', async () => {
    const file = fleet.write('shell.json', JSON.stringify(fleet.contract({ argv: ['bash', '--norc'] })));
    const cast = join(fleet.directory, 'out.cast');
    const csc = cscOnTerminal(['submit', file, '--unsigned', '--tty', '--record', cast], fleet.environment());
    await csc.waitFor(/\$ /);
    csc.pty.write('stty size; tty; echo a$((1+1))\r');
    await csc.waitFor(/50 200[\s\S]*a2/);
    csc.pty.resize(90, 30);
    csc.pty.write('stty size\r');
    await csc.waitFor(/30 90/);
    csc.pty.write('sleep 1000\r');
    await csc.waitFor(/sleep 1000\r/);
    csc.pty.write('\x03');
    csc.pty.write('echo code $?; exit 7\r');
    const { screen, code } = await csc.ended;
    expect(code).toBe(7);
    expect(screen).toMatch(/code 130/);
    const lines = readFileSync(cast, 'utf8')
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(lines[0]).toMatchObject({ version: 3, term: { cols: 200, rows: 50, type: 'xterm-256color' } });
    const codes = new Map(lines.slice(1).map(([, code, data]) => [code, data]));
    expect([codes.get('r'), codes.get('x')]).toEqual(['90x30', '7']);
    expect([...codes.keys()]).not.toContain('i');
  }, 30_000);
});
