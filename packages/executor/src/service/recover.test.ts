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
import { Readable } from 'node:stream';
import { contractSha256 } from '@csc-fleet/common/contract';
import { createKeyRing, createSigner } from '@csc-fleet/common/crypto';
import { type ChainLink, type ReceiptTexts, sealChained, verifyReceiptFor } from '@csc-fleet/common/evidence';
import type { Offer } from '@csc-fleet/common/messages';
import { readFrames } from '@csc-fleet/common/output-log';
import { silentLog } from '@csc-fleet/common/service';
import type { ExecutionTicket } from '@csc-fleet/common/ticket';
import { sweepLeftovers } from '@csc-fleet/sandbox/host';
import { makeContract } from '@csc-fleet/test-kit/contract';
import { plainOwners } from '@csc-fleet/test-kit/executor/owners';
import { ScriptedGate } from '@csc-fleet/test-kit/executor/scripted-gate';
import { identity, makePolicy, makeTestDirectory } from '@csc-fleet/test-kit/executor/workbench';
import { programFile } from '@csc-fleet/test-kit/programs';
import { findProcesses } from '@csc-fleet/test-kit/sandbox/find-processes';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { defaultCeiling } from '../admission/host-ceiling.ts';
import { Archive, withArchive } from '../archive/index.ts';
import { buildReceipt, buildRefusal, type ReceiptSubject } from '../evidence/build-receipt.ts';
import { toBareDraft, toDraft } from '../evidence/index.ts';
import { type OwedReceipt, openSqliteJournal } from '../journal/index.ts';
import type { Executor } from '../link/linked-executor.ts';
import { type OutputSpool, SpoolDirectory } from '../output/index.ts';
import { createExecutor } from './compose.ts';
import { recover } from './recover.ts';

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
      executorId: 'executor-1',
      identity,
      stateDir,
      executionMode: 'local',
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

describe('a journal of which the disk has lost something', () => {
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
    // Of what runs, a receipt that is there is none that anybody could have written.
    "receipt_json = x'00'",
    "original_json = x'00'",
    'receipt_json = NULL',
  ];
  const both = "receipt_json = x'00', bare = 'garbage'";
  const executionId = 'exec_1';
  const signer = createSigner(seed, 'host-key');
  const now = new Date();
  const clock = { now: () => now };
  const contract = makeContract('/work', [{ id: 'done' }, { id: 'under-way' }]);
  const subject: ReceiptSubject = {
    executorId: 'executor-1',
    executionMode: 'local',
    approvals: [],
    startedAt: now,
    contract,
    contractSha256: contractSha256(contract),
    ticket: {
      ticket_id: 'ticket-1',
      execution_id: executionId,
      policy_profile: 'test',
      policy_sha256: 'a'.repeat(64),
      grant: { receipt_version: 'csc.receipt.v0.2' },
    } as ExecutionTicket,
  };

  /** What a process leaves that is dead by now: gives what it had signed. */
  async function leave(kind: 'under way' | 'ended' | 'refused'): Promise<ReceiptTexts | undefined> {
    mkdirSync(stateDir, { mode: 0o700 });
    const plain = openSqliteJournal(join(stateDir, 'journal.sqlite'), { clock, owner: 'a dead process' });
    const archive = Archive.open(join(stateDir, 'receipts'), clock);
    const journal = withArchive(plain, archive, { days: 30 });
    const expiresAt = new Date(+now + 60_000);
    const use = { ticketId: 'ticket-1', executionId, notBefore: now, expiresAt };
    const sealing = { version: 'csc.receipt.v0.2', signer, now } as const;
    let signed: ReceiptTexts | undefined;
    if (kind === 'refused') {
      const seal = (link: ChainLink) => sealChained(buildRefusal(subject, 'no'), sealing, link);
      signed = await journal.refuse({ ...use, refusedAt: now, seal });
    } else {
      const [first, second] = subject.contract.commands;
      if (first === undefined) throw new Error('the contract has no command');
      const bare = toBareDraft(subject, first);
      const draft = toDraft(subject, { outcomes: [], profileIds: [] }, second ?? first);
      await journal.redeem({ ...use, redeemedAt: now, approvals: [], draft, bare });
      const caps = { stdout: 1000, stderr: 1000 };
      const spool = new SpoolDirectory(join(stateDir, 'spool'), 2 ** 20).open(executionId, caps, () => {});
      await spool.capture('done', 'stdout', Readable.from([Buffer.from('done\n')]));
      await spool.end();
      await spool.close();
      const result = { outcomes: [], profileIds: [], totals: outputOf(spool), endedAt: now };
      const outputLogLength = spool.length;
      if (kind === 'ended')
        signed = await journal.finish(executionId, (link) => ({
          ...sealChained(buildReceipt(subject, result), sealing, link),
          outputLogLength,
        }));
    }
    // As if it had been killed: it says goodbye to nobody.
    const database = new DatabaseSync(join(stateDir, 'journal.sqlite'));
    await journal.close();
    database.exec("UPDATE executions SET owner = 'a dead process'");
    database.close();
    return signed;
  }

  const outputOf = (spool: OutputSpool) => ({
    stdout: spool.total('stdout'),
    stderr: spool.total('stderr'),
  });

  /** The next start, on a copy of that state which is harmed. */
  async function recoverFrom(left: string, harm: string, archives = false) {
    rmSync(stateDir, { recursive: true, force: true });
    cpSync(left, stateDir, { recursive: true });
    const database = new DatabaseSync(join(stateDir, 'journal.sqlite'));
    const query = `UPDATE executions SET ${harm} RETURNING (SELECT count(*) FROM executions) AS n`;
    expect(database.prepare(query).all(), harm).toEqual([{ n: 1 }]);
    database.close();
    const plain = openSqliteJournal(join(stateDir, 'journal.sqlite'), { clock });
    const archive = Archive.open(join(stateDir, 'receipts'), clock);
    const journal = archives ? withArchive(plain, archive, { days: 30 }) : plain;
    const spools = new SpoolDirectory(join(stateDir, 'spool'), 2 ** 20);
    const owed: OwedReceipt[] = [];
    const ports = { journal, spools, signer, clock, log: silentLog };
    const recovery = await recover(ports, { owe: (receipt) => owed.push(receipt) });
    await recovery.again();
    const found = {
      owed: owed.map((it) => it.executionId),
      output: owed.map((it) => it.outputLogLength),
      texts: owed.map((it) => journal.receiptOf(it.executionId)),
      receiptless: recovery.receiptless(),
      unacknowledged: journal.unacknowledged(),
      signed: journal.head()?.sequence ?? 0,
    };
    await journal.close();
    return found;
  }

  async function leftOf(kind: 'under way' | 'ended' | 'refused') {
    stateDir = join(root, 'left');
    const signed = await leave(kind);
    stateDir = join(root, 'harmed');
    return { left: join(root, 'left'), signed };
  }

  it('brings its one receipt whichever column of the journal the disk has lost, where it was under way', async () => {
    const { left } = await leftOf('under way');
    const keys = createKeyRing([signer]);
    for (const harm of harms.filter((it) => !/^(receipt|original)_json/.test(it))) {
      const { owed, texts, output, receiptless } = await recoverFrom(left, harm);
      expect({ harm, owed, receiptless }).toEqual({ harm, owed: [executionId], receiptless: [] });
      const [text = { receiptJson: Buffer.alloc(0) }] = texts;
      const { receipt } = verifyReceiptFor({}, text, keys);
      expect(receipt).toMatchObject({ ended: 'executor_restart', stdout_hash: sha256('done\n') });
      expect(receipt.error?.includes('how far it came cannot be read')).toBe(harm.startsWith('draft'));
      expect(output[0]).toBeGreaterThan(0);
    }
  });

  it.each(['ended', 'refused'] as const)(
    'brings the very receipt that was signed whichever column the disk has lost, where it had %s',
    async (kind) => {
      const { left, signed } = await leftOf(kind);
      // That nothing of it ran, a refusal says by its empty draft alone.
      for (const harm of harms.filter((it) => kind === 'ended' || !/^draft|= NULL/.test(it))) {
        const { owed, texts, signed: sequence } = await recoverFrom(left, harm);
        const bytes = texts.map((it) => Buffer.from(it?.receiptJson ?? []).toString());
        const before = Buffer.from(signed?.receiptJson ?? []).toString();
        expect({ harm, owed, bytes, sequence }).toEqual({
          harm,
          owed: [executionId],
          bytes: [before],
          sequence: 1,
        });
      }
    },
  );

  it('has the receipt again from the archive where both copies are damaged', async () => {
    const { left, signed } = await leftOf('ended');
    const { texts, signed: sequence, receiptless } = await recoverFrom(left, both, true);
    expect(texts.map((it) => Buffer.from(it?.receiptJson ?? []))).toEqual([
      Buffer.from(signed?.receiptJson ?? []),
    ]);
    expect({ sequence, receiptless }).toEqual({ sequence: 1, receiptless: [] });
  });

  it.each([
    ['ended', "receipt_json = x'00', bare = 'garbage'", 1],
    ['ended', "receipt_json = x'00', bare = replace(bare, 'blocked', 'success')", 1],
    ['under way', "draft = 'garbage', bare = 'garbage'", 0],
  ] as const)(
    'signs no outcome where it cannot know that it is the only one, or true: %s',
    async (kind, harm, signed) => {
      const { left } = await leftOf(kind);
      expect(await recoverFrom(left, harm)).toMatchObject({
        owed: [],
        receiptless: [executionId],
        unacknowledged: [executionId],
        signed,
      });
    },
  );
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
