import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { contractSha256 } from '@csc-fleet/common/contract';
import { sha256Hex, sha256Tagged } from '@csc-fleet/common/encoding';
import type { ReceiptV02 } from '@csc-fleet/common/receipt';
import { ExecutionState, Verdict } from '@csc-fleet/common/rpc';
import { logFields } from '@csc-fleet/common/service';
import { makeApproval } from '@csc-fleet/test-kit/approval';
import { makeContract } from '@csc-fleet/test-kit/contract';
import { type Fleet, startFleet } from '@csc-fleet/test-kit/fleet';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { logMessages } from '../../packages/common/src/service/log-messages.ts';

let fleet: Fleet;

beforeAll(async () => {
  fleet = await startFleet({ executors: [{ name: 'host', config: { env: { CI: 'true' } } }] });
  writeFileSync(join(fleet.workspace, 'words'), 'pear\napple\nfig\n');
});
afterAll(() => fleet[Symbol.asyncDispose]());

/** Runs a contract; gives the result and everything that came out. */
async function run(...[short, overrides]: Parameters<Fleet['contract']>) {
  const out = { stdout: '', stderr: '', events: [] as string[] };
  const handlers = {
    onStdout: (data: Buffer) => {
      out.stdout += data.toString();
    },
    onStderr: (data: Buffer) => {
      out.stderr += data.toString();
    },
    onEvent: (event: { type: string }) => void out.events.push(event.type),
  };
  const result = await fleet.connect().run(fleet.contract(short, overrides), { handlers });
  return { ...out, ...result, receipt: result.receipt as ReceiptV02 };
}

describe('a contract through client, gate, link, executor and sandbox', () => {
  it('streams the output and ends with a receipt of the executor that ran it', async () => {
    const { stdout, exitCode, receipt, events } = await run({ argv: ['cat', 'words'] });
    expect(stdout).toBe('pear\napple\nfig\n');
    expect(exitCode).toBe(0);
    expect(events).toEqual([
      'decided',
      'queued',
      'placed',
      'started',
      'commandStarted',
      'commandExited',
      'finished',
    ]);
    expect(receipt).toMatchObject({
      status: 'success',
      executor_id: 'host',
      execution_mode: 'hardened',
      exit_code: 0,
    });
    expect(receipt.stdout_hash).toBe(sha256Tagged(stdout));
    expect(receipt.sandbox).toMatchObject({
      mechanism: 'bubblewrap',
      bwrap_version: expect.stringMatching(/^\d/),
    });
  });

  it('joins the segments of a pipeline by pipes', async () => {
    const { stdout, receipt } = await run({ pipeline: [['cat', 'words'], ['sort'], ['head', '-n', '1']] });
    expect(stdout).toBe('apple\n');
    expect(receipt.status).toBe('success');
  });

  it('gives a pipeline the exit code of its first segment that failed', async () => {
    const { receipt } = await run({ pipeline: [['sh', '-c', 'exit 3'], ['cat']] });
    expect(receipt).toMatchObject({ status: 'failed', exit_code: 3, failed_command_id: 'main' });
  });

  it('keeps stdout and stderr apart', async () => {
    const { stdout, stderr, exitCode } = await run({ argv: ['sh', '-c', 'echo out; echo err >&2; exit 7'] });
    expect({ stdout, stderr, exitCode }).toEqual({ stdout: 'out\n', stderr: 'err\n', exitCode: 7 });
  });

  it('stops at the first command that fails and says what had completed', async () => {
    const commands = [{ id: 'a' }, { id: 'b', argv: ['false'] }, { id: 'c' }];
    const result = await fleet.connect().run(makeContract(fleet.workspace, commands));
    expect(result.receipt).toMatchObject({
      status: 'failed',
      exit_code: 1,
      completed_command_ids: ['a'],
      failed_command_id: 'b',
    });
  });

  it('really hashes artifacts and counts the files written', async () => {
    const out = fleet.writable('out');
    const { receipt } = await run(
      { argv: ['sh', '-c', 'sort words > out/sorted; echo 2 > out/other'], write_paths: [out] },
      { expected_outputs: [join(out, 'sorted'), join(out, 'missing')] },
    );
    expect(receipt.artifacts).toEqual([
      { path: join(out, 'sorted'), sha256: sha256Hex('apple\nfig\npear\n') },
    ]);
    expect(receipt.effect_summary).toEqual({
      files_written: 2,
      bytes_written: expect.any(Number),
      inodes_written: expect.any(Number),
      network_used: false,
      secrets_used: 0,
    });
    expect(readFileSync(join(out, 'sorted'), 'utf8')).toBe('apple\nfig\npear\n');
  });

  it('shows a command nothing but what was declared, and lets it write nothing else', async () => {
    const { stdout, stderr, receipt } = await run({
      argv: ['sh', '-c', 'ls /; ls /etc/shadow; touch words x'],
    });
    expect(stdout.split('\n')).not.toContain('root');
    expect(stderr).toMatch(/\/etc\/shadow/);
    expect(receipt.status).toBe('failed');
  });

  it('gives a command only the variables that it asks for and the host grants', async () => {
    const granted = await run({ argv: ['sh', '-c', 'echo $CI:$HOSTNAME_OF_EXECUTOR'], env_allow: ['CI'] });
    expect(granted.stdout).toBe('true:\n');
    expect((await run({ argv: ['sh', '-c', 'echo [$CI]'] })).stdout).toBe('[]\n');
  });

  it('ends a command that takes too long, and all that it has started', async () => {
    const { receipt } = await run({ argv: ['sh', '-c', 'setsid sleep 600 & sleep 600'], timeout_sec: 1 });
    expect(receipt).toMatchObject({ status: 'failed', exit_code: 124 });
    expect(receipt.commands[0]?.ended).toBe('timeout');
  });

  it('says 127 for a program that is not there', async () => {
    expect((await run({ argv: ['no-such-program'] })).receipt).toMatchObject({
      status: 'failed',
      exit_code: 127,
    });
  });

  it('caps what it captures, and the hash is of the captured prefix', async () => {
    const { stdout, receipt } = await run({ argv: ['head', '-c', '11000000', '/dev/zero'] });
    expect(stdout.length).toBe(10 * 1024 * 1024);
    expect(receipt).toMatchObject({
      status: 'success',
      stdout_truncated: true,
      stdout_hash: sha256Tagged(stdout),
    });
  });
});

describe('a contract that does not run', () => {
  it('is denied with a signed decision, all findings and a signed blocked receipt', async () => {
    const { decision, receipt, execution, events } = await run({ argv: ['rm', '-rf', '/'], network: 'full' });
    expect(decision).toMatchObject({ verdict: Verdict.DENY, reasonCodes: ['COMMAND_NOT_ALLOWED'] });
    expect(decision?.findings.map((it) => it.reasonCode)).toEqual([
      'COMMAND_NOT_ALLOWED',
      'NETWORK_EXCEEDS_POLICY',
    ]);
    expect(JSON.parse(decision?.decisionJson.toString() ?? '')).toMatchObject({
      signature: { algorithm: 'ed25519' },
    });
    expect(receipt).toMatchObject({
      status: 'blocked',
      error: expect.stringContaining('command not allowed: rm'),
    });
    expect(execution.state).toBe(ExecutionState.BLOCKED);
    expect(events).toEqual(['decided', 'finished']);
  });

  it('waits for an approval and then goes on as the same execution, once', async () => {
    const client = fleet.connect();
    const needy = fleet.contract({ argv: ['echo', 'approved'] }, { approval_mode: 'human_required' });
    const waiting = await client.submit(needy);
    expect(waiting).toMatchObject({
      state: ExecutionState.AWAITING_APPROVAL,
      decision: { verdict: Verdict.NEEDS_APPROVAL },
    });
    expect(waiting.decision?.contractSha256).toBe(contractSha256(needy));
    const approval = makeApproval(needy, { approval_id: 'approval-1' });
    const result = await client.run(needy, { approvals: [approval] });
    expect(result.executionId).toBe(waiting.executionId);
    expect(result.receipt).toMatchObject({ status: 'success', approvals: [{ approval_id: 'approval-1' }] });
    await expect(client.run(needy, { approvals: [approval] })).rejects.toMatchObject({
      code: 'APPROVAL_INVALID',
    });
  });

  it('is refused whole, with every fault, where it breaks the protocol', async () => {
    const broken = { ...fleet.contract({ timeout_sec: 0 }), intent: '', surprise: 1 };
    const error = await fleet
      .connect()
      .run(JSON.stringify(broken))
      .catch((it: unknown) => it);
    expect(error).toMatchObject({ code: 'CONTRACT_INVALID' });
    const paths = (error as { faults: { path: string }[] }).faults.map((it) => it.path).sort();
    expect(paths).toEqual(['commands[0].timeout_sec', 'intent', 'surprise']);
  });

  it.each([
    ['network', { network: 'allowlisted' as const }],
    ['secrets', { secret_refs: ['token'] }],
  ])('is blocked by the host where it asks for %s, which this version cannot give', async (_what, short) => {
    const { receipt, execution } = await run(short);
    // The policy denies both before the host is asked; see refusals.test.ts for a policy that allows them.
    expect(receipt.status).toBe('blocked');
    expect(execution.state).toBe(ExecutionState.BLOCKED);
  });
});

describe('the logs of gate and executor after all of that', () => {
  const lines = (log: string): Record<string, unknown>[] =>
    log
      .split('\n')
      .flatMap((line) => (line.startsWith('{') ? [JSON.parse(line) as Record<string, unknown>] : []));

  it('have only fields and texts that docs/logs.md knows, at their levels, an execution id on each line of a run, and no stack', async () => {
    const refused = await run({ read_paths: [join(fleet.workspace, 'nowhere')] });
    expect(refused.exitCode).not.toBe(0);
    const [gate, host] = [lines(fleet.gate.log), lines(fleet.executor('host').log)];
    expect(gate.length > 0 && host.length > 0).toBe(true);
    const unknown = [...gate, ...host].flatMap(Object.keys).filter((name) => !Object.hasOwn(logFields, name));
    expect(unknown).toEqual([]);
    const levels = { info: 30, warn: 40, error: 50 };
    const texts = new Map<unknown, readonly (keyof typeof levels)[]>(
      Object.entries(logMessages).map(([text, facts]) => [text, facts.levels]),
    );
    const strange = [...gate, ...host].filter(
      ({ msg, level }) => !texts.get(msg)?.some((it) => levels[it] === level),
    );
    expect(strange).toEqual([]);
    expect(host.every((line) => line['executor_id'] === 'host')).toBe(true);
    expect(host.filter(({ msg }) => msg === 'an offer was refused')).toContainEqual(
      expect.objectContaining({ execution_id: refused.executionId, level: 40 }),
    );
    expect(JSON.stringify([gate, host])).not.toContain('"stack"');
  });
});
