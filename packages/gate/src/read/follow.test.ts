import { ExecutionState, RunResponse } from '@csc-fleet/common/rpc';
import { makeContract } from '@csc-fleet/test-kit/gate/contracts';
import type { ScriptedExecutor } from '@csc-fleet/test-kit/gate/scripted-executor';
import { agent, TestGate, toRequest } from '@csc-fleet/test-kit/gate/test-gate';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

let test: TestGate;
let executor: ScriptedExecutor;

beforeEach(async () => {
  test = await TestGate.open();
  executor = await test.connected('e1');
});

afterEach(async () => {
  await test.close();
  expect(test.errors).toEqual([]);
});

/** A caller that takes an item only where `take` resolves, and notes it then. */
function caller(take: (kind: string) => Promise<void> = async () => undefined) {
  const taken: string[] = [];
  const abort = new AbortController();
  const write = async (bytes: Uint8Array) => {
    const { item } = RunResponse.decode(bytes);
    const kind = (item?.$case === 'event' ? item.value.event?.$case : item?.$case) ?? '';
    await take(kind);
    taken.push(kind);
  };
  const ended = test.as(agent).run(toRequest(makeContract()), write, abort.signal);
  return { taken, abort, ended };
}

describe('run', () => {
  it('does not give Finished before its caller has taken all output', async () => {
    const slow = Promise.withResolvers<void>();
    const { taken, ended } = caller((kind) => (kind === 'chunk' ? slow.promise : Promise.resolve()));
    const offer = await executor.next('offer');
    await executor.accept(offer.executionId);
    await executor.push(offer.executionId, 0, 0, 'hello');
    await executor.finish(offer);
    await test.flushed();
    expect(taken).toEqual(['decided', 'queued', 'placed', 'started']);
    slow.resolve();
    await ended;
    expect(taken).toEqual(['decided', 'queued', 'placed', 'started', 'chunk', 'finished']);
  });

  it('gives no output before Started, whichever of the two connections is first', async () => {
    const { taken, ended } = caller();
    const offer = await executor.next('offer');
    await executor.push(offer.executionId, 0, 0, 'hello');
    await test.flushed();
    expect(taken).toEqual(['decided', 'queued', 'placed']);
    await executor.accept(offer.executionId);
    await executor.started(offer.executionId);
    await executor.finish(offer);
    await ended;
    expect(taken.indexOf('chunk')).toBeGreaterThan(taken.indexOf('started'));
  });

  it('gives events to a caller that has not taken the output yet', async () => {
    const slow = Promise.withResolvers<void>();
    const begun = Promise.withResolvers<void>();
    const { taken, ended } = caller((kind) => {
      if (kind === 'chunk') return slow.promise;
      if (kind === 'commandStarted') begun.resolve();
      return Promise.resolve();
    });
    const offer = await executor.next('offer');
    await executor.accept(offer.executionId);
    await executor.push(offer.executionId, 0, 0, 'hello');
    await executor.started(offer.executionId);
    await begun.promise;
    expect(taken).not.toContain('chunk');
    slow.resolve();
    await executor.finish(offer);
    await ended;
    expect(taken.at(-1)).toBe('finished');
  });

  it('gives all output and one end to a slow caller whose executor was lost meanwhile and came back', async () => {
    const slow = Promise.withResolvers<void>();
    const { taken, ended } = caller((kind) => (kind === 'commandStarted' ? slow.promise : Promise.resolve()));
    const offer = await executor.next('offer');
    await executor.accept(offer.executionId);
    await executor.started(offer.executionId);
    const length = await executor.push(offer.executionId, 0, 0, 'hello ');
    executor.disconnect();
    await executor.connect([]);
    expect(await test.state(offer.executionId)).toBe(ExecutionState.LOST);
    // The relay of its output has ended by now.
    await test.flushed();
    await executor.connect([offer.executionId]);
    await executor.push(offer.executionId, length, 6, 'again');
    slow.resolve();
    await executor.finish(offer);
    await ended;
    expect(taken.filter((it) => it !== 'chunk').slice(3)).toEqual([
      'started',
      'commandStarted',
      'lost',
      'returned',
      'finished',
    ]);
    expect(taken.lastIndexOf('chunk')).toBeGreaterThan(taken.indexOf('lost'));
  });

  it('ends where its caller goes, and the execution goes on', async () => {
    const { taken, abort, ended } = caller();
    const offer = await executor.next('offer');
    await executor.accept(offer.executionId);
    await test.flushed();
    abort.abort();
    await ended;
    expect(taken).not.toContain('finished');
    await executor.finish(offer);
    expect(await test.state(offer.executionId)).toBe(ExecutionState.SUCCEEDED);
  });

  it('fails where its caller cannot be written to, and the execution goes on', async () => {
    const { ended } = caller((kind) =>
      kind === 'chunk' ? Promise.reject(new Error('gone')) : Promise.resolve(),
    );
    const failed = ended.catch((error: Error) => error.message);
    const offer = await executor.next('offer');
    await executor.accept(offer.executionId);
    await executor.push(offer.executionId, 0, 0, 'hello');
    await executor.finish(offer);
    expect(await failed).toBe('gone');
    expect(await test.state(offer.executionId)).toBe(ExecutionState.SUCCEEDED);
  });
});
