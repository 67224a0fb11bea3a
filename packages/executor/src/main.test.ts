import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { generateKeyPair, toKeyRingJson } from '@csc-fleet/common/crypto';
import { createDevelopmentPki } from '@csc-fleet/common/pki';
import { makeContract, shell } from '@csc-fleet/test-kit/contract';
import { type GrpcGate, startGrpcGate } from '@csc-fleet/test-kit/executor/grpc-gate';
import { ScriptedGate } from '@csc-fleet/test-kit/executor/scripted-gate';
import { makePolicy, makeTestDirectory, policyText } from '@csc-fleet/test-kit/executor/workbench';
import { programFile } from '@csc-fleet/test-kit/programs';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { runExecutor } from './main.ts';

let root: string;
let workspace: string;
let gate: ScriptedGate;
let server: GrpcGate;
const children: ChildProcess[] = [];

beforeEach(async () => {
  root = makeTestDirectory();
  workspace = join(root, 'workspace');
  mkdirSync(join(workspace, 'out'), { recursive: true });
  chmodSync(join(workspace, 'out'), 0o777);
  await createDevelopmentPki(join(root, 'pki'), { executors: ['executor-1'], clients: ['agent'] });
  gate = new ScriptedGate();
  writeFileSync(join(root, 'gate-keys.json'), toKeyRingJson(gate.keys.entries()));
  mkdirSync(join(root, 'policies'));
  writeFileSync(join(root, 'policies/test.yaml'), policyText(workspace));
  server = await startGrpcGate(gate, join(root, 'pki'));
});

afterEach(() => {
  for (const child of children.splice(0)) child.kill('SIGKILL');
  server.stop();
  rmSync(root, { recursive: true });
});

function writeConfig(changes: Record<string, unknown> = {}): string {
  const config = {
    gate: { address: server.address },
    tls: { ca: 'pki/ca.pem', cert: 'pki/executor-executor-1.pem', key: 'pki/executor-executor-1.key' },
    trusted_gate_keys: 'gate-keys.json',
    policies: 'policies',
    state_dir: 'state',
    ceiling: { inline_code: true },
    execution_mode: 'local',
    run_as: 'auto',
    ...changes,
  };
  const path = join(root, 'executor.yaml');
  // JSON is YAML.
  writeFileSync(path, JSON.stringify(config));
  return path;
}

/** Runs an executor in a process of its own. */
function startProcess(configPath: string) {
  const child = spawn(process.execPath, [programFile('run-executor'), configPath], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  children.push(child);
  let log = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    log += text;
  });
  const exited = once(child, 'close').then(([code]) => Number(code));
  return { child, exited, log: () => log };
}

const hellos = () => gate.all('hello').length;
const offer = (script: string) => {
  const contract = makeContract(workspace, [{ argv: shell(script), write_paths: [join(workspace, 'out')] }]);
  return gate.offer(contract, makePolicy(workspace));
};

describe('checking a config', () => {
  const check = (changes: Record<string, unknown> = {}) =>
    runExecutor(writeConfig(changes), { checkOnly: true });

  it.each(['local', 'hardened'])('passes a good one, mode %s, and leaves nothing', async (execution_mode) => {
    expect(
      await check({ execution_mode, executor_id: 'executor-1', ceiling: { path_roots: ['/usr'] } }),
    ).toEqual([]);
    expect(existsSync(join(root, 'state'))).toBe(false);
    expect(hellos()).toBe(0);
  });

  it.each([
    ['an executor_id that is not the certificate’s', { executor_id: 'executor-2' }, 'CONFIG_INVALID'],
    [
      'a client’s certificate',
      { tls: { ca: 'pki/ca.pem', cert: 'pki/client-agent.pem', key: 'pki/client-agent.key' } },
      'CONFIG_INVALID',
    ],
    [
      'a key that is not the certificate’s',
      { tls: { ca: 'pki/ca.pem', cert: 'pki/executor-executor-1.pem', key: 'pki/client-agent.key' } },
      'CONFIG_INVALID',
    ],
    [
      'no certificate',
      { tls: { ca: 'pki/ca.pem', cert: 'pki/none.pem', key: 'pki/none.key' } },
      'FILE_UNREADABLE',
    ],
    ['no key ring', { trusted_gate_keys: 'none.json' }, 'FILE_UNREADABLE'],
    ['no signing key', { signing_key: 'none.pem' }, 'FILE_UNREADABLE'],
    ['no policies', { policies: 'none' }, 'FILE_UNREADABLE'],
    ['a state directory that nobody can make', { state_dir: '/proc/nowhere/x' }, 'FILE_UNWRITABLE'],
    ['no directory of secrets', { secrets: { directory: 'none' } }, 'CONFIG_INVALID', 'secrets: '],
    [
      'a Vault that nobody answers for',
      { secrets: { vault: { address: 'http://127.0.0.1:9', token_file: 'token' } } },
      'SANDBOX_UNAVAILABLE',
    ],
    ['no receipt certificate', { signing_key: 'good.pem', receipt_certificate: 'none' }, 'FILE_UNREADABLE'],
    [
      'a user that jobs cannot run as',
      { execution_mode: 'hardened', run_as: { user: 'root' } },
      'CONFIG_INVALID',
      'run_as',
    ],
  ])('refuses %s', async (_name, changes, code, member = '') => {
    for (const [name, text] of [
      ['token', 'hvs.token'],
      ['good.pem', generateKeyPair().privatePem],
    ] as const)
      writeFileSync(join(root, name), text, { mode: 0o600 });
    await expect(check(changes)).rejects.toMatchObject({
      code,
      message: expect.stringMatching(new RegExp(`^${member}`)),
    });
  });

  it('refuses to be root without being told whom jobs run as', async () => {
    const refused = await check({ execution_mode: 'hardened', run_as: undefined }).catch(
      ({ message }) => message,
    );
    if (process.getuid?.() === 0) expect(refused).toContain('run_as: auto');
    else expect(refused).toBeUndefined();
  });

  it('refuses a signing key that others may read', async () => {
    writeFileSync(join(root, 'open.pem'), generateKeyPair().privatePem);
    chmodSync(join(root, 'open.pem'), 0o644);
    await expect(check({ signing_key: 'open.pem' })).rejects.toMatchObject({ code: 'KEY_INVALID' });
  });
});

describe('a running executor', () => {
  it('drains at SIGTERM: what runs ends, is delivered, and the process is gone', async () => {
    const executor = startProcess(writeConfig());
    await expect.poll(hellos).toBe(1);
    const executionId = offer('echo begun; while [ ! -e out/go ]; do sleep 0.02; done; echo whole');
    await gate.output.holds(executionId, 1);
    executor.child.kill('SIGTERM');
    await untilDraining();
    writeFileSync(join(workspace, 'out/go'), '');
    expect((await gate.receipt(executionId)).status).toBe('success');
    expect(await executor.exited).toBe(0);
    expect(gate.output.text(executionId)).toBe('begun\nwhole\n');
    const lines = executor
      .log()
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(lines.length).toBeGreaterThan(2);
    expect(executor.log()).toContain('LOCAL MODE');
  });

  it('ends what runs at the second signal, with its receipt', async () => {
    const executor = startProcess(writeConfig());
    await expect.poll(hellos).toBe(1);
    const executionId = offer('trap "" TERM; echo begun; while :; do sleep 0.05; done');
    await gate.output.holds(executionId, 1);
    executor.child.kill('SIGTERM');
    await untilDraining();
    executor.child.kill('SIGTERM');
    expect(await gate.receipt(executionId)).toMatchObject({ status: 'failed', ended: 'cancelled' });
    expect(await executor.exited).toBe(0);
  });

  it('is the only one of its state directory', async () => {
    const path = writeConfig();
    startProcess(path);
    await expect.poll(hellos).toBe(1);
    const second = startProcess(path);
    expect(await second.exited).toBe(1);
    expect(second.log()).toContain('CONFIG_INVALID');
  });

  it('does not keep its state where others can read it', async () => {
    mkdirSync(join(root, 'state'), { mode: 0o755 });
    const executor = startProcess(writeConfig());
    expect(await executor.exited).toBe(1);
    expect(executor.log()).toContain('CONFIG_INVALID');
  });
});

/** Offers until the executor has noticed that it is to drain. */
async function untilDraining(): Promise<void> {
  await expect
    .poll(async () => {
      const executionId = offer('true');
      const ended = await Promise.race([
        gate.next('refused', executionId),
        gate.next('receipt', executionId),
      ]);
      return 'reason' in ended ? ended.reason : 'ran';
    })
    .toBe('DRAINING');
}
