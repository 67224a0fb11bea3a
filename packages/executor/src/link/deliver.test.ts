import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { sha256Hex } from '@csc-fleet/common/encoding';
import { CscError } from '@csc-fleet/common/errors';
import type { ReceiptTexts } from '@csc-fleet/common/evidence';
import { createPolicySet } from '@csc-fleet/common/policy';
import { type LogFields, silentLog } from '@csc-fleet/common/service';
import { lockStateDirectory } from '@csc-fleet/sandbox/host';
import { makeContract, shell } from '@csc-fleet/test-kit/contract';
import { CollectingSink } from '@csc-fleet/test-kit/executor/scripted-gate';
import { openWorkbench, type Workbench } from '@csc-fleet/test-kit/executor/workbench';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { OwnersWord } from '../admission/owners.ts';
import { type Journal, journalFile, openSqliteJournal } from '../journal/index.ts';
import { checkReceiptLog, readUntaken } from '../log-watch/index.ts';
import { giveUpReceipt } from '../service/give-up.ts';
import { owedLimits } from './deliver.ts';

let bench: Workbench;

beforeEach(async () => {
  bench = await openWorkbench();
});

afterEach(() => bench.close());

const offer = (script: string) =>
  bench.gate.offer(makeContract(bench.workspace, [{ argv: shell(script) }]), bench.policy);

describe('delivery', () => {
  it('brings a receipt again after every reconnect until it is acknowledged', async () => {
    bench.gate.acknowledges = false;
    const executionId = offer('echo x');
    await bench.gate.receipt(executionId);
    for (let count = 2; count < 4; count += 1) {
      bench.gate.disconnect();
      bench.gate.connect(bench.executor);
      expect(bench.gate.all('hello').at(-1)?.executionIds).toEqual([executionId]);
      expect(bench.gate.all('receipt', executionId)).toHaveLength(count);
    }
    bench.gate.acknowledge(executionId);
    await bench.executor.delivered();
    bench.gate.disconnect();
    bench.gate.connect(bench.executor);
    expect(bench.gate.all('receipt', executionId)).toHaveLength(3);
    await bench.restart();
    expect(bench.gate.all('hello').at(-1)?.executionIds).toEqual([]);
    const sent = bench.gate.all('receipt', executionId).map(({ receiptJson }) => receiptJson.toString());
    expect(new Set(sent).size).toBe(1);
  });

  it('reads a receipt from the journal for those connections alone that come after it', async () => {
    const read: string[] = [];
    const wrapJournal = (journal: Journal): Journal => ({
      ...journal,
      receiptOf: (executionId) => {
        read.push(executionId);
        return journal.receiptOf(executionId);
      },
    });
    const own = await openWorkbench({ wrapJournal });
    try {
      own.gate.acknowledges = false;
      const executionId = own.gate.offer(makeContract(own.workspace, [{ argv: ['true'] }]), own.policy);
      const receipt = await own.gate.receipt(executionId);
      expect(read).toEqual([]);
      own.gate.disconnect();
      own.gate.connect(own.executor);
      expect(read).toEqual([executionId]);
      const [first, again] = own.gate.all('receipt', executionId);
      expect(again).toEqual(first);
      expect(receipt).toMatchObject({ status: 'success' });
    } finally {
      await own.close();
    }
  });

  it('says once what the gate was brought and does not take, though it was there, until it does or its operator takes it back', async () => {
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval', 'performance'] });
    const lines: string[] = [];
    const error = ({ executions }: LogFields, message: string) => void lines.push(`${message} ${executions}`);
    const own = await openWorkbench({ deps: { prove: async () => undefined, log: { ...silentLog, error } } });
    const wait = (minutes: number) => vi.advanceTimersByTime(minutes * 60_000);
    try {
      own.gate.acknowledges = false;
      const run = async (): Promise<string> => {
        const executionId = own.gate.offer(makeContract(own.workspace, [{ argv: ['true'] }]), own.policy);
        await own.gate.receipt(executionId);
        return executionId;
      };
      const [one, other] = [await run(), await run()];
      wait(9);
      expect([lines, readUntaken(own.stateDir)]).toEqual([[], undefined]);
      // While the gate is away no time counts.
      own.gate.disconnect();
      wait(60);
      expect(lines).toEqual([]);
      own.gate.connect(own.executor);
      wait(60);
      expect(lines).toEqual([
        expect.stringMatching(/^receipts that the gate was brought are not acknowledged .*,/),
      ]);
      expect(readUntaken(own.stateDir)).toEqual({ executions: [one, other] });
      const seen = () => checkReceiptLog(own.stateDir).map(({ name, detail }) => `${name}: ${detail}`);
      expect(seen()).toEqual([expect.stringMatching(/^receipts-taken: 2 receipts were brought .*there/)]);
      own.gate.acknowledge(other);
      wait(1);
      expect(readUntaken(own.stateDir)).toEqual({ executions: [one] });
      // What was not taken before a restart need not wait once more.
      await own.restart();
      wait(1);
      expect([lines.length, readUntaken(own.stateDir)]).toEqual([2, { executions: [one] }]);
      const kept: ReceiptTexts[] = [];
      const giveUp = (id: string) => giveUpReceipt(own.stateDir, id, (it) => void kept.push(it));
      await own.restart(async () => {
        // As a running one holds it.
        const lock = lockStateDirectory(own.stateDir);
        await expect(giveUp(one)).rejects.toMatchObject({ code: 'CONFIG_INVALID' });
        lock.release();
        await expect(giveUp(other)).rejects.toMatchObject({
          code: 'EXECUTION_UNKNOWN',
          message: expect.stringContaining(`owed are those of 1 executions: ${one}`),
        });
        await giveUp(one);
      });
      expect(
        kept.map(({ receiptJson }) => JSON.parse(Buffer.from(receiptJson).toString()).execution_id),
      ).toEqual([one]);
      expect(own.gate.all('hello').at(-1)?.executionIds).toEqual([]);
      wait(1);
      expect([lines.length, readUntaken(own.stateDir), seen()]).toEqual([2, undefined, []]);
    } finally {
      vi.useRealTimers();
      await own.close();
    }
  });

  it('looks for what is acknowledged where the owners name a log, also after a restart, and for nothing else', async () => {
    let word: OwnersWord = { policies: createPolicySet([]) };
    const named = await openWorkbench({
      deps: { owners: { current: () => word }, prove: async () => undefined },
    });
    const policies = createPolicySet([named.policy]);
    word = { policies };
    const run = async () => {
      const contract = makeContract(named.workspace, [{ argv: ['true'] }]);
      const executionId = named.gate.offer(contract, named.policy);
      await named.gate.receipt(executionId);
      await named.executor.delivered();
      const { receiptJson = Buffer.alloc(0) } = named.gate.all('receipt', executionId).at(-1) ?? {};
      return { executionId, receiptSha256: sha256Hex(receiptJson) };
    };
    try {
      await run();
      word = { policies, log: { vkey: 'csc.local/gate/gate+…', witnessVkeys: [], quorum: 0 } };
      const second = await run();
      await named.restart();
      const journal = openSqliteJournal(join(named.stateDir, journalFile));
      expect(journal.unproven(9)).toMatchObject([second]);
      await journal.close();
    } finally {
      await named.close();
    }
  });

  it('lets a run go on while the gate is away, and tells it afterwards', async () => {
    const executionId = offer('echo before; while [ ! -e out/go ]; do sleep 0.02; done; echo after');
    await bench.gate.output.holds(executionId, 1);
    bench.gate.disconnect();
    writeFileSync(`${bench.out}/go`, '');
    await bench.executor.drain();
    expect(bench.gate.all('receipt')).toEqual([]);
    bench.gate.connect(bench.executor);
    expect(bench.gate.all('hello').at(-1)?.executionIds).toEqual([executionId]);
    expect((await bench.gate.receipt(executionId)).status).toBe('success');
    expect(bench.gate.all('exited', executionId)).toHaveLength(1);
  });

  it('says nothing of an offer that it refused for now while the gate was away', async () => {
    const contract = makeContract(bench.workspace, [{}]);
    const message = bench.gate.mint(contract, bench.policy);
    const connection = bench.executor.connect(() => {});
    connection.receive({ message: { $case: 'drain', value: {} } });
    connection.receive({ message: { $case: 'offer', value: message } });
    await setImmediate();
    bench.gate.connect(bench.executor);
    expect(bench.gate.all('hello').at(-1)?.executionIds).toEqual([]);
    expect(bench.gate.all('refused')).toEqual([]);
  });

  it('brings a signed refusal again like a receipt, the same bytes, also after a restart', async () => {
    bench.gate.acknowledges = false;
    const contract = makeContract(bench.workspace, [{ network: 'full' }]);
    const executionId = bench.gate.offer(contract, bench.policy);
    const { receiptJson } = await bench.gate.next('refused', executionId);
    bench.gate.disconnect();
    bench.gate.connect(bench.executor);
    expect(bench.gate.all('hello').at(-1)?.executionIds).toEqual([executionId]);
    await bench.restart();
    expect(bench.gate.all('hello').at(-1)?.executionIds).toEqual([executionId]);
    const again = bench.gate.all('receipt', executionId);
    expect(again.map((receipt) => receipt.receiptJson.equals(receiptJson))).toEqual([true, true]);
    bench.gate.acknowledge(executionId);
    await bench.executor.delivered();
    await bench.restart();
    expect(bench.gate.all('hello').at(-1)?.executionIds).toEqual([]);
  });

  it('leaves receipts on disk until the gate has taken those before them', async () => {
    await bench.close();
    let read = 0;
    bench = await openWorkbench({
      wrapJournal: (journal) => ({
        ...journal,
        receiptOf: (executionId) => {
          read += 1;
          return journal.receiptOf(executionId);
        },
      }),
    });
    bench.gate.acknowledges = false;
    const ids = ['1', '2', '3'].map((text) => offer(`echo ${text}`));
    for (const executionId of ids) await bench.gate.receipt(executionId);
    const said: string[] = [];
    read = 0;
    const connection = bench.executor.connect(({ message }) => {
      if (message?.$case === 'receipt') said.push(message.value.executionId);
      return false;
    });
    connection.receive({
      message: {
        $case: 'welcome',
        value: {
          gateId: 'gate',
          heartbeatInterval: undefined,
          chainHeadJson: Buffer.alloc(0),
          sentAt: undefined,
        },
      },
    });
    // What has not been brought yet cannot be acknowledged.
    for (const executionId of ids.filter((id) => !said.includes(id)))
      connection.receive({ message: { $case: 'receiptAck', value: { executionId } } });
    for (let count = 1; count <= 3; count += 1) {
      expect([said.length, read]).toEqual([count, count]);
      connection.drained();
    }
    expect(said.sort()).toEqual(ids.sort());
  });

  it('writes an acknowledgement down later where the disk was full when it came', async () => {
    await bench.close();
    let isFull = true;
    let failed = 0;
    bench = await openWorkbench({
      wrapJournal: (journal) => ({
        ...journal,
        acknowledge: (executionId) => {
          if (!isFull) return journal.acknowledge(executionId);
          failed += 1;
          return Promise.reject(new CscError('STORE_UNAVAILABLE', 'the disk is full'));
        },
      }),
    });
    const executionId = offer('echo x');
    await bench.gate.receipt(executionId);
    await bench.executor.delivered();
    expect(failed).toBe(1);
    isFull = false;
    await expect
      .poll(() => {
        bench.gate.disconnect();
        bench.gate.connect(bench.executor);
        return bench.gate.all('hello').at(-1)?.executionIds;
      })
      .toEqual([]);
    expect(bench.gate.all('receipt', executionId)).toHaveLength(1);
  });

  it('takes nothing new where the gate has acknowledged too little', async () => {
    bench.gate.acknowledges = false;
    const { count } = owedLimits;
    owedLimits.count = 1;
    try {
      const executionId = offer('echo x');
      await bench.gate.receipt(executionId);
      const refused = await bench.gate.next('refused', offer('echo y'));
      expect([refused.reason, refused.receiptJson.length]).toEqual(['SPOOL_FULL', 0]);
      bench.gate.acknowledge(executionId);
      expect((await bench.gate.receipt(offer('echo z'))).status).toBe('success');
    } finally {
      owedLimits.count = count;
    }
  });

  it('looks at a few offers at a time, whatever their number', async () => {
    const contract = makeContract(bench.workspace, [{ network: 'full' }]);
    const ids = Array.from({ length: 100 }, () => bench.gate.offer(contract, bench.policy));
    const refusals = await Promise.all(ids.map((executionId) => bench.gate.next('refused', executionId)));
    const signed = refusals.filter(({ receiptJson }) => receiptJson.length > 0);
    expect(signed).toHaveLength(24);
    const others = new Set(refusals.filter((one) => !signed.includes(one)).map(({ reason }) => reason));
    expect([...others]).toEqual(['QUEUE_FULL']);
  });

  it('names a refusal in Hello that is on its way into the journal, and brings it then', async () => {
    const contract = makeContract(bench.workspace, [{ network: 'full' }]);
    const message = bench.gate.mint(contract, bench.policy);
    const connection = bench.executor.connect(() => {});
    connection.receive({ message: { $case: 'offer', value: message } });
    bench.gate.connect(bench.executor);
    expect(bench.gate.all('hello').at(-1)?.executionIds).toEqual([message.executionId]);
    expect((await bench.gate.receipt(message.executionId)).status).toBe('blocked');
  });

  it('keeps offers that came over a connection that is gone from starting', () => {
    const message = bench.gate.mint(makeContract(bench.workspace, [{}]), bench.policy);
    const connection = bench.executor.connect(() => {});
    connection.closed();
    connection.receive({ message: { $case: 'offer', value: message } });
    bench.gate.connect(bench.executor);
    expect(bench.gate.all('hello').at(-1)?.executionIds).toEqual([]);
  });

  it('lists an offer in Hello as soon as its redeem is under way', () => {
    const executionId = offer('true');
    bench.gate.disconnect();
    bench.gate.connect(bench.executor);
    expect(bench.gate.all('hello').at(-1)?.executionIds).toEqual([executionId]);
  });

  it('brings the receipt without output that the gate refuses', async () => {
    await bench.close();
    const sink = {
      committedLength: async () => 0,
      append: async () => Promise.reject(new CscError('REQUEST_INVALID', 'no')),
    };
    bench = await openWorkbench({ deps: { output: sink } });
    bench.gate.acknowledges = false;
    const executionId = offer('echo refused');
    const { outputLogLength: signedLogLength } = await bench.gate.next('receipt', executionId);
    const last = () => bench.gate.all('receipt', executionId).at(-1);
    await expect.poll(last).toMatchObject({ outputLogLength: 0, signedLogLength });
    bench.gate.acknowledge(executionId);
    await bench.executor.delivered();
  });

  it('gets output to a gate that failed meanwhile', async () => {
    await bench.close();
    let failures = 0;
    const sink = new CollectingSink();
    const flaky = {
      committedLength: (id: string) => sink.committedLength(id),
      append: (id: string, offset: number, frames: Uint8Array) => {
        failures += 1;
        if (failures < 3) return Promise.reject(new CscError('GATE_UNREACHABLE', 'away'));
        return sink.append(id, offset, frames);
      },
    };
    bench = await openWorkbench({ deps: { output: flaky } });
    bench.gate.acknowledges = false;
    const executionId = offer('echo kept');
    const { outputLogLength } = await bench.gate.next('receipt', executionId);
    await sink.holds(executionId, outputLogLength);
    expect(sink.text(executionId)).toBe('kept\n');
    expect(failures).toBe(3);
  });
});
