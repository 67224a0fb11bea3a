import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ExecutionState } from '@csc-fleet/common/messages';
import { createDevelopmentPki } from '@csc-fleet/common/pki';
import { readServerCredentials } from '@csc-fleet/common/rpc';
import { ScriptedGate } from '@csc-fleet/test-kit/client/scripted-gate';
import { cscBin } from '@csc-fleet/test-kit/process';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';

const pki = mkdtempSync(join(tmpdir(), 'csc-follow-'));
beforeAll(() => createDevelopmentPki(pki, { clients: ['alice'] }));
afterAll(() => rmSync(pki, { recursive: true, force: true }));

/** A gate that tells of an execution in this state, and then of nothing more. */
async function gateWith(state: ExecutionState): Promise<ScriptedGate> {
  const file = (name: string) => join(pki, name);
  const gate = new ScriptedGate({ contractSha256: 'a'.repeat(64), state });
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
