import { type ChildProcess, spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import {
  appendFileSync,
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
} from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { DatabaseSync } from 'node:sqlite';
import type { Offer } from '@csc-fleet/common/messages';
import { readFrames } from '@csc-fleet/common/output-log';
import { sweepLeftovers } from '@csc-fleet/sandbox/host';
import { makeContract } from '@csc-fleet/test-kit/contract';
import { plainOwners } from '@csc-fleet/test-kit/executor/owners';
import { ScriptedGate } from '@csc-fleet/test-kit/executor/scripted-gate';
import { identity, makePolicy, makeTestDirectory } from '@csc-fleet/test-kit/executor/workbench';
import { programFile } from '@csc-fleet/test-kit/programs';
import { findProcesses } from '@csc-fleet/test-kit/sandbox/find-processes';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { defaultCeiling } from '../admission/host-ceiling.ts';
import type { Executor } from '../link/linked-executor.ts';
import { createExecutor } from './compose.ts';

const seed = randomBytes(32);

let root: string;
let stateDir: string;
let workspace: string;
const victims: ChildProcess[] = [];
const executors: Executor[] = [];

beforeEach(() => {
  root = makeTestDirectory();
  [stateDir, workspace] = [join(root, 'state'), join(root, 'workspace')];
  mkdirSync(join(workspace, 'out'), { recursive: true });
  chmodSync(join(workspace, 'out'), 0o777);
});

afterEach(async () => {
  for (const victim of victims.splice(0)) victim.kill('SIGKILL');
  for (const executor of executors.splice(0)) await executor.close();
  // A sandbox whose executor was killed while it was being built waits for ever; `csc executor` sweeps when it starts.
  await sweepLeftovers();
  rmSync(root, { recursive: true, force: true });
});

/** Starts an executor in a process of its own and waits until it is in the middle of a contract. */
async function startVictim(mode: 'local' | 'hardened', script: string, awaited = 'output') {
  const given = [mode, stateDir, workspace, seed.toString('hex'), script, awaited];
  const child = spawn(process.execPath, [programFile('victim'), ...given], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  victims.push(child);
  const gone = once(child, 'exit');
  const [line] = await once(createInterface({ input: child.stdout }), 'line');
  const { executionId, ticketJson, contractJson } = JSON.parse(String(line));
  const offer: Offer = {
    executionId,
    ticketJson: Buffer.from(ticketJson, 'base64'),
    contractJson: Buffer.from(contractJson, 'base64'),
    approvalsJson: [],
    submissionJson: Buffer.alloc(0),
  };
  return {
    offer,
    async kill() {
      child.kill('SIGKILL');
      await gone;
    },
    /** Resolves once it has killed itself. */
    async killed() {
      await gone;
    },
  };
}

/** The executor's next start, on the same state. */
async function start(gate = new ScriptedGate(seed)): Promise<ScriptedGate> {
  const executor = await createExecutor(
    {
      ...{ executorId: 'executor-1', identity, stateDir, executionMode: 'local' },
      ceiling: { ...defaultCeiling, inlineCode: true },
    },
    { gateKeys: gate.keys, owners: plainOwners([makePolicy(workspace)]), output: gate.output },
  );
  executors.push(executor);
  gate.connect(executor);
  return gate;
}

async function stop(): Promise<void> {
  await executors.pop()?.close();
}

/** Where the first frame of a log ends. */
function firstFrameOf(path: string): number {
  const [frame] = readFrames(readFileSync(path));
  return frame?.end ?? 0;
}

function zeroBehind(path: string, length: number): void {
  const { size } = statSync(path);
  truncateSync(path, length);
  truncateSync(path, size);
}

const sha256 = (text: string) => `sha256:${createHash('sha256').update(text).digest('hex')}`;

describe('a state directory', () => {
  it.each(['spiffe://csc.local/executor/executor-2', 'spiffe://other.example/executor/executor-1'])(
    'is of one executor, and not of %s',
    async (other) => {
      const victim = await startVictim('local', 'echo half; sleep 60');
      await victim.kill();
      const gate = new ScriptedGate(seed);
      const foreign = createExecutor(
        { executorId: 'executor-2', identity: other, stateDir, executionMode: 'local' },
        { gateKeys: gate.keys, owners: plainOwners([makePolicy(workspace)]), output: gate.output },
      );
      await expect(foreign).rejects.toMatchObject({
        code: 'CONFIG_INVALID',
        message: expect.stringContaining(`receipts of "${identity}"`),
      });
      // What it was to make up for is still its owner's.
      expect(await (await start()).receipt(victim.offer.executionId)).toMatchObject({
        ended: 'executor_restart',
      });
    },
  );
});

describe('an executor that was killed in the middle of a run', () => {
  it('comes back with one receipt that says so', async () => {
    const victim = await startVictim('local', 'echo half; sleep 60');
    await victim.kill();
    const { executionId } = victim.offer;
    const gate = await start();
    expect(gate.all('hello')[0]?.executionIds).toEqual([executionId]);
    const receipt = await gate.receipt(executionId);
    expect(receipt).toMatchObject({
      status: 'failed',
      ended: 'executor_restart',
      exit_code: 137,
      completed_command_ids: ['done'],
      failed_command_id: 'under-way',
      stdout_hash: sha256('done\nhalf\n'),
      commands: [
        { command_id: 'done', ended: 'exit', exit_code: 0, stdout_hash: sha256('done\n'), stdout_bytes: 5 },
        {
          command_id: 'under-way',
          ended: 'executor_restart',
          stdout_hash: sha256('half\n'),
          stdout_bytes: 5,
        },
      ],
    });
    const [message] = gate.all('receipt', executionId);
    await gate.output.holds(executionId, message?.outputLogLength ?? 0);
    expect(gate.output.text(executionId)).toBe('done\nhalf\n');
  });

  it.each<[string, (path: string) => void, number]>([
    ['whose last frames are none', (path) => appendFileSync(path, Buffer.from('0a020a05', 'hex')), 10],
    [
      'that is no file',
      (path) => {
        rmSync(path);
        mkdirSync(path);
      },
      0,
    ],
  ])('comes back with its receipt over output %s, which says so', async (_what, harm, kept) => {
    const victim = await startVictim('local', 'echo half; sleep 60');
    await victim.kill();
    const { executionId } = victim.offer;
    const spool = join(stateDir, 'spool');
    for (const name of readdirSync(spool)) harm(join(spool, name));
    const gate = await start();
    const receipt = await gate.receipt(executionId);
    expect(receipt).toMatchObject({
      ended: 'executor_restart',
      stdout_hash: sha256('done\nhalf\n'.slice(0, kept)),
      stdout_truncated: true,
      error: expect.stringMatching(/its executor ended.*cannot be read and are left out \(/),
    });
    const [message] = gate.all('receipt', executionId);
    await gate.output.holds(executionId, message?.outputLogLength ?? 0);
    expect(gate.output.text(executionId)).toHaveLength(kept);
    await executors.at(-1)?.delivered();
    // Its slot is free.
    expect(
      (await gate.receipt(gate.offer(makeContract(workspace, [{}]), makePolicy(workspace)))).status,
    ).toBe('success');
  });

  // Of every column of the table of executions, something that its type allows and nobody has written.
  const harms = [
    "draft = 'garbage'",
    "draft = '{}'",
    "draft = ''",
    "bare = 'garbage'",
    "execution_id = 'garbage'",
    "ticket_id = 'garbage'",
    "owner = 'garbage'",
    'redeemed_at = 9223372036854775807',
    'redeemed_at = -9223372036854775807',
    'ends_at = 9223372036854775807',
    'ends_at = -9223372036854775807',
    'acknowledged_at = 9223372036854775807',
    'acknowledged_at = 1',
    'output_log_length = 9223372036854775807',
    'output_log_length = -1',
    'output_log_length = NULL',
    "receipt_json = x'00'",
    "original_json = x'00'",
  ];

  it.each([
    ['was under way', 'output', 'echo half; sleep 60', 'executor_restart', 'half'],
    ['had ended', 'receipt', 'echo whole', 'exit', 'whole'],
  ])(
    'brings its one receipt whichever column of the journal the disk has lost, where it %s',
    async (...[, awaited, script, ended, text]) => {
      const victim = await startVictim('local', script, awaited);
      await victim.kill();
      const { executionId } = victim.offer;
      const killed = stateDir;
      const isUnderWay = ended === 'executor_restart';
      for (const [index, harm] of harms.entries()) {
        // Of what runs, a receipt that is there is none that anybody could have written.
        if (isUnderWay && /_json = /.test(harm)) continue;
        stateDir = join(root, `harmed-${index}`);
        cpSync(killed, stateDir, { recursive: true });
        const database = new DatabaseSync(join(stateDir, 'journal.sqlite'));
        const query = `UPDATE executions SET ${harm} RETURNING (SELECT count(*) FROM executions) AS n`;
        expect(database.prepare(query).all(), harm).toEqual([{ n: 1 }]);
        database.close();
        const gate = await start();
        const receipt = await gate.receipt(executionId);
        const isLost = /^receipt_json|^original_json/.test(harm);
        expect({ harm, ended: receipt.ended }).toEqual({ harm, ended: isLost ? 'executor_restart' : ended });
        const says =
          /^draft/.test(harm) && isUnderWay
            ? 'how far it came cannot be read'
            : isLost
              ? 'damaged on this host'
              : '';
        expect(receipt.error ?? '').toContain(says);
        const [{ outputLogLength } = { outputLogLength: 0 }] = gate.all('receipt', executionId);
        await gate.output.holds(executionId, outputLogLength);
        expect(gate.output.text(executionId)).toBe(`done\n${text}\n`);
        await executors.at(-1)?.delivered();
        await stop();
        expect(unacknowledged()).toBe(0);
      }
    },
  );

  it.each<[string, (path: string) => void, number]>([
    ['the disk has lost', (path) => rmSync(path), 0],
    ['a power cut has cut off', (path) => truncateSync(path, statSync(path).size - 1), 1],
    // Of its length, with nothing in it.
    ['is zeros behind its beginning', (path) => zeroBehind(path, firstFrameOf(path)), 1],
  ])('delivers a receipt whose output %s, and says what it was signed with', async (_what, harm, frames) => {
    const victim = await startVictim('local', 'echo half; sleep 60');
    await victim.kill();
    const { executionId } = victim.offer;
    const before = new ScriptedGate(seed);
    before.acknowledges = false;
    const said = await (await start(before)).receipt(executionId);
    await stop();
    const [{ outputLogLength: signed } = { outputLogLength: 0 }] = before.all('receipt', executionId);
    const spool = join(stateDir, 'spool');
    const first = firstFrameOf(join(spool, readdirSync(spool)[0] ?? ''));
    for (const name of readdirSync(spool)) harm(join(spool, name));
    const gate = new ScriptedGate(seed);
    // As a gate does that waits for all of the output.
    gate.acknowledges = false;
    await start(gate);
    expect(await gate.receipt(executionId)).toEqual(said);
    const last = () => gate.all('receipt', executionId).at(-1);
    await expect.poll(last).toMatchObject({ outputLogLength: frames * first, signedLogLength: signed });
    await gate.output.holds(executionId, frames * first);
    gate.acknowledge(executionId);
    await executors.at(-1)?.delivered();
  });

  it('signs it once, whatever restarts follow, until the gate has it', async () => {
    const victim = await startVictim('local', 'echo half; sleep 60');
    await victim.kill();
    const { executionId } = victim.offer;
    const received: string[] = [];
    for (let round = 0; round < 3; round += 1) {
      const gate = new ScriptedGate(seed);
      gate.acknowledges = round === 2;
      await start(gate);
      await gate.receipt(executionId);
      received.push(...gate.all('receipt', executionId).map(({ receiptJson }) => receiptJson.toString()));
      if (gate.acknowledges) await expect.poll(() => unacknowledged()).toBe(0);
      await stop();
    }
    expect(received).toHaveLength(3);
    expect(new Set(received).size).toBe(1);
    const gate = await start();
    expect(gate.all('hello')[0]?.executionIds).toEqual([]);
    expect(gate.all('receipt')).toEqual([]);
    expect(readdirSync(join(stateDir, 'spool'))).toEqual([]);
  });

  it('does not redeem its ticket again', async () => {
    const victim = await startVictim('local', 'echo half; echo ran >> out/mark; sleep 60');
    await victim.kill();
    const gate = await start();
    gate.send({ $case: 'offer', value: victim.offer });
    const refused = await gate.next('refused', victim.offer.executionId);
    expect(refused.reason).toBe('TICKET_REPLAYED');
    expect(gate.all('accepted')).toEqual([]);
  });

  it('goes on with the chain of receipts', async () => {
    const victim = await startVictim('local', 'echo half; sleep 60');
    await victim.kill();
    const gate = await start();
    const restarted = await gate.receipt(victim.offer.executionId);
    const next = await gate.receipt(gate.offer(makeContract(workspace, [{}]), makePolicy(workspace)));
    expect(restarted).not.toHaveProperty('previous_receipt_sha256');
    const [message] = gate.all('receipt', victim.offer.executionId);
    const hash = createHash('sha256')
      .update(message?.receiptJson ?? '')
      .digest('hex');
    expect(next.previous_receipt_sha256).toBe(hash);
  });

  it('leaves the run of a living one alone', async () => {
    const victim = await startVictim('local', 'echo half; sleep 60');
    const gate = await start();
    // Whatever it owes goes out before what it is offered then.
    await gate.receipt(gate.offer(makeContract(workspace, [{}]), makePolicy(workspace)));
    expect(gate.all('receipt', victim.offer.executionId)).toEqual([]);
    await victim.kill();
    await stop();
    expect((await (await start()).receipt(victim.offer.executionId)).ended).toBe('executor_restart');
  });

  it('takes its sandbox with it', async () => {
    const marker = `csc-test-victim-${process.pid}`;
    const victim = await startVictim('hardened', `echo half; sh -c "while :; do sleep 0.05; done" ${marker}`);
    await expect.poll(() => findProcesses(marker)).not.toEqual([]);
    await victim.kill();
    await expect.poll(() => findProcesses(marker)).toEqual([]);
    const receipt = await (await start()).receipt(victim.offer.executionId);
    expect(receipt).toMatchObject({ ended: 'executor_restart', execution_mode: 'hardened' });
    expect(receipt.sandbox?.mechanism).toBe('bubblewrap');
  });
});

describe('an executor that was killed', () => {
  const unstarted = { ended: 'executor_restart', status: 'failed', marks: '' };
  const cut = { ...unstarted, marks: 'ran\n' };
  const whole = { ended: 'exit', status: 'success', marks: 'ran\n' };

  it.each([
    ['before redeem', whole],
    ['after redeem', unstarted],
    ['before finish', cut],
    ['after finish', whole],
  ])('%s has started the contract once at most', async (moment, expected) => {
    const script = 'echo ran >> out/mark; echo whole';
    const { offer, killed } = await startVictim('hardened', script, moment);
    await killed();
    const gate = await start();
    const [hello] = gate.all('hello');
    if (moment === 'before redeem') gate.send({ $case: 'offer', value: offer });
    expect(hello?.executionIds).toEqual(moment === 'before redeem' ? [] : [offer.executionId]);
    const { ended, status } = await gate.receipt(offer.executionId);
    const mark = join(workspace, 'out/mark');
    const marks = existsSync(mark) ? readFileSync(mark, 'utf8') : '';
    expect({ ended, status, marks }).toEqual(expected);
    gate.send({ $case: 'offer', value: offer });
    expect((await gate.next('refused', offer.executionId)).reason).toBe('TICKET_REPLAYED');
    expect(gate.all('receipt', offer.executionId)).toHaveLength(1);
  });
});

describe('an executor that was killed before its receipt was delivered', () => {
  it('delivers that same receipt at the next start', async () => {
    const victim = await startVictim('local', 'echo whole', 'receipt');
    await victim.kill();
    const gate = await start();
    const receipt = await gate.receipt(victim.offer.executionId);
    expect(receipt).toMatchObject({ status: 'success', ended: 'exit', stdout_hash: sha256('done\nwhole\n') });
    const [message] = gate.all('receipt', victim.offer.executionId);
    await gate.output.holds(victim.offer.executionId, message?.outputLogLength ?? 0);
    expect(gate.output.text(victim.offer.executionId)).toBe('done\nwhole\n');
  });
});

function unacknowledged(): number {
  const database = new DatabaseSync(join(stateDir, 'journal.sqlite'), { readOnly: true });
  try {
    const row = database.prepare('SELECT count(*) AS n FROM executions WHERE acknowledged_at IS NULL').get();
    return Number(row?.['n']);
  } finally {
    database.close();
  }
}
