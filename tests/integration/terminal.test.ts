import { execFileSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { readOwnSigner, toBase64 } from '@csc-fleet/common/crypto';
import type { ReceiptV02 } from '@csc-fleet/common/receipt';
import { makeSealKey } from '@csc-fleet/common/seal';
import { cscOnTerminal, onTerminal } from '@csc-fleet/test-kit/cli/terminal';
import { type Fleet, jobUid, startFleet } from '@csc-fleet/test-kit/fleet';
import { testPolicy } from '@csc-fleet/test-kit/policy';
import { TestRepository } from '@csc-fleet/test-kit/policy-repository';
import { cscBin } from '@csc-fleet/test-kit/process';
import { childrenOf, readArguments } from '@csc-fleet/test-kit/sandbox/find-processes';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

let fleet: Fleet;
let key: string;

const alice = 'spiffe://csc.local/client/alice';

// Hosts that have their owners' word, and run nothing that its submitter has not signed.
beforeAll(async () => {
  const repository = { root: '', directory: '', online_key: '' };
  const host = { policies: undefined, policy_repository: { root: '', from: 'gate', refresh_sec: 86_400 } };
  fleet = await startFleet({
    executors: [
      {
        name: 'build-1',
        config: {
          ...host,
          secrets: { directory: 'secrets' },
          ceiling: { inline_code: true, secrets: ['TOKEN'], terminal: 'signed' },
        },
      },
    ],
    gate: { policies: undefined, bindings: undefined, policy_repository: repository },
    prepare: (directory) => {
      const owners = new TestRepository(join(directory, 'owners'));
      const file = (name: string, content: string | Buffer): string => {
        writeFileSync(join(directory, name), content, { mode: 0o600 });
        return join(directory, name);
      };
      key = file('submitter.key', Buffer.alloc(32, 31));
      const { keyId, publicKey } = readOwnSigner(key, alice);
      const members = { policy_schema_version: 'csc.policy.v0.2', allow_secret_refs: true };
      const workspace = join(directory, 'workspace');
      owners.publish({
        'policies/tests.yaml': testPolicy(workspace, { ...members, terminal: {} }),
        'policies/plain.yaml': testPolicy(workspace, { ...members, name: 'plain' }),
        'bindings.yaml': {
          bindings_version: 'csc.bindings.v0.2',
          bindings: [
            {
              identity: alice,
              policies: ['tests', 'plain'],
              secrets: { tests: ['TOKEN'] },
              roles: ['admin'],
            },
          ],
          submitters: [{ principal: alice, keys: [{ key_id: keyId, public_key: toBase64(publicKey) }] }],
        },
      });
      const root = file('root.json', owners.root);
      host.policy_repository.root = root;
      Object.assign(repository, {
        root,
        directory: owners.directory,
        online_key: file('online.key', Buffer.alloc(32, 2)),
      });
      mkdirSync(join(directory, 'secrets'), { mode: 0o700 });
      writeFileSync(join(directory, 'secrets/TOKEN'), 'correct-horse-battery\n', { mode: 0o400 });
    },
  });
  // It has nothing of its owners yet at first, so that it says hello once more when it has.
  await fleet.executor('build-1').waitFor(/published something new[\s\S]*"msg":"connected/);
}, 60_000);

afterAll(() => fleet?.[Symbol.asyncDispose]());

let files = 0;

/** A contract of this command; its file. */
function contractOf(...argv: string[]): string {
  files += 1;
  return fleet.write(`contract-${files}.json`, JSON.stringify(fleet.contract({ argv })));
}

function submit(file: string, ...options: string[]) {
  return cscOnTerminal(['submit', file, '--submitter-key', key, '--tty', ...options], fleet.environment());
}

/** A shell that runs these lines, in which `csc` is the one under test. */
function shell(...lines: string[]) {
  const script = `csc() { "$0" "$CSC" "$@"; }\n${lines.join('\n')}`;
  const env = { ...fleet.environment(), CSC: cscBin };
  return onTerminal(['sh', '-c', script, process.execPath], env);
}

/** The executions whose keys are kept here. */
function kept(): string[] {
  const folder = join(fleet.directory, 'state/csc/terminals');
  return existsSync(folder) ? readdirSync(folder).map((name) => name.slice(0, 36)) : [];
}

const newest = async (): Promise<string> => {
  const [id = ''] = /[0-9a-f-]{36}/.exec((await fleet.csc(['list', '--json'])).stdout) ?? [];
  return id;
};

const receiptOf = async (id: string): Promise<ReceiptV02> =>
  (await fleet.connect().getReceipt(id)).receipt as ReceiptV02;

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
    expect(screen).toMatch(/csc: execution [0-9a-f-]{36}: ~\. at the beginning of a line leaves/);
    expect(screen).toMatch(/recording written to \S+out\.cast/);
    const lines = readFileSync(cast, 'utf8')
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(lines[0]).toMatchObject({ version: 3, term: { cols: 200, rows: 50, type: 'xterm-256color' } });
    const codes = new Map(lines.slice(1).map(([, code, data]) => [code, data]));
    expect([codes.get('r'), codes.get('x')]).toEqual(['90x30', '7']);
    expect([...codes.keys()]).not.toContain('i');
    const id = await newest();
    expect(await receiptOf(id)).toMatchObject({
      principal: alice,
      submission_sha256: expect.any(String),
      commands: [{ terminal_hash: expect.any(String), recording_hash: expect.any(String) }],
    });
    const fetched = join(fleet.directory, 'fetched.cast');
    expect(await fleet.csc(['get', id, '--recording', fetched])).toMatchObject({
      code: 0,
      stderr: expect.stringContaining(fetched),
    });
    expect(readFileSync(fetched)).toEqual(readFileSync(cast));
    const played = await fleet.csc(['play', id]);
    expect([played.code, /code 130/.test(played.stdout)]).toEqual([0, true]);
    // Shown, once, without the recording behind it.
    expect((await fleet.csc(['get', id, '--output'])).stdout).not.toContain('"version":3');
  }, 60_000);

  it('is asked for in vain where its recording could not be written: nothing runs', async () => {
    const before = await newest();
    const inTheWay = join(fleet.directory, 'workspace');
    const { screen, code } = await submit(contractOf('true'), '--record', inTheWay).ended;
    expect(screen.replaceAll(/\s+/g, ' ')).toContain(`--record ${inTheWay} is a directory: name a file`);
    expect(code).not.toBe(0);
    expect(await newest()).toBe(before);
  });

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

  it('is left by ~. and come back to, over a gate that restarts, and nothing that was typed is lost', async () => {
    const csc = shell(
      `csc submit ${contractOf('bash', '--norc')} --submitter-key ${key} --tty; echo left $?; stty -a`,
      'read go; csc attach "$go"; echo over $?; stty -a',
    );
    await csc.waitFor(/\$ /);
    csc.pty.write('X=kept; echo o$((1+1))\r');
    await csc.waitFor(/o2/);
    await fleet.gate.stop('SIGKILL');
    csc.pty.write('echo away$((1+1))\r');
    await fleet.startGate();
    await csc.waitFor(/away2/);
    csc.pty.write('Y=whole\r~.');
    await csc.waitFor(/left 130[\s\S]* extproc|left 130[\s\S]*-extproc/);
    const [id = ''] = kept();
    expect(statSync(join(fleet.directory, 'state/csc/terminals', `${id}.json`)).mode & 0o777).toBe(0o600);
    await fleet.gate.stop('SIGKILL');
    await fleet.startGate();
    const elsewhere = { ...fleet.environment(), XDG_STATE_HOME: join(fleet.directory, 'elsewhere') };
    const looking = cscOnTerminal(['attach', id], elsewhere);
    await looking.waitFor(/looking on.* leaves[\s\S]*o2/);
    looking.pty.write('zz\r~.');
    const looked = await looking.ended;
    expect([looked.code, looked.screen.includes('zz')]).toEqual([130, false]);
    csc.pty.write(`${id}\r`);
    await csc.waitFor(/extproc[\s\S]*\$ /);
    csc.pty.write('echo $X $Y again; exit 3\r');
    const { screen } = await csc.ended;
    expect(screen).toMatch(/over 3/);
    expect(screen).toMatch(/kept whole again/);
    expect(screen).toMatch(/; csc attach [0-9a-f-]{36} takes it up again/);
    expect(screen.match(/[^-]opost/g)).toHaveLength(2);
    expect(screen.match(/[^-]isig [^-]*icanon /g)).toHaveLength(2);
    expect(kept()).toEqual([]);
  }, 60_000);

  it('gives the terminal back while it is stopped, and where it is ended by a signal', async () => {
    const before = kept();
    const csc = shell(
      `csc submit ${contractOf('bash', '--norc')} --submitter-key ${key} --tty; echo left $?; stty -a`,
      'read go; csc attach "$go"; echo over $?; stty -a',
    );
    const pid = () => childrenOf(csc.pty.pid).at(-1) ?? 0;
    const modes = () =>
      execFileSync('stty', ['-F', readlinkSync(`/proc/${csc.pty.pid}/fd/2`), '-a'], { encoding: 'utf8' });
    const becomes = (mode: RegExp) => expect.poll(modes).toMatch(mode);
    await csc.waitFor(/\$ /);
    await becomes(/-icanon/);
    process.kill(pid(), 'SIGTSTP');
    await becomes(/ icanon/);
    // It gives the terminal back before it stops, and what is not stopped yet would not be continued.
    const state = () => /^State:\s+(\w)/m.exec(readFileSync(`/proc/${pid()}/status`, 'utf8'))?.[1];
    await expect.poll(state).toBe('T');
    process.kill(pid(), 'SIGCONT');
    await becomes(/-icanon/);
    csc.pty.write('echo on$((1+1))\r');
    await csc.waitFor(/on2/);
    process.kill(pid(), 'SIGHUP');
    await csc.waitFor(/left 130[\s\S]*extproc/);
    expect(modes()).toMatch(/ icanon/);
    const [id = ''] = kept().filter((it) => !before.includes(it));
    csc.pty.write(`${id}\r`);
    await csc.waitFor(/extproc[\s\S]*\$ /);
    await becomes(/-icanon/);
    process.kill(pid(), 'SIGTERM');
    const { screen } = await csc.ended;
    expect(screen).toMatch(/over 130[\s\S]* icanon/);
    await fleet.csc(['cancel', id, '--grace', '0s']);
    await fleet.csc(['get', id, '--follow']);
  }, 60_000);

  it('shows no secret, in however many writes it comes, nor has one in the recording', async () => {
    const script = `
import sys, time
value = open('/run/secrets/TOKEN').read()
for letter in value: sys.stdout.write(letter); sys.stdout.flush(); time.sleep(0.002)
print(); print('whole', value)
sys.stdin.readline()
`;
    const cast = join(fleet.directory, 'masked.cast');
    const contract = { argv: ['python3', '-c', script], secret_refs: ['TOKEN'] };
    const file = fleet.write('secret.json', JSON.stringify(fleet.contract(contract)));
    const csc = submit(file, '--record', cast);
    await csc.waitFor(/whole \[secret:TOKEN\]/);
    // What is echoed of it is shown, too.
    csc.pty.write('correct-horse-');
    csc.pty.write('battery\r');
    const { screen, code } = await csc.ended;
    const recorded = readFileSync(cast, 'utf8');
    const shown = recorded
      .trimEnd()
      .split('\n')
      .slice(1)
      .map((line) => JSON.parse(line)[2])
      .join('');
    expect(code).toBe(0);
    for (const text of [screen, recorded, shown]) expect(text).not.toContain('horse-battery');
    for (const text of [screen, shown]) expect(text.match(/\[secret:TOKEN\]/g)).toHaveLength(3);
  }, 60_000);

  it('ends with a receipt where its relay is killed, which holds nothing of the executor', async () => {
    const csc = submit(contractOf('bash', '-c', 'trap "" HUP; echo ready; while :; do sleep 0.1; done'));
    await csc.waitFor(/ready/);
    const { pid } = fleet.executor('build-1').child;
    const relays = childrenOf(pid).filter((it) =>
      readArguments(it).some((argument) => argument.includes('setgroups')),
    );
    const [relay = 0] = relays;
    expect(relays).toHaveLength(1);
    expect(readFileSync(`/proc/${relay}/environ`, 'latin1')).toBe('');
    const status = readFileSync(`/proc/${relay}/status`, 'latin1');
    if (process.getuid?.() === 0) {
      expect(status).toMatch(new RegExp(`^Uid:(\\t${jobUid}){4}$`, 'm'));
      expect(status).toMatch(/^Groups:\t ?$/m);
      expect(status).toMatch(/^CapEff:\t0+$/m);
    }
    const held = readdirSync(`/proc/${relay}/fd`).map((fd) => readlinkSync(`/proc/${relay}/fd/${fd}`));
    // Four to its parent; the rest is Node's own, and the master.
    expect(held.filter((it) => it.startsWith('socket:') || it.startsWith(fleet.directory))).toHaveLength(4);
    process.kill(relay, 'SIGKILL');
    const { code } = await csc.ended;
    expect(code).not.toBe(0);
    expect(await receiptOf(await newest())).toMatchObject({
      ended: 'cancelled',
      error: expect.stringContaining('its terminal was lost'),
    });
    expect(fleet.executor('build-1').running).toBe(true);
  }, 60_000);

  it.each([
    [
      'by a policy that grants none',
      ['--submitter-key', 'KEY', '--profile', 'plain'],
      /terminal not allowed: the policy has no member terminal/,
    ],
    ['by a host, to whom nobody has signed it', ['--unsigned'], /csc login/],
  ])('is refused in words %s', async (_, args, why) => {
    const own = args.map((it) => (it === 'KEY' ? key : it));
    const { screen, code } = await cscOnTerminal(
      ['submit', contractOf('cat'), '--tty', ...own],
      fleet.environment(),
    ).ended;
    expect(code).toBe(1);
    expect(screen).toMatch(why);
    expect(screen).not.toMatch(/icanon/);
  });

  it('is asked for by csc check, too', async () => {
    const contract = contractOf('cat');
    const asked = await fleet.csc(['check', contract, '--tty']);
    expect(asked).toMatchObject({ code: 0, stderr: expect.stringContaining('ceiling.terminal') });
    const denied = await fleet.csc(['check', contract, '--tty', '--profile', 'plain']);
    expect(denied).toMatchObject({ code: 1, stdout: expect.stringContaining('TERMINAL_NOT_ALLOWED') });
    expect((await fleet.csc(['check', contract, '--profile', 'plain'])).code).toBe(0);
    const local = await fleet.csc(['run', contract, join(fleet.directory, 'policies/tests.yaml'), '--tty']);
    expect(local).toMatchObject({ code: 1, stderr: expect.stringContaining('csc submit --tty') });
  });

  it('says in words that it takes a terminal', async () => {
    const { code, stderr } = await fleet.csc(['submit', contractOf('true'), '--submitter-key', key, '--tty']);
    expect(code).not.toBe(0);
    expect(stderr).toMatch(/--tty takes a terminal/);
    expect(await fleet.csc(['attach', 'abcd'])).toMatchObject({
      code: 64,
      stderr: 'csc attach takes a terminal; csc get abcd --follow looks on\n',
    });
  });
});

describe('evidence and output that nobody between has to be trusted with', () => {
  const words = 'nobody-between-reads-this';
  const holds = (directory: string, text: string): boolean =>
    readdirSync(directory, { recursive: true, withFileTypes: true })
      .filter((it) => it.isFile())
      .some((it) => readFileSync(join(it.parentPath, it.name)).includes(text));

  it('is sealed on its way, masked before, and opened by csc submit and csc get', async () => {
    const argv = ['sh', '-c', `echo ${words.replaceAll('-', "'-'")}; echo $TOKEN; echo and-this >&2`];
    const contract = fleet.contract({ argv, secret_refs: ['TOKEN'], env_allow: [] });
    const file = fleet.write('sealed.json', JSON.stringify(contract));
    const submitted = await fleet.csc(['submit', file, '--submitter-key', key, '--seal', '--attest']);
    expect(submitted).toMatchObject({ code: 0, stderr: expect.stringContaining('and-this') });
    expect(submitted.stdout).toMatch(new RegExp(`^${words}\n`));
    expect(submitted.stdout).not.toContain('correct-horse-battery');
    const id = await newest();
    expect(holds(join(fleet.directory, 'gate'), words)).toBe(false);
    expect((await fleet.csc(['get', id, '--output'])).stdout).toBe(submitted.stdout);
    expect((await fleet.csc(['get', id, '--follow', '--quiet'])).stdout).toBe(submitted.stdout);
    const from = ['get', id, '--output', '--stream', 'stdout', '--offset', '7'];
    expect((await fleet.csc(from)).stdout).toBe(submitted.stdout.slice(7));
    expect((await fleet.csc(['get', id, '--output', '--raw'])).stdout).not.toContain(words);
    const elsewhere = await fleet.csc(['get', id, '--output'], { env: { XDG_STATE_HOME: fleet.directory } });
    expect(elsewhere.code).not.toBe(0);
    expect(elsewhere.stderr).toContain('--seal-key FILE');
    // Which key opens it is not guessed where one is named.
    const other = fleet.write('other-seal.key', makeSealKey().pem);
    const wrong = await fleet.csc(['get', id, '--output', '--seal-key', other]);
    expect(wrong).toMatchObject({
      stdout: '',
      stderr: expect.stringMatching(/sealed to the key .* holds .*kept/),
    });
    expect(await receiptOf(id)).toMatchObject({ sealed: { algorithm: 'csc.seal.v0.1' } });
    const exported = await fleet.csc(['receipts', 'export', id, '--format', 'dsse']);
    expect(exported.code).toBe(0);
    const payload = Buffer.from(JSON.parse(exported.stdout).payload, 'base64').toString();
    expect(JSON.parse(payload)).toMatchObject({ predicate: { execution_id: id, sealed: expect.anything() } });
  });

  it('goes from a gate into a bundle, in which a receipt that is taken out is missed', async () => {
    const [bundle, keys] = [join(fleet.directory, 'bundle'), join(fleet.directory, 'build-1.json')];
    const config = join(fleet.directory, 'executor-build-1.yaml');
    expect((await fleet.csc(['executor', 'keys', '--config', config, '--export', keys])).code).toBe(0);
    const uncertified = [
      '--fleet-ca',
      join(fleet.pki, 'ca.pem'),
      '--out',
      join(fleet.directory, 'uncertified'),
    ];
    const without = await fleet.csc(['audit', 'bundle', '--since', '1h', ...uncertified]);
    expect([without.code, without.stderr]).toEqual([1, expect.stringContaining('give others with --keys')]);
    // The log may be a second behind; who asks for a proof waits for it.
    const vkey = join(fleet.directory, 'gate/log/log.vkey');
    expect(await fleet.csc(['get', await newest(), '--log-vkey', vkey])).toMatchObject({ code: 0 });
    const made = await fleet.csc(['audit', 'bundle', '--since', '1h', '--keys', keys, '--out', bundle]);
    expect(made).toMatchObject({ code: 0, stdout: expect.stringContaining('its manifest is sha256:') });
    const { policy_sha256: policy = '' } = await receiptOf(await newest());
    const under = async (version: string) =>
      (await fleet.csc(['audit', '--outcome', 'succeeded', '--policy-version', version])).stdout;
    expect(await under(policy.slice(0, 8))).toContain(policy);
    expect(await under('0'.repeat(64))).toBe('');
    expect((await fleet.csc(['audit', '--approver', 'nobody'])).stdout).toBe('');
    const verify = () => fleet.csc(['audit', 'verify-bundle', bundle, '--keys', keys, '--json']);
    expect(JSON.parse((await verify()).stdout)).toMatchObject({ valid: true, faults: [] });
    const receipts = readdirSync(join(bundle, 'receipts'), { recursive: true, withFileTypes: true });
    const last = receipts
      .filter((it) => it.isFile())
      .sort((a, b) => a.name.localeCompare(b.name))
      .at(-1);
    const path = join(last?.parentPath ?? '', last?.name ?? '');
    const manifest = JSON.parse(readFileSync(join(bundle, 'MANIFEST.json'), 'utf8'));
    const files = manifest.files.filter((it: { path: string }) => !path.endsWith(it.path));
    rmSync(path);
    writeFileSync(join(bundle, 'MANIFEST.json'), JSON.stringify({ ...manifest, files }));
    // The last of its chain: no gap shows it, and what the gate once told does, and its log.
    const { faults } = JSON.parse((await verify()).stdout);
    expect(faults).toEqual([
      { kind: 'missing', message: expect.stringContaining('and none is here that counts') },
      {
        kind: 'missing',
        message: expect.stringMatching(/^the log has the receipt \d+ of .*, and it is not here$/),
      },
    ]);
  });
});
