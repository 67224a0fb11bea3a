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

  const by = (name: string, pool = 'a') => ({
    ...needs(pool),
    principal: `spiffe://csc.local/client/${name}`,
  });
  /** The principals in the order in which the next ones would be placed, `count` of them. */
  function placed(count: number): string {
    return Array.from({ length: count }, () => {
      const [head] = queue.heads();
      if (head === undefined) return '';
      queue.take(head.executionId);
      return head.executionId.slice(0, 1);
    }).join('');
  }
  const fill = (name: string, count: number, pool?: string): void => {
    for (let index = 0; index < count; index++) queue.add(`${name}${queue.size}`, by(name, pool));
  };

  it('has a single one of another before the next of 5,000, however long those have been served', () => {
    fill('a', 5_000);
    expect(placed(1_000)).toBe('a'.repeat(1_000));
    expect([queue.before(by('b').principal), queue.before(by('a').principal)]).toEqual([0, 4_000]);
    fill('b', 1);
    expect(queue.before(by('b').principal)).toBe(2);
    expect(placed(2)).toBe('ba');
    // Nor does coming with one at a time get a principal more than its share.
    fill('b', 1);
    fill('c', 1);
    expect(placed(3)).toBe('bca');
  });

  it('shares by weight, and nobody has all of its turn at a stretch', () => {
    queue = new Queue((principal) => (principal.endsWith('/a') ? 3 : 1));
    fill('a', 100);
    fill('b', 100);
    const order = placed(40);
    expect(order.replaceAll('b', '')).toHaveLength(30);
    expect(order).not.toMatch(/aaaa|bb/);
    fill('c', 1);
    expect(placed(2)).toContain('c');
  });

  it('does not let who waited for hosts of its own catch up at the cost of others', () => {
    fill('a', 100);
    fill('b', 100, 'rare');
    const next = (pools: string[]): string => {
      const head = queue.heads().find((it) => pools.includes(it.requirement.selector['pool'] ?? ''));
      queue.take(head?.executionId ?? '');
      return head?.executionId.slice(0, 1) ?? '';
    };
    for (let count = 0; count < 50; count++) expect(next(['a'])).toBe('a');
    const order = Array.from({ length: 20 }, () => next(['a', 'rare'])).join('');
    expect(order).toMatch(/^b?(ab|ba)+[ab]?$/);
  });

  it('gives back the turn of what is put back, and no more than that one', () => {
    fill('a', 10);
    fill('b', 10);
    for (let count = 0; count < 5; count++) {
      const [head] = queue.heads();
      if (head === undefined) throw new Error('none waits');
      queue.take(head.executionId);
      queue.putBack(head.executionId, head.requirement);
      expect(queue.heads()[0]?.executionId).toBe(head.executionId);
    }
    const order = placed(10);
    expect(order.replaceAll('b', '')).toHaveLength(5);
  });

  it('looks at heads alone, however many wait and have left', () => {
    fill('a', 2);
    const rounds = 20_000;
    for (let index = 0; index < rounds; index++) {
      queue.add(`gone${index}`, by('a'));
      queue.remove(`gone${index}`);
      if (index % 100 === 0) expect(queue.heads().map((it) => it.executionId)).toEqual(['a0']);
    }
    expect(queue.sizeOf(by('a').principal)).toBe(2);
    expect(placed(3)).toBe('aa');
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
