import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { contractSha256 } from '@csc-fleet/common/contract';
import { createSigner, generateKeyPair } from '@csc-fleet/common/crypto';
import { ownersKeyId, signResolution } from '@csc-fleet/common/evidence';
import { ExecutionState, ExecutorStatus } from '@csc-fleet/common/messages';
import { createDevelopmentPki } from '@csc-fleet/common/pki';
import { readServerCredentials } from '@csc-fleet/common/rpc';
import { sampleContract } from '@csc-fleet/test-kit/cli/artifacts';
import type { Script } from '@csc-fleet/test-kit/client/scripted-execution';
import { ScriptedGate } from '@csc-fleet/test-kit/client/scripted-gate';
import { csc, type Finished } from '@csc-fleet/test-kit/process';
import { createScratch } from '@csc-fleet/test-kit/scratch';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';

const pki = mkdtempSync(join(tmpdir(), 'csc-hostile-'));
beforeAll(() => createDevelopmentPki(pki, { clients: ['alice'] }));
afterAll(() => rmSync(pki, { recursive: true, force: true }));

/** A gate with the genuine certificate that lies as the script says. */
async function hostile(script: Partial<Script> = {}): Promise<ScriptedGate> {
  const file = (name: string) => join(pki, name);
  const tls = readServerCredentials({ ca: file('ca.pem'), cert: file('gate.pem'), key: file('gate.key') });
  const gate = new ScriptedGate({ contractSha256: contractSha256(sampleContract()), ...script });
  onTestFinished(() => gate[Symbol.asyncDispose]());
  return gate.listen(tls);
}

const failed = { status: 'failed', exit_code: 3, failed_command_id: 'main' };
const lie = { state: ExecutionState.SUCCEEDED, exitCode: 0, endedAt: new Date() };

function prepare() {
  const scratch = createScratch();
  const contract = scratch.write('contract.json', sampleContract());
  const home = join(scratch.directory, 'state');
  const call = (gate: ScriptedGate, args: readonly string[]): Promise<Finished> =>
    csc([...args, '--gate', gate.connectOptions.address, '--pki', pki, '--as', 'alice'], {
      env: { XDG_STATE_HOME: home },
    });
  return {
    scratch,
    home,
    submit: (gate: ScriptedGate, ...more: string[]) => call(gate, ['submit', contract, ...more]),
    call,
  };
}

it('names the clients that there are where --as names none of them', async () => {
  const { code, stderr } = await csc(['list', '--gate', '127.0.0.1:1', '--pki', pki, '--as', 'bob']);
  expect({ code, stderr }).toEqual({
    code: 78,
    stderr: expect.stringContaining('has no client bob, but alice;'),
  });
});

it.each([
  ['is not there', join(pki, 'nopki')],
  ['is no directory', join(pki, 'ca.pem')],
])('says of a --pki that %s that it is none', async (why, named) => {
  const { stderr } = await csc(['list', '--gate', '127.0.0.1:1', '--pki', named, '--as', 'alice']);
  expect(stderr).toBe(`ERROR — --pki: the directory ${named} ${why}\n`);
});

describe('csc against a hostile gate', () => {
  it('status shows what an executor is said to be in one line each, with nothing that speaks to a terminal', async () => {
    const { call } = prepare();
    const gate = await hostile();
    const hidden = '\u001b[8mhidden\u001b[0m\u001b[2J\u200b';
    const told = { labels: { pool: hidden }, version: hidden, policies: [{ name: hidden, sha256: '00' }] };
    gate.executors.push(ExecutorStatus.fromPartial({ identity: 'spiffe://csc.local/executor/e', ...told }));
    const { code, stdout } = await call(gate, ['status']);
    expect(code).toBe(0);
    expect(stdout).not.toMatch(/[\u001b\u200b]/);
    expect(stdout.match(/\\u001b\[8mhidden/g)).toHaveLength(3);
  });

  it('submit ends with the receipt’s exit code, and says that the gate said otherwise', async () => {
    const { submit, call } = prepare();
    const receipt = { ...failed, completed_command_ids: [], ...withCommand({ exit_code: 3 }) };
    const gate = await hostile({ told: lie, receipt });
    const { code, stderr } = await submit(gate);
    expect(code).toBe(3);
    expect(stderr).toMatch(/WARNING — the gate said succeeded with exit code 0/);
    expect(stderr).toMatch(/FAILED — exit code 3 on host-1/);
    const json = await submit(gate, '--json');
    const result = JSON.parse(json.stdout.trim().split('\n').at(-1) ?? '');
    expect(result).toMatchObject({ state: 'failed', exit_code: 3, gate_said: 'succeeded with exit code 0' });
    const got = await call(gate, ['get', 'exec-1']);
    expect(got.stdout).toMatch(/^state +failed$/m);
    expect(got.stderr).toContain('WARNING');
  });

  it('no receipt is no success, with a quiet csc, too', async () => {
    const { submit } = prepare();
    const gate = await hostile({ told: lie, receiptJson: Buffer.alloc(0) });
    const { code, stderr } = await submit(gate, '--quiet');
    expect(code).toBe(1);
    expect(stderr).toContain('has no receipt that proves it');
    const json = await submit(gate, '--json');
    expect(JSON.parse(json.stdout.trim().split('\n').at(-1) ?? '')).toMatchObject({
      code: 'RECEIPT_MISSING',
    });
  });

  it('what the owners have given up has no end that the gate tells', async () => {
    const { call, scratch } = prepare();
    const { seed } = generateKeyPair();
    const owner = createSigner(seed, ownersKeyId(createSigner(seed, 'x').publicKey));
    const subject = { trust_domain: 'csc.local', execution_id: 'exec-1' };
    const said = { ...subject, contract_sha256: contractSha256(sampleContract()) };
    const keys = { [owner.keyId]: { keyval: { public: Buffer.from(owner.publicKey).toString('hex') } } };
    const roles = { targets: { keyids: [owner.keyId], threshold: 1 } };
    const root = scratch.write('root.json', { signed: { _type: 'root', keys, roles } });
    const gate = (told: object) =>
      hostile({
        told,
        receiptJson: Buffer.alloc(0),
        resolutionsJson: [signResolution(said, 'burnt down', owner, new Date())],
      });
    const get = async (told: object) =>
      await call(await gate(told), ['get', 'exec-1', '--json', '--owners-root', root]);
    const genuine = await get({ state: ExecutionState.LOST, exitCode: 0 });
    expect(JSON.parse(genuine.stdout)).toMatchObject({ state: 'lost', verified: true });
    expect(JSON.parse(genuine.stdout)).not.toHaveProperty('exit_code');
    const ended = await get({ state: ExecutionState.SUCCEEDED, exitCode: 0 });
    expect(ended.code).toBe(1);
    expect(ended.stdout).not.toContain('"verified":true');
    expect(ended.stderr + ended.stdout).toContain('RECEIPT_MISSING');
  });

  it('a recording of any size is not kept in memory', async () => {
    const { call, scratch } = prepare();
    const told = { recording_hash: `sha256:${'0'.repeat(64)}`, recording_bytes: 2 ** 40 };
    const gate = await hostile({ receipt: withCommand(told) });
    const file = join(scratch.directory, 'session.cast');
    const { code, stderr } = await call(gate, ['get', 'exec-1', '--recording', file]);
    expect(code).toBe(1);
    expect(stderr).toContain('names a recording of 1099511627776 bytes, and this reads at most 268435456');
  });

  it('an executor’s key is remembered, and another one refused loudly, until its owner says so', async () => {
    const { submit, home, scratch } = prepare();
    const first = await submit(await hostile());
    expect(first.code).toBe(0);
    expect(first.stderr).toContain('first receipt of spiffe://csc.local/executor/host-1');
    const [name = ''] = readdirSync(join(home, 'csc', 'known-executors'));
    const known = join(home, 'csc', 'known-executors', name);
    const other = await hostile();
    const second = await submit(other);
    expect(second.code).toBe(1);
    expect(second.stderr).toContain('HAS CHANGED');
    expect(second.stderr).toContain(known);
    // Pins are the owner's word: what was remembered does not count beside them.
    const pins = scratch.write('pins.json', readFileSync(known));
    expect((await submit(other, '--keys', pins)).stderr).toContain('the signature does not fit');
    rmSync(known);
    expect((await submit(other)).code).toBe(0);
  });

  it('what was cut off is said, by the receipt, with a quiet csc, too', async () => {
    const { submit } = prepare();
    const cut = { stdout_truncated: true, ...withCommand({ stdout_truncated: true }, 'abc') };
    const v02 = await submit(await hostile({ stdout: ['abc'], receipt: cut }), '--quiet');
    expect({ code: v02.code, stdout: v02.stdout }).toEqual({ code: 74, stdout: 'abc' });
    expect(v02.stderr).toMatch(
      /stdout of main was cut after 3 bytes.*\ncsc: ends with 74 .*--allow-truncated/,
    );
    const { submit: once } = prepare();
    const allowed = await once(await hostile({ stdout: ['abc'], receipt: cut }), '--allow-truncated');
    expect(allowed.code).toBe(0);
    expect(allowed.stderr).toMatch(/SUCCESS[^\n]*\n.*stdout of main was cut after 3 bytes[^\n]*\n$/);
    const { submit: another } = prepare();
    const receiptVersion = 'csc.receipt.v0.1';
    const v01Gate = await hostile({ stderr: ['abcd'], receiptVersion, receipt: { stderr_truncated: true } });
    const v01 = await another(v01Gate, '--receipt-version', 'v0.1');
    expect(v01.stderr).toContain('stderr was cut after 4 bytes');
  });

  it('goes on without a place to remember, and says so', async () => {
    const { submit } = prepare();
    const { code, stderr } = await submit(await hostile(), '--known-executors', '/proc/nowhere/known.json');
    expect(code).toBe(0);
    expect(stderr).toContain('is not remembered');
  });
});

function withCommand(members: object, stdout = ''): object {
  const gate = new ScriptedGate({ contractSha256: contractSha256(sampleContract()), stdout: [stdout] });
  const [command] = JSON.parse(gate.receiptJson().toString()).commands;
  return { commands: [{ ...command, ...members }] };
}
