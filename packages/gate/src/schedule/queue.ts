import { canonicalJson } from '@csc-fleet/common/encoding';
import type { Requirement } from './peers.ts';

interface Line {
  readonly requirement: Requirement;
  readonly waiting: Map<string, number>;
}

/**
 * Executions that wait for an executor, first come first served. Those that need the same stand in one line, so that
 * placing looks at the heads of a few lines and not at everything that waits.
 */
export class Queue {
  readonly #lines = new Map<string, Line>();
  readonly #lineOf = new Map<string, Line>();
  #next = 1;
  #front = 0;

  get size(): number {
    return this.#lineOf.size;
  }

  /** How many of this principal's wait. */
  sizeOf(principal: string): number {
    let size = 0;
    for (const { requirement, waiting } of this.#lines.values())
      if (requirement.principal === principal) size += waiting.size;
    return size;
  }

  has(executionId: string): boolean {
    return this.#lineOf.has(executionId);
  }

  /** What it needs, as those in the same line share it; undefined where it does not wait. */
  requirementOf(executionId: string): Requirement | undefined {
    return this.#lineOf.get(executionId)?.requirement;
  }

  /** True where others with the same requirement wait. */
  hasLine(requirement: Requirement): boolean {
    return this.#lines.has(keyOf(requirement));
  }

  add(executionId: string, requirement: Requirement): void {
    this.#insert(executionId, requirement, this.#next++);
  }

  /** Puts an execution back before all others: it had its turn. */
  putBack(executionId: string, requirement: Requirement): void {
    const line = this.#line(requirement);
    const rest = [...line.waiting];
    line.waiting.clear();
    this.#insert(executionId, requirement, this.#front--);
    for (const [id, number] of rest) line.waiting.set(id, number);
  }

  /** False where it did not wait. */
  remove(executionId: string): boolean {
    const line = this.#lineOf.get(executionId);
    if (line === undefined) return false;
    this.#lineOf.delete(executionId);
    line.waiting.delete(executionId);
    if (line.waiting.size === 0) this.#lines.delete(keyOf(line.requirement));
    return true;
  }

  /** The head of each line, oldest first. */
  heads(): { executionId: string; requirement: Requirement }[] {
    const heads: { executionId: string; number: number; requirement: Requirement }[] = [];
    for (const { requirement, waiting } of this.#lines.values()) {
      for (const [executionId, number] of waiting) {
        heads.push({ executionId, number, requirement });
        break;
      }
    }
    return heads.sort((a, b) => a.number - b.number);
  }

  #insert(executionId: string, requirement: Requirement, number: number): void {
    const line = this.#line(requirement);
    line.waiting.set(executionId, number);
    this.#lineOf.set(executionId, line);
  }

  #line(requirement: Requirement): Line {
    const key = keyOf(requirement);
    const known = this.#lines.get(key);
    if (known !== undefined) return known;
    const line = { requirement, waiting: new Map<string, number>() };
    this.#lines.set(key, line);
    return line;
  }
}

// The owners may bind each principal to hosts of its own.
function keyOf({ selector, policySha256, principal, executorId }: Requirement): string {
  return canonicalJson({ selector: { ...selector }, policySha256, principal, executorId });
}
