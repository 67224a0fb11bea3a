import { beforeEach, describe, expect, it } from 'vitest';
import { Queue } from './queue.ts';

let queue: Queue;
beforeEach(() => {
  queue = new Queue();
});

const needs = (pool: string, policySha256 = 'p') => ({
  selector: { pool },
  policySha256,
  policyProfile: 'default',
  principal: 'spiffe://csc.local/client/agent',
});

/** The order in which the queue would be emptied if all could be placed. */
function drain(): string[] {
  const order: string[] = [];
  for (let [head] = queue.heads(); head !== undefined; [head] = queue.heads()) {
    order.push(head.executionId);
    queue.remove(head.executionId);
  }
  return order;
}

describe('Queue', () => {
  it('is first come first served, over all lines', () => {
    for (const [id, pool] of [
      ['1', 'a'],
      ['2', 'b'],
      ['3', 'a'],
      ['4', 'b'],
    ] as const)
      queue.add(id, needs(pool));
    expect(queue.size).toBe(4);
    expect(drain()).toEqual(['1', '2', '3', '4']);
    expect(queue.size).toBe(0);
  });

  it('shows one head a line', () => {
    for (const id of ['1', '2', '3']) queue.add(id, needs('a'));
    queue.add('4', needs('a', 'q'));
    expect(queue.heads().map((it) => it.executionId)).toEqual(['1', '4']);
  });

  it('has one line for labels in any order', () => {
    queue.add('1', { ...needs('x'), selector: { a: '1', b: '2' } });
    queue.add('2', { ...needs('x'), selector: { b: '2', a: '1' } });
    expect(queue.heads()).toHaveLength(1);
  });

  it('puts back before all others, the last put back first', () => {
    queue.add('1', needs('a'));
    queue.add('2', needs('b'));
    queue.putBack('3', needs('a'));
    queue.putBack('4', needs('b'));
    expect(drain()).toEqual(['4', '3', '1', '2']);
  });

  it('forgets what is taken out, and lines that are empty', () => {
    queue.add('1', needs('a'));
    expect(queue.hasLine(needs('a'))).toBe(true);
    expect(queue.remove('1')).toBe(true);
    expect(queue.remove('1')).toBe(false);
    expect(queue.hasLine(needs('a'))).toBe(false);
    expect(queue.heads()).toEqual([]);
  });
});
