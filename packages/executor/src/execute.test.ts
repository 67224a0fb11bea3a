import { createHash } from 'node:crypto';
import { readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type ReceiptV02, receiptSha256 } from '@csc-fleet/common/receipt';
import { makeContract, shell } from '@csc-fleet/test-kit/contract';
import { openWorkbench, type Workbench } from '@csc-fleet/test-kit/executor/workbench';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { fileTimeNow } from './evidence/index.ts';
import { localModeNote } from './run/local-workplace.ts';

let bench: Workbench;

afterEach(() => bench.close());

const sha256 = (data: string | Buffer) => `sha256:${createHash('sha256').update(data).digest('hex')}`;

// The clock that files are stamped with ticks coarsely: what is made in one tick is of one time.
async function untilFileTimeMoves(): Promise<void> {
  const now = () => fileTimeNow(join(bench.stateDir, 'tick'));
  const began = await now();
  while ((await now()) === began);
}

describe('a contract that runs', () => {
  beforeEach(async () => {
    bench = await openWorkbench();
  });

  it('gets its output to the gate, and a receipt that fits it', async () => {
    const { executionId, receipt } = await bench.run([{ argv: shell('echo out; echo err >&2') }]);
    expect(receipt).toMatchObject({
      status: 'success',
      ended: 'exit',
      exit_code: 0,
      execution_id: executionId,
      executor_id: 'executor-1',
      execution_mode: 'local',
      policy_profile: 'test',
      policy_sha256: bench.policy.sha256,
      policy_schema_version: 'csc.policy.v0.1',
      stdout_hash: sha256('out\n'),
      stderr_hash: sha256('err\n'),
      completed_command_ids: ['main'],
      sandbox: {
        mechanism: 'none',
        namespaces: [],
        limits: [
          { name: 'stdout_bytes', mechanism: 'spool' },
          { name: 'stderr_bytes', mechanism: 'spool' },
          { name: 'artifact_bytes', value: 4 * 2 ** 30, mechanism: 'measuring' },
          { name: 'artifact_sec', value: 60, mechanism: 'measuring' },
        ],
      },
      effect_summary: { files_written: 0, secrets_used: 0 },
      commands: [{ command_id: 'main', ended: 'exit', exit_code: 0, stdout_bytes: 4, stderr_bytes: 4 }],
    });
    expect(receipt).not.toHaveProperty('failed_command_id');
    expect(receipt).not.toHaveProperty('error');
    expect(receipt.effect_summary).not.toHaveProperty('network_used');
    await bench.gate.output.holds(
      executionId,
      bench.gate.all('receipt', executionId)[0]?.outputLogLength ?? 0,
    );
    expect(bench.gate.output.text(executionId, 1)).toBe('out\n');
    expect(bench.gate.output.text(executionId, 2)).toBe('err\n');
  });

  it('says what happens as it happens', async () => {
    const { executionId } = await bench.run([{ id: 'one' }, { id: 'two' }]);
    const said = bench.gate.messages
      .filter(({ value }) => 'executionId' in value && value.executionId === executionId)
      .map(({ $case }) => $case);
    expect(said).toEqual(['accepted', 'commandStarted', 'exited', 'commandStarted', 'exited', 'receipt']);
    expect(bench.gate.all('commandStarted').map(({ commandId, index }) => [commandId, index])).toEqual([
      ['one', 0],
      ['two', 1],
    ]);
    expect(bench.gate.all('exited')[0]?.result).toMatchObject({
      commandId: 'one',
      endedBy: 1,
      exitCode: 0,
      signal: '',
    });
  });

  it('says loudly that local mode has no sandbox', async () => {
    const { executionId } = await bench.run([{}]);
    expect(bench.gate.all('accepted', executionId)[0]?.notes).toEqual([localModeNote]);
    expect(bench.gate.all('hello')[0]).toMatchObject({
      executionMode: 'local',
      policySha256s: [bench.policy.sha256],
    });
  });

  it('stops at the first command that fails', async () => {
    const { receipt } = await bench.run([
      { id: 'one', argv: ['echo', '1'] },
      { id: 'two', argv: shell('echo 2; exit 5') },
      { id: 'three', argv: ['echo', '3'] },
    ]);
    expect(receipt).toMatchObject({
      status: 'failed',
      exit_code: 5,
      ended: 'exit',
      completed_command_ids: ['one'],
      failed_command_id: 'two',
      stdout_hash: sha256('1\n2\n'),
    });
    expect(receipt.commands.map(({ command_id, stdout_hash }) => [command_id, stdout_hash])).toEqual([
      ['one', sha256('1\n')],
      ['two', sha256('2\n')],
    ]);
  });

  it('says which segment of a pipeline failed, and that the first one counts', async () => {
    const { receipt } = await bench.run([{ pipeline: [shell('exec yes'), shell('exec head -n 1')] }]);
    expect(receipt).toMatchObject({ status: 'failed', exit_code: 141 });
    expect(receipt.error).toMatch(
      /SIGPIPE; it was segment 1 of 2 \(sh\): the first .*; SIGPIPE says .*sed -n 1p/,
    );
    const last = await bench.run([{ pipeline: [['echo', 'a'], shell('exec grep b')] }]);
    expect(last.receipt.error).toMatch(/segment 2 of 2 \(sh\)/);
  });

  it('runs the segments of a pipeline together', async () => {
    const { executionId, receipt } = await bench.run([
      { pipeline: [['echo', 'a b c'], ['cat'], ['wc', '-w']] },
    ]);
    expect(receipt).toMatchObject({ status: 'success', exit_code: 0 });
    await bench.gate.output.holds(executionId, 1);
    expect(bench.gate.output.text(executionId).trim()).toBe('3');
  });

  it('takes the exit code of the first segment that failed', async () => {
    const { receipt } = await bench.run([
      { pipeline: [shell('exit 0'), shell('cat; exit 4'), shell('cat; exit 6')] },
    ]);
    expect(receipt).toMatchObject({ status: 'failed', exit_code: 4 });
  });

  it.each([
    ['127 for a program that is not there', { argv: ['missing-program'] }, 127, 'refused'],
    ['128 + n for a signal', { argv: shell('kill -SEGV $$') }, 139, 'signal'],
  ] as const)('gives %s', async (_name, { argv }, exitCode, ended) => {
    const { receipt } = await bench.run([{ argv: [...argv] }]);
    expect(receipt).toMatchObject({ status: 'failed', exit_code: exitCode, ended, commands: [{ ended }] });
    expect(receipt.error).toBeTypeOf('string');
  });

  it('gives 126 for a cwd that is not there, and for one that leads out of the policy', async () => {
    symlinkSync('/', join(bench.workspace, 'root'));
    for (const cwd of [join(bench.workspace, 'missing'), join(bench.workspace, 'root')]) {
      const { receipt } = await bench.run([{ cwd, read_paths: [] }]);
      expect(receipt).toMatchObject({
        status: 'failed',
        exit_code: 126,
        ended: 'refused',
        failed_command_id: 'main',
      });
      expect(receipt.error).toContain(cwd);
    }
  });

  it('hands on only the environment that contract and host both name', async () => {
    await bench.close();
    bench = await openWorkbench({ executor: { env: { SHARED: 'yes', KEPT: 'no' } } });
    const argv = shell('echo "$SHARED-$KEPT-$ABSENT"');
    const { executionId } = await bench.run([{ argv, env_allow: ['SHARED', 'ABSENT', 'toString'] }]);
    await bench.gate.output.holds(executionId, 1);
    expect(bench.gate.output.text(executionId)).toBe('yes--\n');
  });

  it('hashes artifacts and counts files, and follows no link', async () => {
    const script = 'echo one > out/a; mkdir out/d; echo two > out/d/b; ln -s /etc/passwd out/link';
    const outputs = ['a', 'd/b', 'link', 'missing'].map((name) => join(bench.out, name));
    writeFileSync(join(bench.out, 'before'), 'x');
    await untilFileTimeMoves();
    const { receipt } = await bench.run([{ argv: shell(script), write_paths: [bench.out] }], {
      expected_outputs: outputs,
    });
    expect(receipt.artifacts).toEqual([
      { path: outputs[0], sha256: sha256('one\n').slice(7) },
      { path: outputs[1], sha256: sha256('two\n').slice(7) },
    ]);
    expect(receipt.artifacts_left_out).toEqual({
      count: 2,
      first: [
        { path: outputs[2], reason: 'not_a_file' },
        { path: outputs[3], reason: 'missing' },
      ],
    });
    expect(receipt.effect_summary?.files_written).toBe(2);
  });

  it('hashes no more than the ticket lets it, and says what it left out', async () => {
    const outputs = ['a', 'b'].map((name) => join(bench.out, name));
    const commands = [{ argv: shell('echo one > out/a; echo more > out/b'), write_paths: [bench.out] }];
    const contract = makeContract(bench.workspace, commands, { expected_outputs: outputs });
    const limits = { stdout_bytes: 10, stderr_bytes: 10, artifact_bytes: 4 };
    const ticket = { grant: { receipt_version: 'csc.receipt.v0.2', limits } } as const;
    const receipt = await bench.gate.receipt(bench.gate.offer(contract, bench.policy, { ticket }));
    expect(receipt.artifacts).toEqual([{ path: outputs[0], sha256: sha256('one\n').slice(7) }]);
    expect(receipt.artifacts_left_out?.first).toEqual([{ path: outputs[1], reason: 'artifact_bytes' }]);
  });

  it('names a bounded part of what it left out', async () => {
    const outputs = Array.from({ length: 5000 }, (_, index) => join(bench.out, `none${index}`));
    const { receipt } = await bench.run([{ argv: ['true'] }], { expected_outputs: outputs });
    expect(receipt.artifacts_left_out).toMatchObject({ count: 5000 });
    expect(receipt.artifacts_left_out?.first).toHaveLength(64);
  });

  it('is projected to v0.1 where the grant asks for it', async () => {
    const contract = makeContract(bench.workspace, [{ argv: ['false'] }]);
    const limits = { stdout_bytes: 10, stderr_bytes: 10 };
    const ticket = { grant: { receipt_version: 'csc.receipt.v0.1', limits } } as const;
    const receipt = await bench.gate.receipt(bench.gate.offer(contract, bench.policy, { ticket }));
    expect(receipt).toMatchObject({ receipt_version: 'csc.receipt.v0.1', status: 'failed', exit_code: 1 });
    for (const member of ['commands', 'ended', 'ticket_id', 'previous_receipt_sha256']) {
      expect(receipt).not.toHaveProperty(member);
    }
  });

  it('has every outcome in one chain: what ran, what was refused, and what was asked for as v0.1', async () => {
    const limits = { stdout_bytes: 10, stderr_bytes: 10 };
    const v01 = { ticket: { grant: { receipt_version: 'csc.receipt.v0.1', limits } } } as const;
    const ran = makeContract(bench.workspace, [{}]);
    const refused = makeContract(bench.workspace, [{ network: 'full' }]);
    const chain: ReceiptV02[] = [];
    for (const [contract, overrides] of [
      [ran, {}],
      [refused, {}],
      [ran, v01],
      [refused, v01],
      [ran, {}],
    ] as const) {
      chain.push(await bench.gate.chained(bench.gate.offer(contract, bench.policy, overrides)));
    }
    expect(chain.map(({ sequence }) => sequence)).toEqual([1, 2, 3, 4, 5]);
    const [hello] = bench.gate.all('hello');
    expect(new Set(chain.map((it) => it.executor_epoch))).toEqual(new Set([hello?.epoch]));
    expect(chain.map((it) => it.previous_receipt_sha256)).toEqual([
      undefined,
      ...chain.slice(0, -1).map(receiptSha256),
    ]);
  });

  it('chains each receipt to the one before it', async () => {
    let { receipt: previous } = await bench.run([{}]);
    expect(previous).not.toHaveProperty('previous_receipt_sha256');
    for (let count = 0; count < 2; count += 1) {
      const { receipt } = await bench.run([{}]);
      expect(receipt.previous_receipt_sha256).toBe(receiptSha256(previous));
      previous = receipt;
    }
  });

  it('runs several at once', async () => {
    const ids = Array.from({ length: 4 }, (_, index) =>
      bench.offer([{ argv: shell(`sleep 0.2; echo ${index}`) }]),
    );
    const receipts = await Promise.all(ids.map((id) => bench.gate.receipt(id)));
    expect(receipts.map(({ stdout_hash }) => stdout_hash)).toEqual(
      [0, 1, 2, 3].map((index) => sha256(`${index}\n`)),
    );
  });
});

describe('output', () => {
  it('is capped by the grant and the host, whichever is less, and the job goes on', async () => {
    bench = await openWorkbench({ executor: { limits: { stdoutBytes: 100_000, stderrBytes: 50 } } });
    const script = 'head -c 300000 /dev/zero; head -c 300 /dev/zero >&2; exit 3';
    const { executionId, receipt } = await bench.run([{ argv: shell(script) }]);
    expect(receipt).toMatchObject({
      exit_code: 3,
      ended: 'exit',
      stdout_hash: sha256(Buffer.alloc(100_000)),
      stdout_truncated: true,
      stderr_hash: sha256(Buffer.alloc(50)),
      stderr_truncated: true,
      commands: [{ stdout_bytes: 100_000, stdout_truncated: true, stderr_bytes: 50, stderr_truncated: true }],
    });
    const outputs = bench.gate.all('exited', executionId).flatMap(({ result }) => result?.outputs ?? []);
    expect(outputs.map(({ length, truncated }) => [length, truncated])).toEqual([
      [100_000, true],
      [50, true],
    ]);
    const limits = { stdout_bytes: 10, stderr_bytes: 2 ** 30 };
    const ticket = { grant: { receipt_version: 'csc.receipt.v0.2', limits } } as const;
    const contract = makeContract(bench.workspace, [{ argv: shell(script) }]);
    const smaller = await bench.gate.receipt(bench.gate.offer(contract, bench.policy, { ticket }));
    expect(smaller).toMatchObject({
      stdout_hash: sha256(Buffer.alloc(10)),
      stderr_hash: sha256(Buffer.alloc(50)),
    });
  });

  it('reaches the gate while the command still runs', async () => {
    bench = await openWorkbench();
    const executionId = bench.offer([
      { argv: shell('echo early; while [ ! -e out/go ]; do sleep 0.05; done; echo late') },
    ]);
    await bench.gate.output.holds(executionId, 1);
    expect(bench.gate.output.text(executionId)).toBe('early\n');
    writeFileSync(join(bench.out, 'go'), '');
    expect((await bench.gate.receipt(executionId)).stdout_hash).toBe(sha256('early\nlate\n'));
  });

  it('that the disk refuses ends the run, and the receipt says so', async () => {
    bench = await openWorkbench();
    const executionId = bench.offer([
      { argv: shell('while [ ! -e out/go ]; do sleep 0.05; done; echo lost; sleep 60') },
    ]);
    await bench.gate.next('commandStarted', executionId);
    // Its log is made with the first byte.
    rmSync(join(bench.stateDir, 'spool'), { recursive: true });
    writeFileSync(join(bench.out, 'go'), '');
    expect(await bench.gate.receipt(executionId)).toMatchObject({
      status: 'failed',
      ended: 'output_limit',
      stdout_hash: sha256(''),
      stdout_truncated: true,
    });
  });

  it('is deleted once the gate has it and the receipt', async () => {
    bench = await openWorkbench();
    await bench.run([{ argv: ['echo', 'x'] }]);
    await expect.poll(() => readdirSync(join(bench.stateDir, 'spool'))).toEqual([]);
  });
});
