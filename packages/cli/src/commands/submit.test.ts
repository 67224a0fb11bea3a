import { execFileSync, spawn } from 'node:child_process';
import { createHash, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type CommandContract, contractSha256 } from '@csc-fleet/common/contract';
import { createSigner, generateKeyPair, readPrivateKey } from '@csc-fleet/common/crypto';
import { formatVkey, signCheckpoint } from '@csc-fleet/common/tlog';
import { type Fleet, startFleet } from '@csc-fleet/test-kit/fleet';
import { freePort } from '@csc-fleet/test-kit/free-port';
import { TestRepository } from '@csc-fleet/test-kit/policy-repository';
import { csc, cscBin, freshCsc, Service } from '@csc-fleet/test-kit/process';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

let fleet: Fleet;
const witness = { dir: mkdtempSync(join(tmpdir(), 'csc-witness-')), port: 0 };
beforeAll(async () => {
  const made = await csc(['witness', 'init', witness.dir, '--name', 'witness.example/w1']);
  witness.port = await freePort();
  fleet = await startFleet({
    gate: { witnesses: [{ url: `http://127.0.0.1:${witness.port}`, vkey: made.stdout.trim() }] },
    clients: ['bob'],
    executors: [{ name: 'host-1', labels: { arch: 'x86_64', zone: 'a' } }],
    policy: {
      policy_schema_version: 'csc.policy.v0.2',
      manual_approval_for_classified_effect_types: ['mutate_repo'],
      binding: 'host',
    },
  });
});
afterAll(async () => {
  await fleet[Symbol.asyncDispose]();
  rmSync(witness.dir, { recursive: true });
});

describe('the log of receipts', () => {
  it('has what ran, as submit sees proven and cosigned, and audit verify holds against the host', async () => {
    const tree = join(fleet.directory, 'gate', 'log');
    const vkey = join(tree, 'log.vkey');
    const listen = `127.0.0.1:${witness.port}`;
    await using serving = new Service('the witness', [
      'witness',
      'serve',
      witness.dir,
      '--log',
      vkey,
      '--listen',
      listen,
    ]);
    await serving.waitFor(/is listening on/);
    const log = ['--log-vkey', vkey, '--witness-vkey', join(witness.dir, 'witness.vkey')];
    const ran = await fleet.csc(['submit', shell('echo hello'), ...log]);
    expect([ran.code, ran.stdout]).toEqual([0, 'hello\n']);
    const exported = join(fleet.directory, 'exported');
    const keys = join(fleet.directory, 'exported-keys.json');
    const config = join(fleet.directory, 'executor-host-1.yaml');
    expect((await csc(['executor', 'receipts', 'export', exported, '--config', config])).code).toBe(0);
    expect((await csc(['executor', 'keys', '--config', config, '--export', keys])).code).toBe(0);
    const audit = [
      'audit',
      'verify',
      exported,
      '--keys',
      keys,
      '--log',
      join(tree, 'tree'),
      '--log-vkey',
      vkey,
    ];
    const well = await fleet.csc(audit);
    expect([well.code, well.stdout]).toEqual([
      0,
      expect.stringMatching(/^VALID\n {2}log csc\.local\/gate\/gate: [1-9]/),
    ]);
    // An option that an error names must be one of the command.
    const certified = audit.map((it) =>
      it === '--keys' ? '--fleet-ca' : it === keys ? join(fleet.pki, 'ca.pem') : it,
    );
    const uncertified = await fleet.csc(certified);
    expect([uncertified.code, uncertified.stdout]).toEqual([
      1,
      expect.stringMatching(/brings no certificate .*verify it with --keys/),
    ]);
    // Which log and which witnesses the owners say, in what verifies by their root alone.
    const owners = new TestRepository(join(fleet.directory, 'owners'));
    const key = readFileSync(vkey, 'utf8').trim();
    const w1 = readFileSync(join(witness.dir, 'witness.vkey'), 'utf8').trim();
    const named = { log_version: 'csc.log.v0.1', vkey: key, witnesses: [w1] };
    const bindings = {
      bindings_version: 'csc.bindings.v0.2',
      bindings: [{ identity: 'spiffe://csc.local/client/*', policies: ['tests'] }],
    };
    const policy = readFileSync(join(fleet.directory, 'policies', 'tests.yaml'), 'utf8');
    owners.publish({
      'policies/tests.yaml': policy,
      'bindings.yaml': bindings,
      'log.yaml': { ...named, witnesses: [] },
    });
    const root = join(fleet.directory, 'owners-root.json');
    writeFileSync(root, owners.root);
    const ofOwners = ['--log-of', owners.published(''), '--owners-root', root];
    const auditBy = [...audit.slice(0, -2), ...ofOwners];
    expect((await fleet.csc(auditBy)).stdout).toMatch(/^VALID/);
    owners.publish({ 'log.yaml': named });
    expect((await fleet.csc(['submit', shell('echo again'), ...ofOwners])).stdout).toBe('again\n');
    // A copy of the gate's files has what was cosigned, too.
    expect((await fleet.csc(auditBy)).stdout).toMatch(
      /^VALID\n.*, cosigned by 1 of the witnesses at 20\S+Z\n/,
    );
    const other = createSigner(readPrivateKey(join(tree, 'log.key')), 'log');
    const stranger = createSigner(generateKeyPair().seed, 'csc.local/gate/gate');
    const { publicKey } = stranger;
    const theirs = formatVkey({ name: 'csc.local/gate/gate', type: 'ed25519', publicKey });
    owners.publish({ 'log.yaml': { ...named, vkey: theirs } });
    const refused = await fleet.csc(['submit', shell('echo again'), ...ofOwners]);
    expect(refused.stderr).toMatch(
      /IS FALSE: its key is .* is demanded: unless the owners have begun it anew/,
    );
    const unsigned = await fleet.csc([...audit.slice(0, -2), ...ofOwners.slice(0, 2)]);
    expect(unsigned.stderr).toContain('give --owners-root');
    // A log that has forgotten, under the key that it has.
    const remembered = join(fleet.directory, 'state', 'csc', 'audited-logs.json');
    const forged = signCheckpoint({ origin: 'csc.local/gate/gate', size: 1, root: Buffer.alloc(32) }, other);
    writeFileSync(remembered, JSON.stringify({ [key]: { checkpoint: forged, owed: [] } }));
    const false_ = await fleet.csc(audit);
    expect([false_.code, false_.stdout]).toEqual([
      1,
      expect.stringMatching(
        /^INVALID[\s\S]*fork: its first 1 entries are not those that were verified before[\s\S]*evidence: /,
      ),
    ]);
    // What the gate cannot prove any more a person forgets, and the note of it is kept.
    const met = join(fleet.directory, 'met');
    const forget = ['audit', 'forget', '--known-executors', met];
    const lost = { executionId: 'exec_gone', sha256: 'a'.repeat(64) };
    const falseLog = { origin: 'example/log', vkey: 'example/log+1+key' };
    const accused = {
      ...falseLog,
      message: 'it has two trees',
      at: '2026-11-28T00:00:00.000Z',
      evidence: '',
    };
    const held = {
      'somebody at a gate': { owed: [lost, { ...lost, executionId: 'exec_good' }] },
      'somebody else': { owed: [], accused, firstUse: { vkey: falseLog.vkey, metAt: '', askedAt: '' } },
      [falseLog.vkey]: { owed: [], checkpoint: 'signed' },
    };
    writeFileSync(`${met}.logs`, JSON.stringify(held));
    const listed = (await fleet.csc(forget)).stdout.split('\n');
    expect(listed[0]).toBe(`example/log FALSE, as found at ${accused.at}: it has two trees; somebody else`);
    expect(listed[1]).toBe(`exec_gone ${'a'.repeat(64)} somebody at a gate`);
    // What it has signed goes into the note, and the log is begun anew.
    await fleet.csc([...forget, 'example/log', 'exec_goo']);
    const after = { 'somebody at a gate': { owed: [lost] }, 'somebody else': { owed: [] } };
    expect(JSON.parse(readFileSync(`${met}.logs`, 'utf8'))).toEqual(after);
    const [noted = ''] = readdirSync(`${met}.logs.evidence`);
    expect(readFileSync(join(`${met}.logs.evidence`, noted), 'utf8')).toMatch(
      /it has two trees[\s\S]*"signed"/,
    );
    expect((await fleet.csc([...forget, 'exec_other'])).stderr).toContain('exec_other is owed');
    expect((await fleet.csc([...forget, 'exec_g'])).stdout).toMatch(
      /^forgotten; the note of it is .*evidence/,
    );
    expect((await fleet.csc(forget)).stdout).toBe('');
    expect(readdirSync(`${met}.logs.evidence`)).toHaveLength(2);
  });
});

function file(contract: CommandContract | string): string {
  const text = typeof contract === 'string' ? contract : JSON.stringify(contract);
  return fleet.write(`contract-${randomUUID()}.json`, text);
}

const expectingFile = (outputs: readonly string[]): string =>
  file({ ...fleet.contract({ argv: ['true'] }), expected_outputs: [...outputs] });

const shell = (script: string, more: object = {}): string =>
  file(fleet.contract({ argv: ['sh', '-c', script], ...more }));

interface Line {
  readonly type: string;
  readonly [member: string]: unknown;
}

const parseLines = (text: string): Line[] =>
  text
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));

describe('csc submit', () => {
  it('gives the command’s stdout and stderr as they are, and says its own on stderr', async () => {
    const args = ['submit', shell('printf out; printf err >&2')];
    const { code, stdout, stderr } = await freshCsc(args, { env: fleet.environment() });
    expect(code).toBe(0);
    expect(stdout).toBe('out');
    expect(stderr).toContain('err');
    expect(stderr).toContain('placed on host-1 (arch=x86_64, zone=a)');
    expect(stderr).not.toContain('\u001b');
    const quiet = await fleet.csc(['submit', '--quiet', shell('printf out; printf err >&2')]);
    expect(quiet).toMatchObject({ code: 0, stdout: 'out', stderr: 'err' });
  });

  it('gives binary output byte for byte', async () => {
    const script = 'import os; os.write(1, bytes(range(256)) * 4096)';
    const contract = file(fleet.contract({ argv: ['python3', '-c', script] }));
    const child = spawn(process.execPath, [cscBin, 'submit', contract, '--quiet'], {
      env: { ...process.env, ...fleet.environment() },
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const hash = createHash('sha256');
    child.stdout.on('data', (data: Buffer) => hash.update(data));
    const [code] = await once(child, 'close');
    expect(code).toBe(0);
    const expected = Buffer.concat(
      Array.from({ length: 4096 }, () => Buffer.from(Array.from({ length: 256 }, (_, i) => i))),
    );
    expect(hash.digest('hex')).toBe(createHash('sha256').update(expected).digest('hex'));
  });

  it.each([
    ['its own exit code', 'exit 37', 37],
    ['128 and the signal’s number', 'kill -KILL $$', 137],
    ['127 for what is not there', 'exec /nonexistent', 127],
  ])('ends with %s', async (_, script, code) => {
    expect((await fleet.csc(['submit', '--quiet', shell(script)])).code).toBe(code);
  });

  it('ends with 124 after a time-out', async () => {
    expect((await fleet.csc(['submit', '--quiet', shell('sleep 30', { timeout_sec: 1 })])).code).toBe(124);
  });

  it('denies with 1 and every finding', async () => {
    const contract = file(fleet.contract({ argv: ['rm', '-rf', '/'], timeout_sec: 6000 }));
    const receipt = join(fleet.directory, 'denied.json');
    const { code, stdout, stderr } = await fleet.csc(['submit', contract, '--receipt-out', receipt]);
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
    expect(stderr).toContain('COMMAND_NOT_ALLOWED commands[0].exec.argv[0]');
    expect(stderr).toContain('TIMEOUT_EXCEEDS_POLICY commands[0].timeout_sec');
    expect(stderr).toMatch(/^Execution [0-9a-f-]{36}$/m);
    expect(JSON.parse(readFileSync(receipt, 'utf8'))).toMatchObject({ status: 'blocked' });
  });

  it('asks for nothing where the receipt could not be written', async () => {
    const out = join(shell('true'), 'receipt.json');
    const { code, stdout, stderr } = await fleet.csc(['submit', shell('echo ran'), '--receipt-out', out]);
    expect([code, stdout]).toEqual([1, '']);
    expect(stderr).toContain(`--receipt-out ${out}`);
    expect(stderr).not.toContain('csc: execution');
  });

  it('ends with 2 where an approval is needed, runs with it, and only once', async () => {
    const contract = fleet.contract({ argv: ['true'], proposed_effect_type: 'mutate_repo' });
    const path = file(contract);
    const waiting = await fleet.csc(['submit', path]);
    expect({ code: waiting.code, stdout: waiting.stdout }).toEqual({ code: 2, stdout: '' });
    expect(waiting.stderr).toContain(contractSha256(contract));
    const approval = join(fleet.directory, 'approval.json');
    const approve = ['approve', path, '--identity', 'bob', '--out', approval, '--contract-sha256'];
    const other = await fleet.csc([...approve, 'a'.repeat(64)]);
    expect(other).toMatchObject({ code: 1, stderr: expect.stringContaining('no approval was written') });
    const agreed = await fleet.csc([...approve, contractSha256(contract)]);
    expect(agreed.stdout).toMatch(/^NEEDS APPROVAL/m);
    expect(agreed.code).toBe(0);
    expect((await fleet.csc(['submit', path, '--approval', approval])).code).toBe(0);
    const again = await fleet.csc(['submit', path, '--approval', approval]);
    expect(again.code).toBe(1);
    expect(again.stderr).toMatch(/^ERROR — /m);
  });

  it('prints JSON lines that end with the whole result', async () => {
    const { code, stdout, stderr } = await fleet.csc(['submit', '--json', shell('printf "a\\377b"; exit 3')]);
    expect({ code, stderr }).toEqual({ code: 3, stderr: '' });
    const lines = parseLines(stdout);
    expect(lines.map(({ type }) => type)).toEqual(
      expect.arrayContaining(['decided', 'placed', 'started', 'output', 'output_end', 'finished', 'result']),
    );
    const output = lines.find(({ type }) => type === 'output');
    expect(output).toMatchObject({
      stream: 'stdout',
      base64: Buffer.from('a\xffb', 'latin1').toString('base64'),
    });
    expect(lines.at(-1)).toMatchObject({
      type: 'result',
      state: 'failed',
      exit_code: 3,
      decision: { decision: 'allow', policy_sha256: expect.stringMatching(/^[0-9a-f]{64}$/) },
      receipt: { receipt_version: 'csc.receipt.v0.2', status: 'failed', exit_code: 3 },
    });
  });

  it('writes the receipt version that is asked for', async () => {
    const path = join(fleet.directory, 'v01.json');
    await fleet.csc(['submit', shell('true'), '--receipt-version', 'v0.1', '--receipt-out', path]);
    expect(JSON.parse(readFileSync(path, 'utf8'))).toMatchObject({ receipt_version: 'csc.receipt.v0.1' });
    const sealed = await fleet.csc(['submit', shell('true'), '--receipt-version', 'v0.1', '--seal']);
    expect([sealed.code, sealed.stderr]).toEqual([64, expect.stringContaining('cannot say that output was')]);
    const typed = await fleet.csc(['submit', shell('true'), '--tty', '--seal']);
    expect([typed.code, typed.stderr]).toEqual([64, expect.stringContaining('leave --seal or --tty out')]);
  });

  it('selects by label, and says what to do where nothing fits', async () => {
    expect((await fleet.csc(['submit', shell('true'), '--label', 'zone=a'])).code).toBe(0);
    const args = ['submit', shell('true'), '--label', 'zone=b', '--timeout-queue', '0', '--json'];
    const none = await fleet.csc(args);
    expect(none.code).toBe(69);
    expect(parseLines(none.stdout)).toMatchObject([{ code: 'NO_MATCHING_EXECUTOR' }]);
  });

  it('gives the same execution for the same idempotency key', async () => {
    const path = shell('date +%N');
    const args = ['submit', path, '--idempotency-key', randomUUID(), '--quiet'];
    expect((await fleet.csc(args)).stdout).toBe((await fleet.csc(args)).stdout);
  });

  it('refuses hostile contracts without a stack trace', async () => {
    for (const text of ['', '{"a":1,"a":2}', '\u0000\u0001', `${'['.repeat(10_000)}`, 'x'.repeat(2 << 20)]) {
      const { code, stdout, stderr } = await fleet.csc(['submit', file(text)]);
      expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
      expect(stderr).toMatch(/^ERROR — /);
      expect(stderr).not.toMatch(/\n\s+at /);
    }
  });

  it('says what is missing, whom it cannot reach, and who is not let in', async () => {
    const nothing = { CSC_GATE: '', CSC_CA: '', CSC_CERT: '', CSC_KEY: '' };
    const missing = await fleet.csc(['submit', shell('true')], { env: nothing });
    expect(missing.code).toBe(78);
    for (const name of ['CSC_GATE', 'CSC_CA', 'CSC_CERT', 'CSC_KEY']) expect(missing.stderr).toContain(name);
    const noGate = ['submit', shell('true'), '--gate', '127.0.0.1:1'];
    const unreachable = await fleet.csc([...noGate, '--wait', '0']);
    expect(unreachable.code).toBe(69);
    expect(unreachable.stderr).toMatch(/^ERROR — /);
    const waited = await fleet.csc([...noGate, '--wait', '300ms', '--json']);
    expect(waited.stderr).toMatch(/ECONNREFUSED 127.0.0.1:1; trying again/);
    expect(JSON.parse(waited.stdout)).toMatchObject({
      code: 'GATE_UNREACHABLE',
      idempotency_key: expect.stringMatching(/^[0-9a-f-]{32,36}$/),
    });
    const { ca, cert, key } = fleet.tls('alice');
    const asExecutor = {
      cert: cert.replace('client-alice', 'executor-host-1'),
      key: key.replace('client-alice', 'executor-host-1'),
    };
    const stranger = await fleet.csc([
      'submit',
      shell('true'),
      '--ca',
      ca,
      '--cert',
      asExecutor.cert,
      '--key',
      asExecutor.key,
    ]);
    expect(stranger.code).toBe(77);
  });

  it('takes the gate from --pki and --as, and from --config', async () => {
    const nothing = { CSC_GATE: '', CSC_CA: '', CSC_CERT: '', CSC_KEY: '' };
    const flags = ['--gate', fleet.address, '--pki', fleet.pki, '--as', 'alice'];
    expect((await fleet.csc(['submit', shell('true'), ...flags], { env: nothing })).code).toBe(0);
    const { ca, cert, key } = fleet.tls('alice');
    const config = fleet.write('client.yaml', JSON.stringify({ gate: fleet.address, ca, cert, key }));
    expect((await fleet.csc(['submit', shell('true'), '--config', config], { env: nothing })).code).toBe(0);
    const faulty = fleet.write('faulty.yaml', 'gate: a\nport: 1\n');
    const refused = await fleet.csc(['submit', shell('true'), '--config', faulty], { env: nothing });
    expect(refused.code).toBe(78);
    expect(refused.stderr).toContain('port');
  });
});

describe('the receipt key of a host', () => {
  it('is exported there, and pinned by a client', async () => {
    const config = join(fleet.directory, 'executor-host-1.yaml');
    const pins = join(fleet.directory, 'pins.json');
    expect((await fleet.csc(['executor', 'keys', '--config', config, '--export', pins])).code).toBe(0);
    const owner = 'spiffe://csc.local/executor/host-1';
    const stateDir = join(fleet.directory, 'executor-host-1');
    const byHand = await fleet.csc(['executor', 'keys', '--state-dir', stateDir, '--id', owner, '--export']);
    expect(byHand.stdout).toBe(readFileSync(pins, 'utf8'));
    expect(JSON.parse(byHand.stdout)).toMatchObject({ keys: [{ owner }] });
    const shown = await fleet.csc(['executor', 'keys', '--config', config]);
    expect(shown.stdout).toContain(JSON.parse(byHand.stdout).keys[0].key_id);
    expect((await fleet.csc(['submit', shell('true'), '--keys', pins])).code).toBe(0);
    // A gate refuses in its own name.
    const denied = file(fleet.contract({ argv: ['rm', '-rf', '/'] }));
    expect((await fleet.csc(['submit', denied, '--keys', pins])).stderr).toContain('COMMAND_NOT_ALLOWED');
    const gateKeys = join(fleet.directory, 'gate', 'gate-keys.json');
    const { code, stderr } = await fleet.csc(['submit', shell('true'), '--keys', gateKeys]);
    expect(code).toBe(1);
    expect(stderr).toContain('is trusted');
    expect(stderr).toMatch(/pinned are .* csc executor keys --export/s);
  });
});

describe('an execution', () => {
  it('is left with --detach, taken up with get --follow, read, listed, and its receipt fetched', async () => {
    const go = join(fleet.writable('detached'), 'go');
    const script = `echo one; while [ ! -e ${go} ]; do sleep 0.05; done; echo two; exit 5`;
    // A process each: none of them may wait for anything at its end.
    const fresh = (args: readonly string[]) => freshCsc(args, { env: fleet.environment() });
    const { code, stdout } = await fresh(['submit', shell(script), '--detach']);
    expect(code).toBe(0);
    const id = stdout.trim();
    writeFileSync(go, '');
    const followed = await fresh(['get', id, '--follow', '--quiet']);
    expect(followed).toMatchObject({ code: 5, stdout: 'one\ntwo\n' });
    expect((await fleet.csc(['get', id, '--output'])).stdout).toBe('one\ntwo\n');
    const get = (...options: string[]) => fleet.csc(['get', id, ...options]);
    expect((await get('--offset', '4')).stdout).toBe('two\n');
    expect((await get('--stream', 'stderr')).stdout).toBe('');
    expect((await get('--since', '1h')).stdout).toBe('one\ntwo\n');
    expect(await get('--since', '2100-01-01T00:00:00Z')).toMatchObject({ stdout: '' });
    expect((await get('--offset', '1000', '--stream', 'stdout')).stderr).toBe(
      'csc: nothing to show there: stdout of main ends at 8\n',
    );
    expect((await get('--stream', 'terminal')).stderr).toContain('it has no terminal');
    expect((await get('--since', 'yesterday')).code).toBe(64);
    // Whose end is the receipt's, and whose output is a part.
    expect(await get('--offset', '4', '--follow')).toMatchObject({
      code: 5,
      stdout: 'two\n',
      stderr: expect.stringContaining('not held against the receipt'),
    });
    const receipt = join(fleet.directory, `${id}.json`);
    const got = await fleet.csc(['get', id, '--json', '--receipt-out', receipt]);
    expect(JSON.parse(got.stdout)).toMatchObject({ execution_id: id, state: 'failed', exit_code: 5 });
    expect(JSON.parse(readFileSync(receipt, 'utf8'))).toMatchObject({ execution_id: id });
    expect((await fleet.csc(['get', id])).stdout).toMatch(/^state +failed$/m);
    const listed = await fleet.csc(['list', '--state', 'failed', '--json']);
    expect(parseLines(listed.stdout)).toContainEqual(expect.objectContaining({ execution_id: id }));
    expect((await fresh(['list', '--limit', '1'])).stdout.trim().split('\n')).toHaveLength(2);
  });

  it('is ended with csc cancel', async () => {
    const id = (await fleet.csc(['submit', shell('echo up; sleep 60'), '--detach'])).stdout.trim();
    await fleet.hasSpoken(id);
    const cancelled = await fleet.csc(['cancel', id, '--grace', '1s', '--json']);
    expect(cancelled.code).toBe(0);
    expect(JSON.parse(cancelled.stdout)).toMatchObject({ execution_id: id });
    const followed = await fleet.csc(['get', id, '--follow', '--json']);
    expect(parseLines(followed.stdout).at(-1)).toMatchObject({ state: 'cancelled' });
    expect(followed.code).not.toBe(0);
  });

  it('is narrated between the command’s lines, never within one', async () => {
    const half = `trap 'printf " of a line\\n" >&2; exit 3' TERM; printf half >&2; sleep 60 & wait`;
    const args = ['-c', 'exec "$@" 2>&1', 'sh', process.execPath, cscBin, 'submit', shell(half)];
    const child = spawn('sh', args, {
      env: { ...process.env, ...fleet.environment() },
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let shown = '';
    let asked: Promise<unknown> | undefined;
    child.stdout.on('data', (data: Buffer) => {
      shown += data;
      const id = /execution (\S+):/.exec(shown)?.[1];
      if (!/^half/m.test(shown) || id === undefined) return;
      asked ??= fleet.csc(['cancel', id, '--grace', '20s']);
    });
    await once(child, 'close');
    await asked;
    expect(shown).toMatch(/^half of a line\ncsc: ending it/m);
    expect(shown.indexOf('csc: started')).toBeLessThan(shown.indexOf('half'));
  });

  it('that waits for an approval is ended with csc reject, and no other is', async () => {
    const waiting = file(fleet.contract({ argv: ['true'], proposed_effect_type: 'mutate_repo' }));
    const id = (await fleet.csc(['submit', waiting, '--detach'])).stdout.trim();
    const unsure = await fleet.csc(['reject', id]);
    expect(unsure).toMatchObject({ code: 1, stdout: expect.stringContaining('NEEDS APPROVAL') });
    expect((await fleet.csc(['reject', id, '--yes'])).stderr).toContain('is cancelled');
    const again = await fleet.csc(['reject', id, '--yes']);
    expect(again).toMatchObject({ code: 1, stderr: expect.stringContaining('is cancelled') });
  });

  it('that there is not is an error', async () => {
    const { code, stderr } = await fleet.csc(['get', randomUUID()]);
    expect(code).toBe(1);
    expect(stderr).toContain('csc list');
  });

  it('goes on where nobody reads it any more, and how to come back is said', async () => {
    const contract = shell('echo one; sleep 0.5; yes | head -c 200000; sleep 60');
    const readOneLine = async (...args: string[]) => {
      const line = ['-c', '"$@" | head -n 1', 'sh', process.execPath, cscBin, ...args];
      const child = spawn('sh', line, {
        env: { ...process.env, ...fleet.environment() },
        stdio: ['ignore', 'ignore', 'pipe'],
      });
      let said = '';
      child.stderr.on('data', (data: Buffer) => {
        said += data;
      });
      await once(child, 'close');
      return said;
    };
    const said = await readOneLine('submit', contract);
    const [, id = ''] = /left; it goes on; csc get (\S+) --follow/.exec(said) ?? [];
    expect((await fleet.csc(['cancel', id, '--grace', '0s'])).code).toBe(0);
    await fleet.csc(['get', id, '--follow', '--quiet']);
    expect(await readOneLine('get', id, '--follow')).toContain('csc: left; it has ended\n');
  });

  it('is ended by Ctrl-C, and its receipt still comes', async () => {
    const receipt = join(fleet.directory, 'interrupted.json');
    const args = [
      cscBin,
      'submit',
      shell('trap "exit 9" TERM; echo ready; sleep 60 & wait'),
      '--receipt-out',
      receipt,
    ];
    const child = spawn(process.execPath, args, {
      env: { ...process.env, ...fleet.environment() },
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    await once(child.stdout, 'data');
    // As timeout(1) does it: the process, then its group.
    child.kill('SIGINT');
    child.kill('SIGINT');
    const [code] = await once(child, 'close');
    expect(code).toBe(9);
    expect(JSON.parse(readFileSync(receipt, 'utf8'))).toMatchObject({ status: 'failed', ended: 'cancelled' });
  });
});

// Last: from here on, the gate knows who signs for whom.
describe('who looks at a gate', () => {
  const lines = (text: string) => text.trimEnd().split('\n');

  it('sees what waits and for what, lists, asks and cancels by the beginning of an id', async () => {
    const contract = shell('true');
    const args = ['submit', contract, '--label', 'zone=nowhere', '--detach'];
    const executionId = (await fleet.csc(args)).stdout.trim();
    const status = await fleet.csc(['status']);
    expect(status.code).toBe(0);
    expect(status.stdout).toContain('1 of your executions wait');
    const row = lines(status.stdout).find((line) => line.startsWith(executionId));
    expect(row).toMatch(
      /queued .*no connected executor with the labels zone=nowhere takes what is run under/,
    );
    expect(status.stdout).not.toMatch(/^executor /m);
    const short = executionId.slice(0, 8);
    const { stdout } = await fleet.csc(['get', short, '--json']);
    expect(JSON.parse(stdout)).toMatchObject({ execution_id: executionId, state: 'queued' });
    expect((await fleet.csc(['cancel', short])).stdout).toBe(`${executionId} cancelled\n`);
    const unknown = async (id: string) => (await fleet.csc(['get', id])).stderr;
    expect(await unknown('ffff')).toMatch(
      /there is no such execution, or it is not yours: none that spiffe:\S+ has submitted at this gate begins with ffff/,
    );
    const other = '01970000-0000-7000-8000-000000000000';
    expect(await unknown(other)).toMatch(new RegExp(`none with the id ${other}.*\\n.*csc list shows your`));
    expect(await unknown('fff')).toContain('"fff" is neither an id nor four or more of the first characters');
    expect((await fleet.csc(['list', '--all'])).stderr).toContain('this is for admins');
    const check = await fleet.csc(['check', contract]);
    expect([check.code, check.stdout]).toEqual([0, expect.stringContaining('ALLOW')]);
    expect(check.stderr).toMatch(/by the policy tests \(sha256 [0-9a-f]{64}\)/);
    expect(check.stderr).toMatch(/a host may still refuse: it takes inline code \(commands main\)/);
    expect((await fleet.csc(['check', file(fleet.contract({ argv: ['true'] }))])).stderr).not.toContain(
      'may still refuse',
    );
    const denied = fleet.contract({ argv: ['no-such-command'] });
    expect((await fleet.csc(['check', file(denied), '--json'])).code).toBe(1);
    const profiles = await fleet.csc(['profiles']);
    expect(profiles.stdout).toMatch(
      /^tests \(used where none is named\)\n.*hosts +1 connected, 1 with a free slot/s,
    );
  });

  it('sees the fleet as an admin', async () => {
    const bindings = [{ identity: 'spiffe://csc.local/client/*', policies: ['tests'], roles: ['admin'] }];
    const path = join(fleet.directory, 'bindings.yaml');
    const before = readFileSync(path);
    const reload = async (text: string | Buffer) => {
      const from = fleet.gate.log.length;
      writeFileSync(path, text);
      fleet.gate.child.kill('SIGHUP');
      await fleet.gate.waitFor(/"msg":"reloaded"/, from);
    };
    await reload(JSON.stringify({ bindings_version: 'csc.bindings.v0.2', bindings }));
    try {
      const { stdout } = await fleet.csc(['status']);
      expect(stdout).toMatch(/^gate gate version \S+, up for /);
      expect(stdout).toMatch(
        /\nexecutor host-1 connected\n +slots +0 of \d+ taken\n +labels +arch=x86_64, zone=a\n/,
      );
      expect(stdout).toMatch(/\n +version +\S+, hardened, bubblewrap [\d.]+, limits by /);
      expect(stdout).toMatch(/\n +certificate +\d{4}-\S+Z to \d{4}-\S+Z/);
      expect(stdout).toMatch(/\n +policy +tests [0-9a-f]{64}\n/);
      const [executor] = JSON.parse((await fleet.csc(['status', '--json'])).stdout).executors;
      expect(executor).toMatchObject({ connected: true, labels: { zone: 'a' }, differing: [] });
      expect((await fleet.csc(['list', '--all', '--limit', '1'])).stdout).toContain('PRINCIPAL');
      const prune = await fleet.csc(['admin', 'prune', '--dry-run', '--json']);
      expect(JSON.parse(prune.stdout)).toMatchObject({ dry_run: true, records: 0, receipts: 0 });
      const config = join(fleet.directory, 'executor-host-1.yaml');
      const host = await fleet.csc(['admin', 'prune', '--dry-run', '--executor-config', config]);
      expect(host.stdout).toBe('no receipts are due to go\n');
    } finally {
      await reload(before);
    }
  });
});

describe('csc login', () => {
  const alice = 'spiffe://csc.local/client/alice';

  /** Signs in, and has the gate's owner add what that printed. */
  async function login(args: readonly string[] = [], env: NodeJS.ProcessEnv = {}): Promise<void> {
    const { code, stdout, stderr } = await fleet.csc(['login', ...args], { env });
    expect({ code, stderr }).toMatchObject({ code: 0 });
    const bindings = `bindings_version: csc.bindings.v0.2
bindings:
  - identity: spiffe://csc.local/client/*
    policies: [tests]
${stdout}`;
    fleet.write('bindings.yaml', bindings);
    const from = fleet.gate.log.length;
    fleet.gate.child.kill('SIGHUP');
    await fleet.gate.waitFor(/"msg":"reloaded"/, from);
  }

  const submit = (args: readonly string[] = [], env: NodeJS.ProcessEnv = {}) =>
    fleet.csc(['submit', '--quiet', shell('echo signed'), ...args], { env });
  const ran = { code: 0, stdout: 'signed\n' };

  it('makes a key, with which submissions are signed from then on', async () => {
    const file = join(fleet.directory, 'config/csc/submitter.key');
    expect((await fleet.csc(['login'])).stderr).toContain(file);
    expect(statSync(file).mode & 0o777).toBe(0o600);
    const before = readFileSync(file);
    // By a gate that knows of no submitters, it is passed on.
    expect(await submit()).toMatchObject(ran);
    await login();
    expect(readFileSync(file)).toEqual(before);
    // The policy wants the host named, which is done without anybody noticing.
    const { stdout } = await fleet.csc(['submit', '--json', shell('echo signed')]);
    const types = parseLines(stdout).map(({ type }) => type);
    expect(types.filter((type) => type === 'binding_wanted' || type === 'placed')).toEqual([
      'binding_wanted',
      'placed',
    ]);
    const expecting = expectingFile(['/srv/none/of/it']);
    const missing = await fleet.csc(['submit', expecting, '--require-outputs']);
    expect(missing).toMatchObject({ code: 73, stderr: expect.stringContaining('FAILED — exit code 73') });
    expect((await fleet.csc(['submit', expecting])).code).toBe(0);
    expect(await submit(['--stdout-bytes', '3'])).toMatchObject({ code: 74, stdout: 'sig' });
    const unsigned = await submit(['--unsigned', '--stdout-bytes', '3']);
    expect(unsigned.stderr).toContain('part of a signed submission');
    // Unsigned, the host is not asked for it, and csc itself says no.
    const own = await fleet.csc(['submit', '--unsigned', expecting, '--require-outputs']);
    expect(own).toMatchObject({ code: 73, stderr: expect.stringContaining('SUCCESS') });
    chmodSync(file, 0o640);
    expect((await submit()).stderr).toContain(`chmod 600 ${file}`);
    chmodSync(file, 0o600);
  });

  it('names its host before --detach leaves, or later with get --follow', async () => {
    const detached = await fleet.csc(['submit', '--detach', shell('echo named')]);
    expect(detached).toMatchObject({ code: 0, stderr: expect.stringContaining('its submission must name') });
    const followed = await fleet.csc(['get', detached.stdout.trim(), '--follow', '--quiet']);
    expect(followed).toMatchObject({ code: 0, stdout: 'named\n' });
    // Nobody has a place for it: whoever leaves then has named nothing.
    const go = join(fleet.writable('full'), 'go');
    const wait = fleet.contract({ argv: ['sh', '-c', `echo up; while [ ! -e ${go} ]; do sleep 0.05; done`] });
    const full = [1, 2, 3, 4].map(() => {
      const up = Promise.withResolvers<void>();
      const ended = fleet.connect().run(wait, { handlers: { onStdout: () => up.resolve() } });
      return { up: up.promise, ended };
    });
    await Promise.all(full.map(({ up }) => up));
    const env = { ...process.env, ...fleet.environment() };
    const child = spawn(process.execPath, [cscBin, 'submit', '--detach', shell('echo late')], {
      env,
      stdio: 'pipe',
    });
    const said = { stdout: '', stderr: '' };
    child.stdout.on('data', (data) => {
      said.stdout += data;
    });
    await new Promise<void>((resolve) => {
      child.stderr.on('data', (data) => {
        said.stderr += data;
        if (said.stderr.includes('must name')) resolve();
      });
    });
    child.kill('SIGINT');
    expect(await once(child, 'close')).toEqual([130, null]);
    const id = said.stdout.trim();
    expect(said.stderr).toContain(`csc get ${id} --follow`);
    const late = fleet.csc(['get', id, '--follow', '--quiet']);
    writeFileSync(go, '');
    expect(await late).toMatchObject({ code: 0, stdout: 'late\n' });
    await Promise.all(full.map(({ ended }) => ended));
  });

  it('says so where the login is another one’s, and signs nothing', async () => {
    const { ca, cert, key } = fleet.tls('bob');
    const bob = { CSC_CA: ca, CSC_CERT: cert, CSC_KEY: key };
    const { stderr, code } = await fleet.csc(['submit', shell('true')], { env: bob });
    expect(code).toBe(0);
    expect(stderr).toContain(`NOT SIGNED: the login here is of ${alice}, and you are`);
  });

  it('signs with a key that is there, and with another one than the owners’ is refused', async () => {
    await login();
    await fleet.csc(['keygen', 'mine', '--dir', fleet.directory]);
    const mine = join(fleet.directory, 'mine.key');
    const refused = await submit(['--submitter-key', mine]);
    expect(refused.code).not.toBe(0);
    expect(refused.stderr).toMatch(/not signed with a key .* csc login prints/s);
    expect(await submit(['--unsigned'])).toMatchObject(ran);
    expect(await submit(['--executor', 'host-1'])).toMatchObject(ran);
    const elsewhere = await submit(['--executor', 'host-2', '--timeout-queue', '0']);
    expect(elsewhere.stderr).toContain('host-2, which the submission names');
    await login(['--submitter-key', mine, '--principal', alice]);
    expect(await submit()).toMatchObject(ran);
  });

  it('signs with the SSH agent’s key, which no file here holds', async () => {
    const socket = join(fleet.directory, 'agent.sock');
    const env = { SSH_AUTH_SOCK: socket };
    const agent = spawn('ssh-agent', ['-D', '-a', socket], { stdio: ['ignore', 'pipe', 'inherit'] });
    try {
      await once(agent.stdout, 'data');
      for (const type of ['ecdsa', 'ed25519']) {
        const key = join(fleet.directory, `ssh-${type}`);
        execFileSync('ssh-keygen', ['-q', '-t', type, '-N', '', '-f', key]);
        execFileSync('ssh-add', ['-q', key], { env: { ...process.env, ...env } });
        rmSync(key);
      }
      await login(['--ssh-agent'], env);
      expect(await submit([], env)).toMatchObject(ran);
      const { stderr } = await fleet.csc(['login', '--ssh-agent', 'SHA256:nobody'], { env });
      expect(stderr).toContain('no Ed25519 key with the fingerprint SHA256:nobody: it has SHA256:');
    } finally {
      agent.kill();
    }
  });
});
