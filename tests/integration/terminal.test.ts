import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { cscOnTerminal, onTerminal } from '@csc-fleet/test-kit/cli/terminal';
import { type Fleet, startFleet } from '@csc-fleet/test-kit/fleet';
import { cscBin } from '@csc-fleet/test-kit/process';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

let fleet: Fleet;

beforeAll(async () => {
  fleet = await startFleet({
    executors: [{ name: 'build-1' }],
    policy: { policy_schema_version: 'csc.policy.v0.2', terminal: {} },
  });
}, 60_000);

afterAll(() => fleet?.[Symbol.asyncDispose]());

let files = 0;

/** A contract of this command; its file. */
function contractOf(...argv: string[]): string {
  files += 1;
  return fleet.write(`contract-${files}.json`, JSON.stringify(fleet.contract({ argv })));
}

function submit(file: string, ...options: string[]) {
  return cscOnTerminal(['submit', file, '--unsigned', '--tty', ...options], fleet.environment());
}

describe('csc submit --tty', () => {
  it('is a terminal: echo, size, resize, Ctrl-C, and the exit code of what ran, recorded', async () => {
    const cast = join(fleet.directory, 'out.cast');
    const csc = submit(contractOf('bash', '--norc'), '--record', cast);
    await csc.waitFor(/\$ /);
    csc.pty.write('stty size; echo a$((1+1))\r');
    await csc.waitFor(/50 200[\s\S]*a2/);
    csc.pty.resize(90, 30);
    csc.pty.write('until [ "$(stty size)" = "30 90" ]; do sleep 0.05; done; echo resized; sleep 1000\r');
    await csc.waitFor(/resized\r\n/);
    csc.pty.write('\x03');
    csc.pty.write('echo code $?; exit 7\r');
    const { screen, code } = await csc.ended;
    expect([code, /code 130/.test(screen)]).toEqual([7, true]);
    const lines = readFileSync(cast, 'utf8')
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(lines[0]).toMatchObject({ version: 3, term: { cols: 200, rows: 50, type: 'xterm-256color' } });
    const codes = new Map(lines.slice(1).map(([, code, data]) => [code, data]));
    expect([codes.get('r'), codes.get('x')]).toEqual(['90x30', '7']);
    expect([...codes.keys()]).not.toContain('i');
    const [id = ''] = /[0-9a-f-]{36}/.exec((await fleet.csc(['list', '--json'])).stdout) ?? [];
    const fetched = join(fleet.directory, 'fetched.cast');
    expect((await fleet.csc(['get', id, '--recording', fetched])).code).toBe(0);
    expect(readFileSync(fetched)).toEqual(readFileSync(cast));
    const played = await fleet.csc(['play', id]);
    expect([played.code, /code 130/.test(played.stdout)]).toEqual([0, true]);
    // Shown, once, without the recording behind it.
    expect((await fleet.csc(['get', id, '--output'])).stdout).not.toContain('"version":3');
  }, 60_000);

  it('shows its job one terminal, which is its own, and no way to type into it or another one', async () => {
    const script = `
import fcntl, os, termios
def refused(act):
    try: act()
    except OSError as error: return error.errno
    return 0
tty = os.open('/dev/tty', os.O_RDWR)
print('same', os.tcgetpgrp(tty) == os.getpgrp() == os.tcgetpgrp(0))
print('sti', refused(lambda: fcntl.ioctl(0, termios.TIOCSTI, b'x')), refused(lambda: fcntl.ioctl(tty, termios.TIOCSTI, b'x')))
print('linux', refused(lambda: fcntl.ioctl(0, 0x541c, bytes([2]))))
print('pts', sorted(os.listdir('/dev/pts')))
print('fds', sorted(os.listdir('/proc/self/fd'), key=int)[:4])
`;
    const csc = submit(contractOf('python3', '-c', script));
    const { screen, code } = await csc.ended;
    expect(code).toBe(0);
    expect(screen).toMatch(/same True/);
    expect(screen).toMatch(/sti 1 1/);
    expect(screen).toMatch(/linux 1/);
    expect(screen).toMatch(/pts \['ptmx'\]/);
    expect(screen).toMatch(/fds \['0', '1', '2', '3'\]/);
  }, 60_000);

  it('is left by ~. and come back to, and gives the terminal back each time', async () => {
    const file = contractOf('bash', '--norc');
    const args = `submit ${file} --unsigned --tty`;
    const line = `"$0" "$1" ${args}; echo left $?; stty -a; read go; exec "$0" "$1" attach "$go"`;
    const csc = onTerminal(['sh', '-c', line, process.execPath, cscBin], fleet.environment());
    await csc.waitFor(/\$ /);
    csc.pty.write('X=kept; echo o$((1+1))\r');
    await csc.waitFor(/o2/);
    csc.pty.write('~.');
    await csc.waitFor(/left 130[\s\S]*-extproc|left 130[\s\S]* extproc/);
    const folder = join(fleet.directory, 'state/csc/terminals');
    const [claim = ''] = readdirSync(folder);
    expect(statSync(join(folder, claim)).mode & 0o777).toBe(0o600);
    csc.pty.write(`${claim.slice(0, 36)}\r`);
    await csc.waitFor(/extproc[\s\S]*\$ /);
    csc.pty.write('echo $X again; exit 3\r');
    const { screen, code } = await csc.ended;
    expect(code).toBe(3);
    expect(screen).toMatch(/kept again/);
    expect(screen).toMatch(/opost[\s\S]*isig icanon iexten echo /);
    expect(readdirSync(folder)).toEqual([]);
  }, 60_000);

  it('says in words that it takes a terminal', async () => {
    const { code, stderr } = await fleet.csc(['submit', contractOf('true'), '--unsigned', '--tty']);
    expect(code).not.toBe(0);
    expect(stderr).toMatch(/--tty takes a terminal/);
  });
});
