import { createHash, createPublicKey, generateKeyPairSync, X509Certificate } from 'node:crypto';
import { readdirSync, rmSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { createReloadableSigner, createSigner } from '@csc-fleet/common/crypto';
import { CscError } from '@csc-fleet/common/errors';
import { certify, generateTlsKey, makeRoot, toCertificate } from '@csc-fleet/common/pki';
import { createPolicySet } from '@csc-fleet/common/policy';
import { type ReceiptV02, receiptSha256 } from '@csc-fleet/common/receipt';
import { createLocalLauncher, endedProcess, type Launcher } from '@csc-fleet/sandbox/launch';
import { type CommandShort, makeContract, shell } from '@csc-fleet/test-kit/contract';
import {
  makeTestDirectory,
  openWorkbench,
  type Workbench,
  type WorkbenchOptions,
} from '@csc-fleet/test-kit/executor/workbench';
import { findProcesses } from '@csc-fleet/test-kit/sandbox/find-processes';
import { afterAll, afterEach, beforeEach, describe, expect, it } from 'vitest';
import { fileTimeNow } from './evidence/index.ts';
import { type Journal, openSqliteJournal } from './journal/index.ts';
import { localModeNote } from './run/workplace.ts';

let bench: Workbench;

async function open(options: WorkbenchOptions = {}): Promise<void> {
  bench = await openWorkbench(options);
}

afterEach(() => bench.close());

const sha256 = (data: string | Buffer) => `sha256:${createHash('sha256').update(data).digest('hex')}`;

function offer(
  commands: readonly CommandShort[],
  overrides: Parameters<typeof makeContract>[2] = {},
): string {
  return bench.gate.offer(makeContract(bench.workspace, commands, overrides), bench.policy);
}

async function run(commands: readonly CommandShort[], overrides: Parameters<typeof makeContract>[2] = {}) {
  const executionId = offer(commands, overrides);
  const receipt = await bench.gate.receipt(executionId);
  return { executionId, receipt };
}

// The clock that files are stamped with ticks coarsely: what is made in one tick is of one time.
async function untilFileTimeMoves(): Promise<void> {
  const now = () => fileTimeNow(join(bench.stateDir, 'tick'));
  const began = await now();
  while ((await now()) === began);
}

describe('a contract that runs', () => {
  beforeEach(() => open());

  it('gets its output to the gate, and a receipt that fits it', async () => {
    const { executionId, receipt } = await run([{ argv: shell('echo out; echo err >&2') }]);
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
    const { executionId } = await run([{ id: 'one' }, { id: 'two' }]);
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
    const { executionId } = await run([{}]);
    expect(bench.gate.all('accepted', executionId)[0]?.notes).toEqual([localModeNote]);
    expect(bench.gate.all('hello')[0]).toMatchObject({
      executionMode: 'local',
      policySha256s: [bench.policy.sha256],
    });
  });

  it('stops at the first command that fails', async () => {
    const { receipt } = await run([
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
    const { receipt } = await run([{ pipeline: [shell('exec yes'), shell('exec head -n 1')] }]);
    expect(receipt).toMatchObject({ status: 'failed', exit_code: 141 });
    expect(receipt.error).toMatch(
      /SIGPIPE; it was segment 1 of 2 \(sh\): the first .*; SIGPIPE says .*sed -n 1p/,
    );
    const last = await run([{ pipeline: [['echo', 'a'], shell('exec grep b')] }]);
    expect(last.receipt.error).toMatch(/segment 2 of 2 \(sh\)/);
  });

  it('runs the segments of a pipeline together', async () => {
    const { executionId, receipt } = await run([{ pipeline: [['echo', 'a b c'], ['cat'], ['wc', '-w']] }]);
    expect(receipt).toMatchObject({ status: 'success', exit_code: 0 });
    await bench.gate.output.holds(executionId, 1);
    expect(bench.gate.output.text(executionId).trim()).toBe('3');
  });

  it('takes the exit code of the first segment that failed', async () => {
    const { receipt } = await run([
      { pipeline: [shell('exit 0'), shell('cat; exit 4'), shell('cat; exit 6')] },
    ]);
    expect(receipt).toMatchObject({ status: 'failed', exit_code: 4 });
  });

  it.each([
    ['127 for a program that is not there', { argv: ['missing-program'] }, 127, 'refused'],
    ['128 + n for a signal', { argv: shell('kill -SEGV $$') }, 139, 'signal'],
  ] as const)('gives %s', async (_name, { argv }, exitCode, ended) => {
    const { receipt } = await run([{ argv: [...argv] }]);
    expect(receipt).toMatchObject({ status: 'failed', exit_code: exitCode, ended, commands: [{ ended }] });
    expect(receipt.error).toBeTypeOf('string');
  });

  it('gives 126 for a cwd that is not there, and for one that leads out of the policy', async () => {
    symlinkSync('/', join(bench.workspace, 'root'));
    for (const cwd of [join(bench.workspace, 'missing'), join(bench.workspace, 'root')]) {
      const { receipt } = await run([{ cwd, read_paths: [] }]);
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
    await open({ executor: { env: { SHARED: 'yes', KEPT: 'no' } } });
    const argv = shell('echo "$SHARED-$KEPT-$ABSENT"');
    const { executionId } = await run([{ argv, env_allow: ['SHARED', 'ABSENT', 'toString'] }]);
    await bench.gate.output.holds(executionId, 1);
    expect(bench.gate.output.text(executionId)).toBe('yes--\n');
  });

  it('hashes artifacts and counts files, and follows no link', async () => {
    const script = 'echo one > out/a; mkdir out/d; echo two > out/d/b; ln -s /etc/passwd out/link';
    const outputs = ['a', 'd/b', 'link', 'missing'].map((name) => join(bench.out, name));
    writeFileSync(join(bench.out, 'before'), 'x');
    await untilFileTimeMoves();
    const { receipt } = await run([{ argv: shell(script), write_paths: [bench.out] }], {
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
    const { receipt } = await run([{ argv: ['true'] }], { expected_outputs: outputs });
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
    let { receipt: previous } = await run([{}]);
    expect(previous).not.toHaveProperty('previous_receipt_sha256');
    for (let count = 0; count < 2; count += 1) {
      const { receipt } = await run([{}]);
      expect(receipt.previous_receipt_sha256).toBe(receiptSha256(previous));
      previous = receipt;
    }
  });

  it('runs several at once', async () => {
    const ids = Array.from({ length: 4 }, (_, index) => offer([{ argv: shell(`sleep 0.2; echo ${index}`) }]));
    const receipts = await Promise.all(ids.map((id) => bench.gate.receipt(id)));
    expect(receipts.map(({ stdout_hash }) => stdout_hash)).toEqual(
      [0, 1, 2, 3].map((index) => sha256(`${index}\n`)),
    );
  });
});

describe('output', () => {
  it('is capped by the grant and the host, whichever is less, and the job goes on', async () => {
    await open({ executor: { limits: { stdoutBytes: 100_000, stderrBytes: 50 } } });
    const script = 'head -c 300000 /dev/zero; head -c 300 /dev/zero >&2; exit 3';
    const { executionId, receipt } = await run([{ argv: shell(script) }]);
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
    await open();
    const executionId = offer([
      { argv: shell('echo early; while [ ! -e out/go ]; do sleep 0.05; done; echo late') },
    ]);
    await bench.gate.output.holds(executionId, 1);
    expect(bench.gate.output.text(executionId)).toBe('early\n');
    writeFileSync(join(bench.out, 'go'), '');
    expect((await bench.gate.receipt(executionId)).stdout_hash).toBe(sha256('early\nlate\n'));
  });

  it('that the disk refuses ends the run, and the receipt says so', async () => {
    await open();
    rmSync(join(bench.stateDir, 'spool'), { recursive: true });
    const { receipt } = await run([{ argv: shell('echo lost; sleep 60') }]);
    expect(receipt).toMatchObject({
      status: 'failed',
      ended: 'output_limit',
      stdout_hash: sha256(''),
      stdout_truncated: true,
    });
  });

  it('is deleted once the gate has it and the receipt', async () => {
    await open();
    await run([{ argv: ['echo', 'x'] }]);
    await expect.poll(() => readdirSync(join(bench.stateDir, 'spool'))).toEqual([]);
  });
});

describe('a run that is ended', () => {
  beforeEach(() => open());

  const stubborn = 'trap "" TERM; echo ready; while :; do sleep 0.1; done';
  const orderly = 'trap "echo bye; exit 0" TERM; echo ready; while :; do sleep 0.1; done';

  async function offerReady(script: string): Promise<string> {
    const executionId = offer([{ argv: shell(script) }, { id: 'next' }]);
    await bench.gate.output.holds(executionId, 1);
    return executionId;
  }

  const cancel = (executionId: string, ms: number) =>
    bench.gate.send({
      $case: 'cancel',
      value: { executionId, gracePeriod: { seconds: Math.floor(ms / 1000), nanos: (ms % 1000) * 1e6 } },
    });

  it('times out with 124, and nothing of it is left', async () => {
    const marker = `csc-test-timeout-${process.pid}`;
    const argv = [...shell('(while :; do sleep 0.1; done) & sleep 60'), marker];
    const executionId = offer([{ argv, timeout_sec: 1 }]);
    await bench.gate.next('commandStarted', executionId);
    expect(findProcesses(marker)).not.toEqual([]);
    const receipt = await bench.gate.receipt(executionId);
    expect(receipt).toMatchObject({
      status: 'failed',
      exit_code: 124,
      ended: 'timeout',
      commands: [{ ended: 'timeout' }],
    });
    await expect.poll(() => findProcesses(marker)).toEqual([]);
  });

  it('may end in order within its grace period', async () => {
    const executionId = await offerReady(orderly);
    cancel(executionId, 20_000);
    const receipt = await bench.gate.receipt(executionId);
    expect(receipt).toMatchObject({
      status: 'failed',
      ended: 'cancelled',
      stdout_hash: sha256('ready\nbye\n'),
    });
    expect(receipt.exit_code).not.toBe(0);
    expect(receipt.commands).toHaveLength(1);
  });

  it('is killed after it', async () => {
    const executionId = await offerReady(stubborn);
    cancel(executionId, 100);
    const receipt = await bench.gate.receipt(executionId);
    expect(receipt).toMatchObject({ ended: 'cancelled', exit_code: 137, commands: [{ signal: 'SIGKILL' }] });
  });

  it('ends at once when it is cancelled while its artifacts are hashed', async () => {
    await bench.close();
    const runLimits = { artifact_bytes: 2 ** 43, artifact_sec: 600 };
    await open({ executor: { runLimits } });
    const path = join(bench.out, 'endless');
    writeFileSync(path, '');
    truncateSync(path, 2 ** 42);
    const executionId = offer([{ id: 'main', write_paths: [bench.out] }], { expected_outputs: [path] });
    await bench.gate.next('exited', executionId);
    cancel(executionId, 60_000);
    const receipt = await bench.gate.receipt(executionId);
    expect(receipt).toMatchObject({
      status: 'success',
      artifacts_left_out: { count: 1, first: [{ path, reason: 'cancelled' }] },
    });
  });

  it('ends sooner when it is cancelled again', async () => {
    const executionId = await offerReady(stubborn);
    cancel(executionId, 60_000);
    cancel(executionId, 0);
    expect((await bench.gate.receipt(executionId)).ended).toBe('cancelled');
  });

  it('runs nothing where it was cancelled before it could start', async () => {
    const executionId = offer([{ argv: shell('echo ran > out/mark'), write_paths: [bench.out] }]);
    cancel(executionId, 1000);
    const receipt = await bench.gate.receipt(executionId);
    expect(receipt).toMatchObject({
      status: 'blocked',
      ended: 'cancelled',
      commands: [{ ended: 'cancelled' }],
    });
    expect(readdirSync(bench.out)).toEqual([]);
  });

  it('does nothing for an execution that is not here', async () => {
    cancel('exec_elsewhere', 0);
    expect((await run([{}])).receipt.status).toBe('success');
  });

  it('drain waits for what runs; cancelAll ends it', async () => {
    const executionId = await offerReady(stubborn);
    let drained = false;
    const draining = bench.executor.drain().then(() => {
      drained = true;
    });
    // Said at once, so that nothing is offered only to be refused.
    expect(bench.gate.all('draining')).toHaveLength(1);
    // Answered behind it, and while it waits.
    const late = offer([{}]);
    expect((await bench.gate.next('refused', late)).reason).toBe('DRAINING');
    expect(drained).toBe(false);
    bench.executor.cancelAll(0);
    await draining;
    expect((await bench.gate.receipt(executionId)).ended).toBe('cancelled');
  });
});

describe('what breaks on the way', () => {
  const local = createLocalLauncher();
  const otherwise = (launch: Launcher['launch']): WorkbenchOptions => ({
    deps: { launcher: { launch, close: () => {} } },
  });

  afterAll(() => local.close());

  it('a launcher that throws is an internal refusal, which says nothing of why', async () => {
    await open(
      otherwise(() => {
        throw new Error('a fault of the launcher');
      }),
    );
    const refused = await bench.gate.next('refused', offer([{}]));
    expect(refused.reason).toBe('INTERNAL');
    expect(refused.message).not.toContain('a fault of the launcher');
    expect(bench.gate.verify(refused.receiptJson)).toMatchObject({ status: 'blocked' });
  });

  it('an offer whose sandbox could not be launched gives back the room for its output', async () => {
    let launched = 0;
    const { deps = {} } = otherwise((spec) => {
      launched += 1;
      if (launched === 1) throw new CscError('QUEUE_FULL', 'no namespace is free');
      return local.launch(spec);
    });
    await open({ deps, executor: { limits: { stdoutBytes: 500, stderrBytes: 500, spoolBytes: 1000 } } });
    await bench.gate.next('refused', offer([{}]));
    expect((await run([{}])).receipt.status).toBe('success');
  });

  const noSandbox = () => endedProcess({ kind: 'infrastructure', message: 'no namespaces left' });

  it('a sandbox that did not come about spends no ticket: it is for another host', async () => {
    let launched = 0;
    await open(
      otherwise((spec) => {
        launched += 1;
        return launched === 1 ? noSandbox() : local.launch(spec);
      }),
    );
    const refused = await bench.gate.next('refused', offer([{}]));
    expect([refused.reason, refused.receiptJson.length]).toEqual(['SANDBOX_UNAVAILABLE', 0]);
    expect(refused.message).toContain('no namespaces left');
    expect((await run([{}])).receipt.status).toBe('success');
  });

  it.each([
    ['is built again', 2, 'success'],
    ['ends it, unstarted, where that does not help', 99, 'failed'],
  ])(
    'one of a command whose ticket is spent, which did not come about, %s',
    async (_what, failing, status) => {
      let launched = 0;
      await open(
        otherwise((spec) => {
          launched += 1;
          return launched === 1 || launched > 1 + failing ? local.launch(spec) : noSandbox();
        }),
      );
      const { receipt } = await run([{}, { id: 'second' }]);
      expect(receipt.status).toBe(status);
      if (status === 'success') return;
      expect(launched).toBe(5);
      expect(receipt).toMatchObject({
        completed_command_ids: ['main'],
        error: expect.stringContaining('nothing of this'),
      });
    },
  );

  it('one that fails once the command was let go is blocked, with no exit code', async () => {
    await open(otherwise(() => ({ ...noSandbox(), ready: Promise.resolve(true) })));
    const { receipt } = await run([{}]);
    expect(receipt).toMatchObject({ status: 'blocked', ended: 'refused', commands: [{ ended: 'refused' }] });
    expect(receipt.error).toContain('nothing of this command ran');
    expect(receipt).not.toHaveProperty('exit_code');
    expect(receipt.error).toContain('no namespaces left');
  });

  it.each([
    ['throws', () => new Error('broken')],
    [
      'has no place on this host',
      () => new CscError('SCOPE_NOT_FOUND', 'read path /gone does not exist on this host'),
    ],
  ])('a later command whose launch %s fails the contract with 126', async (_name, makeError) => {
    let launched = 0;
    await open(
      otherwise((spec) => {
        launched += 1;
        if (launched > 1) throw makeError();
        return local.launch(spec);
      }),
    );
    const { receipt } = await run([{ id: 'one' }, { id: 'two' }, { id: 'three' }]);
    expect(receipt).toMatchObject({
      status: 'failed',
      exit_code: 126,
      completed_command_ids: ['one'],
      failed_command_id: 'two',
    });
    expect(JSON.stringify(receipt)).not.toContain('broken');
  });

  describe('in the journal', () => {
    let directory: string;
    let journal: Journal;

    beforeEach(() => {
      directory = makeTestDirectory();
      journal = openSqliteJournal(join(directory, 'journal.sqlite'));
    });

    afterEach(() => rmSync(directory, { recursive: true }));

    it('holds the receipt back until it can be written', async () => {
      let attempts = 0;
      const finish: Journal['finish'] = async (...given) => {
        attempts += 1;
        if (attempts === 1) throw new CscError('STORE_UNAVAILABLE', 'the disk is full');
        return journal.finish(...given);
      };
      await open({ deps: { journal: { ...journal, finish } } });
      expect((await run([{}])).receipt.status).toBe('success');
      expect(attempts).toBe(2);
    });

    it('lets nothing start before it is durable', async () => {
      const gateOpen = Promise.withResolvers<void>();
      const redeem: Journal['redeem'] = async (redemption) => {
        if (redemption.executionId === 'exec_held') await gateOpen.promise;
        return journal.redeem(redemption);
      };
      await open({ deps: { journal: { ...journal, redeem } } });
      const contract = makeContract(bench.workspace, [
        { argv: shell('echo ran > out/mark'), write_paths: [bench.out] },
      ]);
      const ticket = { execution_id: 'exec_held' };
      bench.gate.offer(contract, bench.policy, { ticket });
      // One that came later and is not held up has gone all the way by then.
      await run([{ write_paths: [bench.out] }]);
      expect(readdirSync(bench.out)).toEqual([]);
      expect(bench.gate.all('accepted', 'exec_held')).toEqual([]);
      gateOpen.resolve();
      expect((await bench.gate.receipt('exec_held')).status).toBe('success');
      expect(readdirSync(bench.out)).toEqual(['mark']);
    });

    it('lets nothing start where it cannot be written', async () => {
      const redeem = () => Promise.reject(new CscError('STORE_UNAVAILABLE', 'the disk is full'));
      await open({ deps: { journal: { ...journal, redeem } } });
      const id = offer([{ argv: shell('echo ran > out/mark'), write_paths: [bench.out] }]);
      const refused = await bench.gate.next('refused', id);
      expect([refused.reason, refused.receiptJson.length]).toEqual(['STORE_UNAVAILABLE', 0]);
      expect(readdirSync(bench.out)).toEqual([]);
    });
  });
});

describe('a host whose certificate has ended while its CA was away', () => {
  const hourMs = 3_600_000;
  const endings = async () => {
    const root = await makeRoot({ trustDomain: 'csc.local', hosts: [] }, new Date());
    const issuer = { certificate: toCertificate(root.pem), key: root.key };
    const subject = {
      trustDomain: 'csc.local',
      role: 'executor',
      name: 'executor-1',
      labels: {},
      hosts: [],
    } as const;
    const { publicKey, privateKey } = generateKeyPairSync('ed25519');
    const seed = Buffer.from(privateKey.export({ format: 'jwk' }).d ?? '', 'base64url');
    const issue = async (use: 'tls' | 'receipts', aheadMs: number) => {
      const key = use === 'tls' ? createPublicKey(generateTlsKey()) : publicKey;
      const now = new Date(Date.now() + aheadMs);
      const { pem } = await certify(subject, use, key, issuer, { now, lifeMs: hourMs });
      return new X509Certificate(pem);
    };
    const signs = async (aheadMs: number) => ({
      ...createSigner(seed, 'executor-1'),
      certificates: [(await issue('receipts', aheadMs)).raw.toString('base64')],
    });
    return { issue, signs };
  };

  it('judges what comes while something newer of its owners is on its way by that', async () => {
    const news = Promise.withResolvers<void>();
    let isHeard = false;
    await open({
      deps: {
        owners: {
          current: () => ({ policies: createPolicySet(isHeard ? [bench.policy] : []) }),
          hearing: () => (isHeard ? undefined : news.promise),
        },
      },
    });
    const ran = run([{}]);
    // Time enough for one that is judged at once.
    await setImmediate();
    isHeard = true;
    news.resolve();
    expect((await ran).receipt.status).toBe('success');
  });

  it('takes nothing that it could sign no verifiable receipt of, and says so, until it has another one', async () => {
    const { issue, signs } = await endings();
    const signer = createReloadableSigner(await signs(-2 * hourMs));
    let tls = await issue('tls', 0);
    await open({ deps: { signer, tlsCertificate: () => tls } });
    const isRefused = async (why: string) => {
      expect(await bench.gate.next('refused', offer([{}]))).toMatchObject({
        ...{ reason: 'SANDBOX_UNAVAILABLE', lasting: false, message: expect.stringContaining(why) },
        receiptJson: Buffer.alloc(0),
      });
      bench.gate.connect(bench.executor);
      expect(bench.gate.all('hello').at(-1)?.shortage).toContain(why);
    };
    await isRefused('another receipt certificate');
    signer.replace(await signs(0));
    expect((await run([{}])).receipt.status).toBe('success');
    tls = await issue('tls', -2 * hourMs);
    await isRefused('another TLS certificate');
    tls = await issue('tls', 0);
    expect((await run([{}])).receipt.status).toBe('success');
    bench.gate.connect(bench.executor);
    expect(bench.gate.all('hello').at(-1)?.shortage).toBe('');
  });

  it('takes no run that may outlast its receipt certificate, unless one is still to be renewed by itself', async () => {
    const { signs } = await endings();
    const signer = createReloadableSigner(await signs(-hourMs / 2));
    const long = ['one', 'two', 'three', 'four'].map((id) => ({ id, timeout_sec: 600 }));
    const isRefused = async () => {
      const refused = await bench.gate.next('refused', offer(long));
      expect(refused).toMatchObject({
        ...{ reason: 'SANDBOX_UNAVAILABLE', lasting: false, receiptJson: Buffer.alloc(0) },
        message: expect.stringContaining('this may run for 2440 s'),
      });
    };
    await open({ deps: { signer } });
    await isRefused();
    expect((await run([{ timeout_sec: 60 }])).receipt.status).toBe('success');
    await bench.close();
    await open({ deps: { signer }, executor: { caAddress: '127.0.0.1:1' } });
    expect((await run(long)).receipt.status).toBe('success');
    signer.replace(await signs(-hourMs * 0.7));
    await isRefused();
    expect((await run([{ timeout_sec: 60 }])).receipt.status).toBe('success');
  });
});
