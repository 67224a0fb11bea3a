import { OutputStream, type ReadOutputRequest, ReadOutputResponse } from '@csc-fleet/common/rpc';
import { deniedContract, makeContract } from '@csc-fleet/test-kit/gate/contracts';
import { agent, TestGate } from '@csc-fleet/test-kit/gate/test-gate';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { OutputLog } from '../output/output-log.ts';

let test: TestGate;

beforeEach(async () => {
  test = await TestGate.open();
});

afterEach(async () => {
  vi.restoreAllMocks();
  await test.close();
  expect(test.errors).toEqual([]);
});

const rejected = (code: string) => expect.objectContaining({ code });

const unknown = 'f6a5a1f5-5f0e-4b1e-8d1c-1d7d1f7a2b3c';

describe('readOutput', () => {
  const read = async (
    executionId: string,
    at: number | Partial<ReadOutputRequest> = 0,
    follow = false,
    abort?: AbortSignal,
  ): Promise<ReadOutputResponse['item'][]> => {
    const items: ReadOutputResponse['item'][] = [];
    const wanted =
      typeof at === 'number'
        ? { from: [{ commandId: 'main', stream: OutputStream.STDOUT, offset: at }] }
        : { from: [], ...at };
    await test
      .as(agent)
      .readOutput(
        { executionId, ...wanted, follow },
        async (bytes) => void items.push(ReadOutputResponse.decode(bytes).item),
        abort,
      );
    return items;
  };

  const text = (items: ReadOutputResponse['item'][]) =>
    items.map((item) => (item?.$case === 'chunk' ? item.value.data.toString() : item?.$case));

  it('says which bytes the host has lost, where not all of it is there', async () => {
    const executor = await test.connected('e1');
    const { executionId } = await test.submit(makeContract());
    await executor.accept(executionId);
    await executor.push(executionId, 0, 0, 'hello ');
    await executor.exited(executionId, 'hello world');
    expect(text(await read(executionId))).toEqual(['hello ']);
    await executor.finish(await executor.next('offer'));
    await expect(read(executionId)).rejects.toMatchObject({
      code: 'OUTPUT_TRIMMED',
      message: expect.stringContaining('stdout of "main" had 11 bytes, and those from 6 on are lost'),
    });
    // Who follows is told by the receipt.
    expect(text(await read(executionId, 0, true))).toEqual(['hello ']);
    expect(text(await read(executionId, { stream: OutputStream.STDERR }))).toEqual([]);
  });

  it('gives what there is, from any offset, and the end once all was given', async () => {
    const executor = await test.connected('e1');
    const { executionId } = await test.submit(makeContract());
    await executor.accept(executionId);
    const length = await executor.push(executionId, 0, 0, 'hello ');
    expect(text(await read(executionId))).toEqual(['hello ']);
    await executor.push(executionId, length, 6, 'world');
    await executor.exited(executionId, 'hello world');
    await executor.finish(await executor.next('offer'));
    expect(text(await read(executionId))).toEqual(['hello ', 'world', 'end']);
    expect(text(await read(executionId, 3))).toEqual(['lo ', 'world', 'end']);
    expect(text(await read(executionId, 6))).toEqual(['world', 'end']);
    const part = (wanted: Partial<ReadOutputRequest>) => read(executionId, wanted);
    expect(text(await part({ offset: 8 }))).toEqual(['rld', 'end']);
    expect(text(await part({ offset: 99 }))).toEqual(['end']);
    expect(text(await part({ stream: OutputStream.STDERR }))).toEqual([]);
    expect(text(await part({ stream: OutputStream.STDOUT }))).toEqual(['hello ', 'world', 'end']);
    expect(text(await read(executionId, 11))).toEqual(['end']);
    await test.reopen();
    expect(text(await read(executionId, 8))).toEqual(['rld', 'end']);
  });

  it('gives nothing from before the offset, wherever reading begins on the disk', async () => {
    const executor = await test.connected('e1');
    const { executionId } = await test.submit(makeContract());
    await executor.accept(executionId);
    const size = 60_000;
    const offset = 19.5 * size;
    // Somebody has it open all the while, so that places in it are noted: it begins at the one before.
    const leave = new AbortController();
    const following = read(executionId, 0, true, leave.signal);
    let length = 0;
    for (let at = 0; at < 20; at++)
      length = await executor.push(executionId, length, at * size, 'x'.repeat(size));
    const items = await read(executionId, { offset });
    leave.abort();
    await following;
    expect(items.map((it) => (it?.$case === 'chunk' ? it.value.offset : it))).toEqual([offset]);
  });

  it('follows until the execution has ended', async () => {
    const executor = await test.connected('e1');
    const { executionId } = await test.submit(makeContract());
    await executor.accept(executionId);
    const following = read(executionId, 0, true);
    const length = await executor.push(executionId, 0, 0, 'hello ');
    await executor.push(executionId, length, 6, 'world');
    await executor.exited(executionId, 'hello world');
    await executor.finish(await executor.next('offer'));
    expect(text(await following)).toEqual(['hello ', 'world', 'end']);
  });

  it('follows to the end also what a receipt cuts off before where it was read to', async () => {
    const executor = await test.connected('e1');
    const { executionId } = await test.submit(makeContract());
    await executor.accept(executionId);
    // One that reads without a pause holds up all that the gate does.
    let reads = 0;
    const readLog = OutputLog.prototype.read;
    vi.spyOn(OutputLog.prototype, 'read').mockImplementation(function (this: OutputLog, at) {
      reads += 1;
      if (reads > 1000) throw new Error('it reads over and over');
      return readLog.call(this, at);
    });
    // Whatever else comes of its run wakes it before the receipt is on disk.
    const { confirm } = OutputLog.prototype;
    const woken = vi.spyOn(OutputLog.prototype, 'confirm').mockImplementation(async function (
      this: OutputLog,
      to,
    ) {
      const beyond = await confirm.call(this, to);
      this.wake();
      return beyond;
    });
    const following = read(executionId, 0, true);
    const length = await executor.push(executionId, 0, 0, 'hello ');
    await executor.push(executionId, length, 6, 'world');
    await executor.exited(executionId, 'hello ');
    await test.flushed();
    executor.sendReceipt(await executor.next('offer'), {}, length);
    await executor.next('receiptAck', executionId);
    expect(text(await following)).toEqual(['hello ', 'world', 'end']);
    expect(woken).toHaveBeenCalled();
  });

  it('ends where its reader has gone', async () => {
    const executor = await test.connected('e1');
    const { executionId } = await test.submit(makeContract());
    await executor.accept(executionId);
    await executor.push(executionId, 0, 0, 'hello ');
    const abort = new AbortController();
    const following = read(executionId, 0, true, abort.signal);
    await test.flushed();
    abort.abort();
    expect(text(await following)).toEqual(['hello ']);
  });

  it('gives nothing of what never ran', async () => {
    const { executionId } = await test.submit(deniedContract());
    expect(await read(executionId, 0, true)).toEqual([]);
  });
});

describe('output', () => {
  it('is taken from the executor that has the execution, while it is open', async () => {
    const executor = await test.connected('e1');
    const another = await test.connected('e2');
    const { executionId } = await test.submit(makeContract(), { selector: {} });
    expect(test.gate.output.mayPush(executor.identity, executionId)).toBe(true);
    expect(test.gate.output.mayPush(another.identity, executionId)).toBe(false);
    expect(test.gate.output.mayPush(executor.identity, unknown)).toBe(false);
    await executor.finish(await executor.next('offer'));
    expect(test.gate.output.mayPush(executor.identity, executionId)).toBe(false);
    await expect(executor.push(executionId, 0, 0, 'late')).rejects.toEqual(rejected('EXECUTION_UNKNOWN'));
  });
});
