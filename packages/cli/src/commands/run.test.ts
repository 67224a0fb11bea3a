import { spawn, spawnSync } from 'node:child_process';
import { randomBytes, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { type CommandContract, contractSha256 } from '@csc-fleet/common/contract';
import { createKeyRing, createSigner, generateKeyPair } from '@csc-fleet/common/crypto';
import { verifyReceiptFor } from '@csc-fleet/common/evidence';
import { ExecutionState, Verdict } from '@csc-fleet/common/messages';
import { makeApproval } from '@csc-fleet/test-kit/approval';
import { sampleContract, samplePolicy } from '@csc-fleet/test-kit/cli/artifacts';
import { csc, cscBin, type Finished, freshCsc } from '@csc-fleet/test-kit/process';
import { createScratch, type Scratch } from '@csc-fleet/test-kit/scratch';
import { describe, expect, it } from 'vitest';
import { runContract } from '../index.ts';

const jobUid = 65534;
const pair = generateKeyPair();

/** A directory with a policy, a signing key, and a workspace that jobs may use. */
function prepare(policy: object = {}) {
  const scratch = createScratch();
  chmodSync(scratch.directory, 0o711);
  const workspace = join(scratch.directory, 'workspace');
  mkdirSync(workspace);
  if (process.getuid?.() === 0) chownSync(workspace, jobUid, jobUid);
  const policyFile = scratch.write('policy.yaml', samplePolicy(workspace, policy));
  const key = scratch.write('key.pem', pair.privatePem);
  scratch.write('key.pub', Buffer.from(pair.publicKey));
  const receipt = join(scratch.directory, 'receipt.json');
  const contractOf = (script: string, overrides: Partial<CommandContract> = {}): CommandContract =>
    sampleContract(
      { exec: { argv: ['sh', '-c', script] }, cwd: workspace, read_paths: [workspace] },
      overrides,
    );
  const args = (contract: CommandContract, more: readonly string[] = []): string[] => [
    ...['run', scratch.write(`${randomUUID()}.json`, contract), policyFile, '--receipt-out', receipt],
    ...['--state-dir', join(scratch.directory, 'state'), ...more],
  ];
  const signed = ['--sign', '--signing-key', key, '--key-id', 'key-1'];
  return {
    scratch,
    workspace,
    contractOf,
    args,
    hardened: ['--mode', 'hardened', '--allow-inline-code', ...signed],
    signed,
    run: (contract: CommandContract, more?: readonly string[]) => csc(args(contract, more)),
    receipt: () => JSON.parse(readFileSync(receipt, 'utf8')),
    hasReceipt: () => existsSync(receipt),
    verify: () => verify(scratch, receipt),
  };
}

function verify({ directory }: Scratch, receipt: string): Promise<Finished> {
  return csc(['verify-receipt', receipt, '--public-key', join(directory, 'key.pub'), '--key-id', 'key-1']);
}

describe('csc run, local', () => {
  it('shows the command’s output as it is and writes an unsigned v0.1 receipt', async () => {
    const { args, contractOf, receipt } = prepare();
    const { code, stdout, stderr } = await freshCsc(args(contractOf('printf out; printf err >&2')));
    expect({ code, stdout }).toEqual({ code: 0, stdout: 'out' });
    expect(stderr).toContain('err');
    expect(stderr).toContain('LOCAL MODE');
    expect(receipt()).toMatchObject({
      receipt_version: 'csc.receipt.v0.1',
      status: 'success',
      execution_mode: 'local',
      exit_code: 0,
      policy_sha256: expect.stringMatching(/^[0-9a-f]{64}$/),
    });
    expect(receipt()).not.toHaveProperty('signature');
    expect(receipt()).not.toHaveProperty('signing_key_id');
  });

  it('ends with 1 however the command fails; the receipt has its exit code', async () => {
    const { run, contractOf, receipt } = prepare();
    expect((await run(contractOf('exit 37'))).code).toBe(1);
    expect(receipt()).toMatchObject({ status: 'failed', exit_code: 37, failed_command_id: 'main' });
  });

  it('writes ./out/receipt.json by default', async () => {
    const { scratch, contractOf } = prepare();
    const contract = scratch.write('contract.json', contractOf('true'));
    const args = ['run', contract, join(scratch.directory, 'policy.yaml')];
    const env = { XDG_STATE_HOME: join(scratch.directory, 'xdg') };
    expect((await csc(args, { cwd: scratch.directory, env })).code).toBe(0);
    expect(existsSync(join(scratch.directory, 'out/receipt.json'))).toBe(true);
    expect(existsSync(join(scratch.directory, 'xdg/csc/journal.sqlite'))).toBe(true);
  });

  it('names the expected outputs that are not there, and fails for them where the policy requires them', async () => {
    const { run, contractOf, receipt, workspace } = prepare();
    const outputs = ['a', 'none', 'd', '*.whl', 'd/'].map((name) => join(workspace, name));
    const contract = contractOf('echo x > a; mkdir -p d; echo y > d/b');
    const expecting = {
      ...contract,
      commands: contract.commands.map((it) => ({ ...it, write_paths: [workspace] })),
      expected_outputs: outputs,
    };
    const old = await run(expecting);
    expect(old.code).toBe(0);
    expect(old.stderr).toContain(
      `WARNING 2 expected outputs are not in the receipt: ${outputs[1]} (missing,`,
    );
    const shown = await run(expecting, ['--receipt-version', 'v0.2', '--quiet']);
    expect(shown.code).toBe(0);
    expect(shown.stderr).toContain(
      `WARNING 3 expected outputs are not in the receipt: ${outputs[1]} (nothing`,
    );
    expect(shown.stderr).toContain(`${outputs[2]} (not a regular file; of a directory say`);
    expect(shown.stderr).toContain(`${outputs[3]} (no file matches it)`);
    expect(receipt().artifacts.map((it: { path: string }) => it.path)).toEqual([
      outputs[0],
      join(workspace, 'd/b'),
    ]);
  });

  it('fails without an expected output where the policy requires them', async () => {
    const { run, contractOf, receipt, workspace } = prepare({
      policy_schema_version: 'csc.policy.v0.2',
      require_outputs: true,
    });
    const expecting = contractOf('true', { expected_outputs: [join(workspace, 'none')] });
    const { code, stderr } = await run(expecting);
    expect(code).toBe(1);
    expect(stderr).toMatch(/FAILED — exit code 73[\s\S]*expected outputs are required and not all there/);
    expect(receipt()).toMatchObject({ status: 'failed', exit_code: 73, completed_command_ids: ['main'] });
    expect((await run({ ...expecting, expected_outputs: [] })).code).toBe(0);
  });

  it('keeps as much output as it is told to', async () => {
    const { run, contractOf, receipt } = prepare();
    const less = await run(contractOf('printf 0123456789'), ['--stdout-bytes', '4']);
    expect(less).toMatchObject({ code: 0, stdout: '0123' });
    expect(less.stderr).toContain('WARNING stdout was cut after 4 bytes');
    await run(contractOf('true'), ['--stdout-bytes', '50M', '--receipt-version', 'v0.2']);
    const limit = { name: 'stdout_bytes', value: 50 * 1024 ** 2, mechanism: 'spool' };
    expect(receipt().sandbox.limits).toContainEqual(limit);
    expect((await run(contractOf('true'), ['--stdout-bytes', '5x'])).code).toBe(64);
  });

  it('signs where it is told to', async () => {
    const { run, contractOf, signed, verify: verified } = prepare();
    expect((await run(contractOf('true'), signed)).code).toBe(0);
    expect((await verified()).code).toBe(0);
  });

  it('prints JSON lines that end with the result', async () => {
    const { run, contractOf } = prepare();
    const { code, stdout, stderr } = await run(contractOf('echo hi'), ['--json']);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    const lines = stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(lines).toContainEqual(expect.objectContaining({ type: 'output', stream: 'stdout', text: 'hi\n' }));
    expect(lines.at(-1)).toMatchObject({
      type: 'result',
      state: 'succeeded',
      receipt: { status: 'success' },
    });
  });
});

describe('csc run, hardened', () => {
  it('runs in a sandbox and writes a signed receipt', async () => {
    const { args, contractOf, hardened, receipt, verify: verified, scratch } = prepare();
    const script = `cat ${join(scratch.directory, 'key.pem')}; id -u; echo done`;
    const { code, stdout } = await freshCsc(args(contractOf(script), hardened));
    expect(code).toBe(0);
    expect(stdout).toBe('1000\ndone\n');
    expect(receipt()).toMatchObject({
      status: 'success',
      execution_mode: 'hardened',
      signing_key_id: 'key-1',
    });
    expect((await verified()).stdout).toMatch(/^VALID/);
  });

  it('says what the sandbox was in a v0.2 receipt', async () => {
    const { run, contractOf, hardened, receipt } = prepare();
    await run(contractOf('true'), [...hardened, '--receipt-version', 'v0.2']);
    expect(receipt()).toMatchObject({
      receipt_version: 'csc.receipt.v0.2',
      sandbox: { mechanism: 'bubblewrap' },
      commands: [{ command_id: 'main', ended: 'exit', exit_code: 0 }],
    });
  });

  it.each<[string, string | Buffer]>([
    ['a 32-byte seed', Buffer.from(pair.seed)],
    ['64 bytes', Buffer.concat([pair.seed, pair.publicKey])],
    ['PKCS#8 PEM', pair.privatePem],
  ])('takes a key of %s', async (_, key) => {
    const { run, contractOf, scratch, verify: verified } = prepare();
    const file = scratch.write('other.key', key);
    const options = [
      '--mode',
      'hardened',
      '--allow-inline-code',
      '--sign',
      '--signing-key',
      file,
      '--key-id',
      'key-1',
    ];
    expect((await run(contractOf('true'), options)).code).toBe(0);
    expect((await verified()).code).toBe(0);
  });

  it('warns of a key that others may read, and uses it', async () => {
    const { run, contractOf, hardened, scratch } = prepare();
    chmodSync(join(scratch.directory, 'key.pem'), 0o644);
    const { code, stderr } = await run(contractOf('true'), hardened);
    expect(code).toBe(0);
    expect(stderr).toContain('chmod 600');
  });

  it('says of a public key that it is one, and not that it is to be hidden', async () => {
    const { scratch, contractOf, run } = prepare();
    const key = scratch.write('me.pub', pair.publicPem);
    chmodSync(key, 0o644);
    const { code, stderr } = await run(contractOf('true'), ['--sign', '--signing-key', key, '--key-id', 'k']);
    expect({ code, stderr }).toEqual({
      code: 1,
      stderr: `ERROR — ${key} was refused\n  is a public key: name the private one\n`,
    });
  });

  it.each([
    ['hardened without --sign', ['--mode', 'hardened']],
    ['--sign without a key', ['--sign']],
    ['--sign without a key id', ['--sign', '--signing-key', 'key.pem']],
    ['a key without --sign', ['--signing-key', 'key.pem', '--key-id', 'k']],
    ['a key that is none', ['--sign', '--signing-key', 'policy.yaml', '--key-id', 'k']],
    ['a key that is not there', ['--sign', '--signing-key', 'none', '--key-id', 'k']],
    ['--sandbox-debug in local mode', ['--sandbox-debug']],
  ])('refuses %s with 1 and runs nothing', async (_, options) => {
    const { scratch, args, contractOf, workspace, hasReceipt } = prepare();
    const contract = contractOf(`touch ${workspace}/ran`);
    const { code, stdout, stderr } = await csc(args(contract, options), { cwd: scratch.directory });
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
    expect(stderr).toMatch(/^ERROR — /m);
    expect(hasReceipt()).toBe(false);
    expect(readdirSync(workspace)).toEqual([]);
  });

  it('--sandbox-debug prints what bwrap would be told and runs nothing', async () => {
    const { run, contractOf, hardened, hasReceipt } = prepare();
    const { code, stdout, stderr } = await run(contractOf('echo ran'), [...hardened, '--sandbox-debug']);
    expect({ code, stdout }).toEqual({ code: 0, stdout: '' });
    expect(stderr).toContain('"--unshare-net"');
    expect(stderr).toContain('"echo ran"');
    expect(hasReceipt()).toBe(false);
  });

  it('is refused with a reason and a receipt where the host has not what was declared', async () => {
    const { run, contractOf, hardened, receipt, workspace, verify: verified } = prepare();
    const contract = contractOf('true');
    contract.commands[0]?.read_paths.push(`${workspace}/not-there`);
    const { code, stderr } = await run(contract, hardened);
    expect(code).toBe(1);
    expect(stderr).toContain('not-there');
    expect(receipt()).toMatchObject({ status: 'blocked' });
    expect((await verified()).code).toBe(0);
  });
});

// It takes root to have mounts of cgroups that are read-only for one process alone.
describe.runIf(process.getuid?.() === 0)('csc run, without cgroups', () => {
  const readOnly = `for mount in $(awk '$3 ~ /^cgroup/ { print $2 }' /proc/mounts); do
    mount -o remount,bind,ro "$mount"; done; exec "$@"`;
  const runThere = (argv: readonly string[]) =>
    spawnSync('unshare', ['-m', 'sh', '-c', readOnly, 'sh', process.execPath, cscBin, ...argv], {
      encoding: 'utf8',
    });

  it('says before anything is begun why there are none, and what to do', () => {
    const { args, hardened, contractOf, hasReceipt } = prepare();
    const { status, stderr } = runThere(args(contractOf('true'), hardened));
    expect({ status, receipt: hasReceipt() }).toEqual({ status: 1, receipt: false });
    expect(stderr).toContain('is on a read-only mount');
    expect(stderr).toContain('accept_rlimits_only');
  });

  it('does without where it is told to, and its receipt says so', () => {
    const { args, hardened, contractOf, receipt } = prepare();
    const more = [...hardened, '--accept-rlimits-only', '--receipt-version', 'v0.2'];
    const { status, stderr } = runThere(args(contractOf('true'), more));
    expect({ status, stderr }).toMatchObject({ status: 0 });
    expect(receipt()).toMatchObject({ status: 'success', sandbox: { cgroup: 'none' } });
  });
});

describe('csc run, not allowed', () => {
  it('writes a signed blocked receipt for a denial', async () => {
    const { run, contractOf, hardened, receipt, verify: verified } = prepare({ allow_commands: ['true'] });
    const { code, stdout } = await run(contractOf('true'), hardened);
    expect(code).toBe(1);
    expect(stdout).toMatch(/^DENY — /);
    expect(receipt()).toMatchObject({
      receipt_version: 'csc.receipt.v0.1',
      status: 'blocked',
      execution_mode: 'hardened',
      policy_schema_version: 'csc.policy.v0.1',
      signing_key_id: 'key-1',
    });
    expect((await verified()).code).toBe(0);
  });

  it('ends with 2 where an approval is needed, with a blocked receipt and the hash to sign off', async () => {
    const { run, contractOf, receipt } = prepare();
    const contract = contractOf('true', { approval_mode: 'human_required' });
    const { code, stdout } = await run(contract);
    expect(code).toBe(2);
    expect(stdout).toMatch(/^NEEDS APPROVAL — /);
    expect(stdout).toContain(contractSha256(contract));
    expect(receipt()).toMatchObject({ status: 'blocked', execution_mode: 'local' });
    expect(receipt()).not.toHaveProperty('signature');
  });

  it('ends where its state directory cannot be made', async () => {
    const { run, contractOf } = prepare();
    const { code, stderr } = await run(contractOf('true'), ['--state-dir', '/proc/nowhere/x']);
    expect(code).not.toBe(0);
    expect(stderr).toContain('no directory can be made there');
  });

  it('takes one approval for two people’s, as the reference does, and says so', async () => {
    const { run, contractOf, scratch } = prepare();
    const contract = contractOf('true', { approval_mode: 'dual_control_required' });
    const approval = scratch.write('approval.json', makeApproval(contract));
    const { code, stderr } = await run(contract, ['--approval', approval]);
    expect(stderr).toContain('WARNING approval_mode is dual_control_required');
    expect(code).toBe(0);
  });

  it('runs with an approval once, and remembers that in another process', async () => {
    const { run, args, contractOf, receipt, scratch } = prepare();
    const contract = contractOf('true', { approval_mode: 'human_required' });
    const approval = scratch.write('approval.json', makeApproval(contract));
    expect((await run(contract, ['--approval', approval])).code).toBe(0);
    expect(receipt()).toMatchObject({ status: 'success' });
    const again = await freshCsc(args(contract, ['--approval', approval]));
    expect(again.code).toBe(1);
    expect(receipt()).toMatchObject({ status: 'blocked', error: expect.stringContaining('used up') });
  });

  it.each([
    ['for another contract', { contract_sha256: 'a'.repeat(64) }],
    ['that has expired', { approved_at: '2020-01-01T00:00:00Z', expires_at: '2020-01-02T00:00:00Z' }],
    ['with an unknown member', { extra: true }],
  ])('does not count an approval %s', async (_, overrides) => {
    const { run, contractOf, receipt, scratch } = prepare();
    const contract = contractOf('true', { approval_mode: 'human_required' });
    const approval = scratch.write('approval.json', { ...makeApproval(contract), ...overrides });
    const { code, stderr } = await run(contract, ['--approval', approval]);
    expect(code).toBe(1);
    expect(stderr).toMatch(/^ERROR — /m);
    expect(receipt()).toMatchObject({ status: 'blocked' });
  });

  it('runs nothing where its receipt could not be written', async () => {
    const { scratch, contractOf, args, workspace } = prepare();
    const file = scratch.write('a-file', '');
    for (const [out, why] of [
      [join(file, 'receipt.json'), 'is no directory'],
      [join(file, 'more/receipt.json'), 'is no directory'],
      ['/proc/receipt.json', 'cannot be written: '],
      [workspace, 'is a directory: name a file'],
    ] as const) {
      const { code, stdout, stderr } = await csc(args(contractOf('touch ran'), ['--receipt-out', out]));
      expect([code, stdout]).toEqual([1, '']);
      expect(stderr).toMatch(new RegExp(`^ERROR — .*--receipt-out ${out}.*${why}`));
      expect(stderr).not.toContain('CSC_DEBUG');
    }
    expect(readdirSync(workspace)).toEqual([]);
  });

  it('ends with 1 for a contract that is none, and 64 for a mode that is none', async () => {
    const { scratch, contractOf, args } = prepare();
    const bad = scratch.write('bad.json', '{"not":"a contract"}');
    const { code, stdout, stderr } = await csc(['run', bad, join(scratch.directory, 'policy.yaml')]);
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
    expect(stderr).toMatch(/^ERROR — /);
    expect((await csc(args(contractOf('true'), ['--mode', 'soft']))).code).toBe(64);
  });
});

describe('csc run, whose job could change what csc believes later', () => {
  it('is refused: no approval counts again because its job has moved the state directory away', async () => {
    const { run, contractOf, hardened, scratch, workspace } = prepare();
    const contract = sampleForWriting(
      contractOf('mv state used', { approval_mode: 'human_required' }),
      workspace,
    );
    const approval = ['--approval', scratch.write('approval.json', makeApproval(contract))];
    const more = [...hardened, ...approval, '--state-dir', join(workspace, 'state')];
    const finished = [await run(contract, more), await run(contract, more)];
    expect(finished.map(({ code }) => code)).toEqual([1, 1]);
    for (const { stderr } of finished) expect(stderr).toContain('the state directory');
  });

  it.each([
    ['XDG_STATE_HOME', 'the state directory of csc'],
    ['XDG_CONFIG_HOME', 'the config directory of csc'],
    ['XDG_CACHE_HOME', 'the cache directory of csc'],
  ])('is refused what is below %s, which it has not even been given', async (variable, name) => {
    const { args, contractOf, hardened, workspace } = prepare();
    const contract = sampleForWriting(contractOf('true'), workspace);
    const env = { [variable]: join(workspace, 'home') };
    const { code, stderr } = await csc(args(contract, hardened), { env });
    expect(code).toBe(1);
    expect(stderr).toContain(name);
  });

  it('is refused the usual places as well, where the environment names others for this one call', async () => {
    const { args, contractOf, hardened, scratch, workspace } = prepare();
    const contract = sampleForWriting(contractOf('true'), join(workspace, 'home/.local'));
    const env = { HOME: join(workspace, 'home'), XDG_STATE_HOME: join(scratch.directory, 'elsewhere') };
    const { code, stderr } = await csc(args(contract, hardened), { env });
    expect(code).toBe(1);
    expect(stderr).toContain('the state directory of csc');
  });

  it('finds neither the key of its receipt nor the state directory, where it may read all around them', async () => {
    const { args, hardened, scratch, workspace } = prepare({ allowed_read_prefixes: ['/'] });
    // Were it for its mode alone, the job could read them, whichever user it is.
    for (const name of ['key.pub', 'key.pem']) chmodSync(join(scratch.directory, name), 0o644);
    const script =
      'for f in ../key.pub ../key.pem; do test -r $f && echo $f; done; ls -d ../state; ls -A ../state';
    const read = { cwd: workspace, read_paths: [scratch.directory] };
    const contract = sampleContract({ exec: { argv: ['sh', '-c', script] }, ...read });
    const { code, stdout, stderr } = await csc(args(contract, hardened));
    expect({ code, stdout }).toEqual({ code: 0, stdout: '../key.pub\n../state\n' });
    expect(stderr).toContain('--signing-key');
  });

  it('is shown all of the directory it runs in where its key comes by standard input, which is no file there', async () => {
    const { args, contractOf, hardened, workspace } = prepare();
    for (let index = 0; index <= 256; index += 1) writeFileSync(join(workspace, `f${index}`), '');
    const options = hardened.map((it) => (it.endsWith('key.pem') ? '-' : it));
    const given = { cwd: workspace, input: pair.privatePem };
    const { code, stdout, stderr } = await csc(args(contractOf('ls | wc -l'), options), given);
    expect({ code, stdout, stderr }).toMatchObject({ code: 0, stdout: '257\n' });
    expect(stderr).not.toContain('keeps to itself');
  });

  const sampleForWriting = (contract: CommandContract, path: string): CommandContract => ({
    ...contract,
    commands: contract.commands.map((it) => ({ ...it, write_paths: [path] })),
  });
});

describe('csc run, cut short', () => {
  function start(args: readonly string[]) {
    const child = spawn(process.execPath, [cscBin, ...args], { stdio: ['ignore', 'pipe', 'ignore'] });
    return { child, output: once(child.stdout, 'data'), ended: once(child, 'close') };
  }

  it('is ended by Ctrl-C and says so in its receipt', async () => {
    const { args, contractOf, hardened, receipt } = prepare();
    const contract = contractOf('trap "exit 9" TERM; echo ready; sleep 50 & wait');
    const { child, output, ended } = start(args(contract, [...hardened, '--receipt-version', 'v0.2']));
    await output;
    child.kill('SIGINT');
    expect(await ended).toEqual([1, null]);
    expect(receipt()).toMatchObject({ status: 'failed', ended: 'cancelled', exit_code: 9 });
  });

  it('gets the receipt of a run that was killed from the next one', async () => {
    const { args, contractOf, hardened, scratch, run, receipt } = prepare();
    const options = [...hardened, '--receipt-version', 'v0.2'];
    const { child, output, ended } = start(args(contractOf('echo ready; sleep 50'), options));
    await output;
    child.kill('SIGKILL');
    await ended;
    const next = await run(contractOf('true'), options);
    expect(next.code).toBe(0);
    expect(receipt()).toMatchObject({ status: 'success' });
    const state = join(scratch.directory, 'state');
    const [kept] = readdirSync(state).filter((name) => name.startsWith('receipt-'));
    const restart = JSON.parse(readFileSync(join(state, kept ?? 'none'), 'utf8'));
    expect(restart).toMatchObject({ status: 'failed', ended: 'executor_restart' });
    expect((await verify(scratch, join(state, kept ?? 'none'))).code).toBe(0);
    expect((await run(contractOf('true'), options)).stderr).not.toContain('cut off');
  });

  it('goes side by side with others on one state directory', async () => {
    const { args, contractOf, hardened, scratch } = prepare();
    const runs = await Promise.all(
      ['a', 'b', 'c'].map((name) => {
        const out = join(scratch.directory, `${name}.json`);
        return freshCsc([...args(contractOf(`echo ${name}`), hardened), '--receipt-out', out]);
      }),
    );
    expect(runs.map(({ code, stdout }) => [code, stdout])).toEqual([
      [0, 'a\n'],
      [0, 'b\n'],
      [0, 'c\n'],
    ]);
    for (const name of ['a', 'b', 'c']) {
      expect((await verify(scratch, join(scratch.directory, `${name}.json`))).code).toBe(0);
    }
  });
});

describe('runContract', () => {
  /** Options for a run without a sandbox, with what it says gathered. */
  function library(policy: object = {}) {
    const { scratch, contractOf, workspace } = prepare(policy);
    const signer = createSigner(randomBytes(32), 'library');
    const heard: string[] = [];
    const options = {
      policy: readFileSync(join(scratch.directory, 'policy.yaml')),
      stateDir: join(scratch.directory, 'state'),
      mode: 'local',
      signer,
      handlers: { onStdout: (data: Buffer) => void heard.push(data.toString()) },
    } as const;
    const keys = createKeyRing([{ keyId: signer.keyId, publicKey: signer.publicKey }]);
    return { contractOf, workspace, options, keys, heard };
  }

  it('gives what the receipt says, and the receipt', async () => {
    const { contractOf, options, keys, heard } = library();
    const contract = contractOf('echo out; exit 3');
    const result = await runContract(contract, options);
    expect(heard).toEqual(['out\n']);
    expect(result).toMatchObject({ exitCode: 3, withheld: undefined, decision: { verdict: Verdict.ALLOW } });
    expect(result.execution.state).toBe(ExecutionState.FAILED);
    const expected = { contractSha256: contractSha256(contract), executionId: result.executionId };
    expect(verifyReceiptFor(expected, result.receiptJson, keys).receipt).toEqual(result.receipt);
    expect(result.receipt.receipt_version).toBe('csc.receipt.v0.2');
  });

  it('withholds what is denied or lacks an approval, with a signed receipt that nothing ran', async () => {
    const { contractOf, options, keys, heard } = library({ allow_commands: ['true'] });
    const denied = await runContract(contractOf('echo never'), options);
    expect(denied).toMatchObject({ exitCode: 1, withheld: { reason: 'denied' } });
    const asking = library();
    const contract = asking.contractOf('echo never', { approval_mode: 'human_required' });
    const missing = await runContract(contract, { ...options, policy: asking.options.policy });
    expect(missing.withheld).toEqual({ reason: 'needs_approval', error: undefined });
    const approvals = [JSON.stringify(makeApproval(contract, { contract_sha256: 'f'.repeat(64) }))];
    const refused = await runContract(contract, { ...options, policy: asking.options.policy, approvals });
    expect(refused.withheld).toMatchObject({
      reason: 'approval_invalid',
      error: { code: 'APPROVAL_INVALID' },
    });
    for (const { receiptJson } of [denied, missing, refused]) {
      expect(verifyReceiptFor({}, receiptJson, keys).receipt).toMatchObject({ status: 'blocked' });
    }
    expect(heard).toEqual([]);
  });

  it('resolves with the receipt of what an abort has ended', async () => {
    const { contractOf, options } = library();
    const stop = new AbortController();
    const onStdout = (): void => stop.abort();
    const contract = contractOf('echo begun; exec sleep 60');
    const { execution, receipt } = await runContract(contract, {
      ...options,
      handlers: { onStdout },
      signal: stop.signal,
    });
    expect(execution.state).toBe(ExecutionState.CANCELLED);
    expect(receipt).toMatchObject({ status: 'failed', ended: 'cancelled' });
  });

  it('kills what ignores an abort', async () => {
    const { contractOf, options } = library();
    const [stop, kill] = [new AbortController(), new AbortController()];
    const onStdout = (data: Buffer): void => (data.includes('still') ? kill : stop).abort();
    const contract = contractOf('trap "echo still" TERM; echo begun; while :; do sleep 60 & wait; done');
    const { receipt } = await runContract(contract, {
      ...options,
      handlers: { onStdout },
      signal: stop.signal,
      killSignal: kill.signal,
    });
    expect(receipt).toMatchObject({
      status: 'failed',
      ended: 'cancelled',
      commands: [{ signal: 'SIGKILL' }],
    });
  });

  it('rejects with a CscError: before it has begun, and for what cannot be read', async () => {
    const { contractOf, options } = library();
    const codeOf = (run: Promise<unknown>): Promise<unknown> => run.catch(({ code }) => code);
    const contract = contractOf('true');
    expect(await codeOf(runContract(contract, { ...options, signal: AbortSignal.abort() }))).toBe(
      'CANCELLED',
    );
    expect(await codeOf(runContract('{}', options))).toBe('CONTRACT_INVALID');
    expect(await codeOf(runContract(contract, { ...options, policy: 'policy: 1' }))).toBe('POLICY_INVALID');
    const onStdout = (): never => {
      throw new Error('no paper');
    };
    const broken = runContract(contractOf('echo x'), { ...options, handlers: { onStdout } });
    await expect(broken).rejects.toMatchObject({ code: 'INTERNAL', cause: { message: 'no paper' } });
  });
});
