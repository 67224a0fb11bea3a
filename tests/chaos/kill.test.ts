import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { sha256Tagged } from '@csc-fleet/common/encoding';
import type { AuditRecord } from '@csc-fleet/common/messages';
import { type ReceiptV02, receiptSha256 } from '@csc-fleet/common/receipt';
import { ExecutionState } from '@csc-fleet/common/rpc';
import { unsoundExitCode } from '@csc-fleet/common/service';
import { type Fleet, startFleet } from '@csc-fleet/test-kit/fleet';
import { programFile } from '@csc-fleet/test-kit/programs';
import { findProcesses } from '@csc-fleet/test-kit/sandbox/find-processes';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

// One job at a time: what is queued stays so until the test says.
const executor = { name: 'host', config: { slots: 1 } };

// One for all: each test leaves gate and executor running.
let fleet: Fleet;
beforeAll(async () => {
  fleet = await startFleet({ executors: [executor], admins: true });
});
afterAll(() => fleet[Symbol.asyncDispose]());

/** A shell that waits for the file `go` in a directory, which `release` makes. */
const waitFor = (directory: string): string => `while [ ! -e ${directory}/go ]; do sleep 0.05; done`;
const release = (directory: string): void => writeFileSync(join(directory, 'go'), '');

/** Resolves once `holds` does. */
async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise((resolve) => setTimeout(resolve, 20));
}

/** What comes, as it comes; `over` resolves when nothing more does, also where it was left. */
function collect(records: AsyncIterable<AuditRecord>): { seen: AuditRecord[]; over: Promise<void> } {
  const seen: AuditRecord[] = [];
  const read = async (): Promise<void> => {
    for await (const record of records) seen.push(record);
  };
  return { seen, over: read().catch(() => undefined) };
}

describe('kill -9 of the gate while it writes down what it has offered', () => {
  it.each(['unwritten', 'unsynced', 'unsaid'])('has it run once, and with one receipt: %s', async (when) => {
    const out = fleet.writable(`gate-${when}`);
    // Started anew: after short connections, which are what such a gate gives it, an executor waits longer each time.
    await Promise.all([fleet.executor('host').stop(), fleet.gate.stop()]);
    const path = programFile('dying-gate');
    await fleet.startGate({ path, args: [when] });
    const dying = fleet.gate;
    await fleet.startExecutor(executor);
    await until(() => /executor connected/.test(dying.log));
    const argv = ['sh', '-c', `echo once >> ${out}/runs`];
    const run = fleet.connect().run(fleet.contract({ argv, write_paths: [out] }));
    await until(() => !dying.running);
    expect(dying.child.signalCode).toBe('SIGKILL');
    expect(existsSync(join(out, 'runs'))).toBe(false);
    await fleet.startGate();
    const { execution, receipt } = await run;
    expect(receipt).toMatchObject({ status: 'success', execution_id: execution.executionId });
    expect(readFileSync(join(out, 'runs'), 'utf8')).toBe('once\n');
  });
});

describe('kill -9 of the executor in the middle of a run', () => {
  it('kills the job with it, and leaves exactly one receipt, which says so and is chained to the one before', async () => {
    const out = fleet.writable('killed');
    const client = fleet.connect();
    const before = (await client.run(fleet.contract({}))).receipt as ReceiptV02;
    const marker = `csc-test-killed-${process.pid}`;
    const argv = ['sh', '-c', `echo once >> ${out}/runs; while :; do sleep 1; done`, marker];
    const run = client.run(fleet.contract({ argv, write_paths: [out], timeout_sec: 120 }));
    const runs = join(out, 'runs');
    // The shell makes the file before it writes to it.
    await until(() => existsSync(runs) && readFileSync(runs, 'utf8') !== '');
    expect(findProcesses(marker)).not.toEqual([]);
    await fleet.executor('host').stop('SIGKILL');
    await until(() => findProcesses(marker).length === 0);
    await fleet.startExecutor(executor);
    const { execution, receipt, receiptJson } = await run;
    expect(execution.state).toBe(ExecutionState.FAILED);
    expect(receipt).toMatchObject({ status: 'failed', ended: 'executor_restart', executor_id: 'host' });
    expect(receipt).toHaveProperty('previous_receipt_sha256', receiptSha256(before));
    expect(readFileSync(runs, 'utf8')).toBe('once\n');

    // Neither another restart nor the time after it brings a second receipt or a second run.
    await fleet.executor('host').stop('SIGKILL');
    await fleet.startExecutor(executor);
    const after = (await client.run(fleet.contract({}))).receipt as ReceiptV02;
    expect(after).toMatchObject({
      status: 'success',
      previous_receipt_sha256: receiptSha256(receipt as ReceiptV02),
    });
    expect((await client.getReceipt(execution.executionId)).receiptJson).toEqual(receiptJson);
    expect(readFileSync(runs, 'utf8')).toBe('once\n');
  });
});

describe('the end of an executor between a commit and the disk', () => {
  const path = programFile('dying-executor');

  it.each([
    ['redeem', { exitCode: unsoundExitCode, signalCode: null }, 'executor_restart'],
    ['finish', { exitCode: null, signalCode: 'SIGKILL' }, 'exit'],
  ] as const)('runs nothing twice, and leaves one receipt: %s', async (what, died, ended) => {
    const out = fleet.writable(`unsynced-${what}`);
    const runs = join(out, 'runs');
    await fleet.executor('host').stop();
    await fleet.startExecutor({ ...executor, program: { path, args: [what] } });
    const dying = fleet.executor('host');
    const client = fleet.connect();
    const argv = ['sh', '-c', `echo once >> ${out}/runs`];
    const run = client.run(fleet.contract({ argv, write_paths: [out] }));
    await until(() => !dying.running);
    expect(dying.child).toMatchObject(died);
    expect(existsSync(runs)).toBe(what === 'finish');
    if (what === 'redeem') {
      expect(dying.log).toMatch(
        /"why":"this host's journal cannot be written: look at its disk.*to be started again"/,
      );
      expect(dying.log).not.toMatch(/an offer was refused|an exception that nobody caught/);
    }
    await fleet.startExecutor(executor);
    const { execution, receipt, receiptJson } = await run;
    expect(receipt).toMatchObject({ ended, execution_id: execution.executionId });
    expect((await client.getReceipt(execution.executionId)).receiptJson).toEqual(receiptJson);
    if (what === 'finish') expect(readFileSync(runs, 'utf8')).toBe('once\n');
    else expect(existsSync(runs)).toBe(false);
  });
});

describe('kill -9 of the gate in the middle of a run', () => {
  it('does not end the run: a client that waits gets every byte and the receipt from the gate that comes back', async () => {
    const out = fleet.writable('watched');
    let seen = '';
    const script = `for i in 1 2 3 4; do echo line $i; done; ${waitFor(out)}; for i in 5 6 7 8; do echo line $i; done`;
    const handlers = {
      onStdout: (data: Buffer) => {
        seen += data.toString();
      },
    };
    const run = fleet
      .connect()
      .run(fleet.contract({ argv: ['sh', '-c', script], write_paths: [out], timeout_sec: 120 }), {
        handlers,
      });
    await until(() => seen.includes('line 3'));
    await fleet.gate.stop('SIGKILL');
    release(out);
    await fleet.startGate();
    const { receipt } = await run;
    const whole = [1, 2, 3, 4, 5, 6, 7, 8].map((it) => `line ${it}\n`).join('');
    expect(seen).toBe(whole);
    expect(receipt).toMatchObject({ status: 'success', stdout_hash: sha256Tagged(whole) });
  });

  it('loses nothing that was queued, and starts nothing twice; nor does who follows the audit', async () => {
    const out = fleet.writable('queued');
    const client = fleet.connect();
    const left = new AbortController();
    const followed = collect(client.audit({ follow: true, signal: left.signal }));
    const submitted = await Promise.all(
      [1, 2, 3, 4].map((it) =>
        client.submit(
          fleet.contract({
            argv: ['sh', '-c', `echo ${it} >> ${out}/runs; ${waitFor(out)}`],
            write_paths: [out],
            timeout_sec: 120,
          }),
        ),
      ),
    );
    await fleet.gate.stop('SIGKILL');
    await fleet.startGate();
    release(out);
    const ended = await Promise.all(submitted.map((it) => client.follow(it.executionId)));
    expect(ended.map((it) => it.receipt?.status)).toEqual(['success', 'success', 'success', 'success']);
    expect(readFileSync(join(out, 'runs'), 'utf8').trim().split('\n').sort()).toEqual(['1', '2', '3', '4']);
    const records = collect(client.audit());
    await records.over;
    await until(() => followed.seen.length >= records.seen.length);
    left.abort();
    await followed.over;
    expect(followed.seen).toEqual(records.seen);
    expect(records.seen.map(({ sequence }) => sequence)).toEqual(records.seen.map((_, index) => index + 1));
    const ofThese = records.seen.filter(({ kind }) => kind === 'execution.ended').map((it) => it.executionId);
    expect(ofThese).toEqual(expect.arrayContaining(submitted.map((it) => it.executionId)));
  });
});

describe('a client that leaves', () => {
  it('does not end the run', async () => {
    const client = fleet.connect();
    const leave = new AbortController();
    let id = '';
    const handlers = {
      onEvent: (event: { type: string; executionId: string }) => {
        id = event.executionId;
        if (event.type === 'commandStarted') leave.abort();
      },
    };
    const out = fleet.writable('left');
    const argv = ['sh', '-c', `${waitFor(out)}; echo done`];
    const run = client.run(fleet.contract({ argv, write_paths: [out], timeout_sec: 120 }), {
      handlers,
      signal: leave.signal,
      cancelOnAbort: false,
    });
    await expect(run).rejects.toMatchObject({ code: 'CANCELLED' });
    release(out);
    let seen = '';
    const again = await client.follow(id, {
      handlers: {
        onStdout: (data) => {
          seen += data.toString();
        },
      },
    });
    expect(again.receipt?.status).toBe('success');
    expect(seen).toBe('done\n');
  });
});
