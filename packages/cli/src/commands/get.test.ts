import { spawn } from 'node:child_process';
import { EventEmitter, once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { contractSha256 } from '@csc-fleet/common/contract';
import { CscError } from '@csc-fleet/common/errors';
import { ExecutionState } from '@csc-fleet/common/messages';
import { createDevelopmentPki } from '@csc-fleet/common/pki';
import { readServerCredentials } from '@csc-fleet/common/rpc';
import { sampleContract } from '@csc-fleet/test-kit/cli/artifacts';
import { ScriptedGate } from '@csc-fleet/test-kit/client/scripted-gate';
import { cscBin } from '@csc-fleet/test-kit/process';
import { afterAll, beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest';
import { handleInterrupts } from '../show/follow.ts';

const pki = mkdtempSync(join(tmpdir(), 'csc-follow-'));
beforeAll(() => createDevelopmentPki(pki, { clients: ['alice'] }));
afterAll(() => rmSync(pki, { recursive: true, force: true }));

/** A gate that tells of an execution in this state, and then of nothing more. */
async function gateWith(state: ExecutionState, sha256 = 'a'.repeat(64)): Promise<ScriptedGate> {
  const file = (name: string) => join(pki, name);
  const gate = new ScriptedGate({ contractSha256: sha256, state });
  gate.hang = true;
  gate.unfinished = true;
  onTestFinished(() => gate[Symbol.asyncDispose]());
  return gate.listen(
    readServerCredentials({ ca: file('ca.pem'), cert: file('gate.pem'), key: file('gate.key') }),
  );
}

describe('an interrupted csc get --follow', () => {
  it.each([
    ['queued', ExecutionState.QUEUED, 'SIGINT'],
    ['offered', ExecutionState.OFFERED, 'SIGTERM'],
    ['running', ExecutionState.RUNNING, 'SIGINT'],
    ['running', ExecutionState.RUNNING, 'SIGTERM'],
  ] as const)('leaves what is %s alone (%#: %i)', async (_, state, signal) => {
    const gate = await gateWith(state);
    const { address } = gate.connectOptions;
    const args = ['get', 'exec-1', '--follow', '--gate', address, '--pki', pki, '--as', 'alice'];
    const child = spawn(process.execPath, [cscBin, ...args], { stdio: ['ignore', 'ignore', 'pipe'] });
    let stderr = '';
    child.stderr.on('data', (data: Buffer) => {
      stderr += data.toString();
      if (stderr.includes('allowed by policy')) child.kill(signal);
    });
    const [code] = await once(child, 'close');
    expect(code).toBe(130);
    expect(stderr).toContain('csc cancel exec-1');
    expect(gate.cancelled).toEqual([]);
  });
});

describe('an interrupted csc submit', () => {
  it('leaves what it cannot ask to end, and says how to see to it', async () => {
    const gate = await gateWith(ExecutionState.RUNNING, contractSha256(sampleContract()));
    const contract = join(pki, 'contract.json');
    writeFileSync(contract, JSON.stringify(sampleContract()));
    const { address } = gate.connectOptions;
    const args = ['submit', contract, '--unsigned', '--gate', address, '--pki', pki, '--as', 'alice'];
    const child = spawn(process.execPath, [cscBin, ...args], { stdio: ['ignore', 'ignore', 'pipe'] });
    let stderr = '';
    child.stderr.on('data', (data: Buffer) => {
      stderr += data.toString();
      if (gate.refusal !== undefined || !stderr.includes('allowed by policy')) return;
      gate.refusal = new CscError('NOT_PERMITTED', 'its disk is full');
      child.kill('SIGTERM');
    });
    const [code] = await once(child, 'close');
    expect(code).toBe(130);
    expect(stderr).toContain('that failed: its disk is full; left; it may go on: csc get exec-1 shows');
    expect(stderr).toContain('csc cancel exec-1 asks for its end once more');
    expect(gate.cancelled).toEqual(['exec-1']);
  });

  it.each([
    ['whose end does not come', 'exec-1'],
    ['that is never named', undefined],
  ])('gives up on one %s, and on nothing that has ended', async (_, name) => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    onTestFinished(() => void vi.useRealTimers());
    const source = new EventEmitter();
    const gaveUp = vi.fn<(id: string | undefined, why: string) => never>();
    const steps = { cancel: async () => {}, hint: '', again: () => {}, giveUp: gaveUp };
    const ended = handleInterrupts(steps, () => {}, source);
    source.emit('SIGTERM');
    ended[Symbol.dispose]();
    using endless = handleInterrupts(steps, () => {}, source);
    if (name !== undefined) endless.identify(name);
    source.emit('SIGTERM');
    vi.runAllTimers();
    expect(gaveUp.mock.calls).toEqual([[name, 'its end has not come within 30 s']]);
  });
});
