import { canonicalJson } from '@csc-fleet/common/encoding';
import type { Requirement } from './requirement.ts';

/** An execution that waits, and its number in the order of all. */
interface Entry {
  readonly executionId: string;
  readonly number: number;
}

/** Those that need the same, of one principal. */
interface Line {
  readonly key: string;
  readonly requirement: Requirement;
  /** Put back before all others, the last put back last. What has left is passed over when it comes to the end. */
  front: Entry[];
  /** In order, from `first` on; likewise. */
  entries: Entry[];
  first: number;
  size: number;
}

/** All that one principal has waiting. */
interface Share {
  size: number;
  /** When its next one is due, in virtual time. */
  due: number;
}

// What has left is swept out of a line once it is most of it: who submits and cancels for ever fills no memory.
const slack = 64;
const remembered = 1_000;

/**
 * Executions that wait for an executor. Those of one principal are first come first served; between principals it is
 * start-time fair queueing (Goyal, Vin, Cheng 1996): each placement moves its principal on by 1/weight, and who is least
 * far is next. As in deficit round robin, each gets its share by weight; but no one gets all of its turn at a stretch, and
 * who comes with a single execution is before the next one of everybody who has had something placed since.
 * Those that need the same stand in one line, so that placing looks at the heads of a few lines and not at all that wait.
 */
export class Queue {
  readonly #weightOf: (principal: string) => number;
  readonly #lines = new Map<string, Line>();
  readonly #waiting = new Map<string, { readonly line: Line; readonly number: number }>();
  readonly #shares = new Map<string, Share>();
  /** When the next one of principals with nothing waiting would be due, where they are ahead of others. */
  readonly #left = new Map<string, number>();
  /** Virtual: when what was placed last was due. */
  #now = 0;
  #next = 1;
  #front = 0;

  /** @param weightOf a positive number, how many of a principal's are placed for one of those who have 1. Default: 1 */
  constructor(weightOf: (principal: string) => number = () => 1) {
    this.#weightOf = weightOf;
  }

  get size(): number {
    return this.#waiting.size;
  }

  /** How many of this principal's wait. */
  sizeOf(principal: string): number {
    return this.#shares.get(principal)?.size ?? 0;
  }

  /** How many of each principal's wait. */
  *sizes(): Iterable<readonly [principal: string, size: number]> {
    for (const [principal, { size }] of this.#shares) yield [principal, size];
  }

  /** How many would be placed before another one of this principal, were hosts the same for all and nobody else came. */
  before(principal: string): number {
    const own = this.#shares.get(principal) ?? { size: 0, due: this.#dueOf(principal) };
    const due = own.due + own.size * this.#turn(principal);
    let count = own.size;
    for (const [name, share] of this.#shares) {
      if (name === principal) continue;
      const turns = Math.floor((due - share.due) / this.#turn(name)) + 1;
      count += Math.max(0, Math.min(turns, share.size));
    }
    return count;
  }

  has(executionId: string): boolean {
    return this.#waiting.has(executionId);
  }

  /** What it needs, as those in the same line share it; undefined where it does not wait. */
  requirementOf(executionId: string): Requirement | undefined {
    return this.#waiting.get(executionId)?.line.requirement;
  }

  /** True where others with the same requirement wait. */
  hasLine(requirement: Requirement): boolean {
    return this.#lines.has(keyOf(requirement));
  }

  /** Does nothing where it waits already. */
  add(executionId: string, requirement: Requirement): void {
    if (this.has(executionId)) return;
    const line = this.#line(requirement);
    const number = this.#next++;
    line.entries.push({ executionId, number });
    this.#join(line, executionId, number);
  }

  /** Puts an execution back before all others of its principal, which gets back the turn that it had. */
  putBack(executionId: string, requirement: Requirement): void {
    if (this.has(executionId)) return;
    const line = this.#line(requirement);
    const number = this.#front--;
    line.front.push({ executionId, number });
    const share = this.#join(line, executionId, number);
    // From now at most: turns that come to nothing add up to no more than one.
    share.due = Math.max(share.due, this.#now) - this.#turn(requirement.principal);
  }

  /** It waits, and has no turn before it is `add`ed after `remove`. */
  setAside(executionId: string, requirement: Requirement): void {
    if (this.has(executionId)) return;
    this.#join(this.#line(requirement), executionId, this.#next++);
  }

  /** One of this principal has been placed that never waited, or not here: that was a turn, too. */
  charge(principal: string): void {
    const share = this.#shares.get(principal) ?? { size: 0, due: this.#dueOf(principal) };
    this.#charge(principal, share);
    if (share.size === 0) this.#remember(principal, share);
  }

  /** Takes out what is placed: its principal has had a turn. */
  take(executionId: string): void {
    const found = this.#waiting.get(executionId);
    const share = this.#shares.get(found?.line.requirement.principal ?? '');
    if (found === undefined || share === undefined) return;
    this.#charge(found.line.requirement.principal, share);
    this.remove(executionId);
  }

  #charge(principal: string, share: Share): void {
    this.#now = Math.max(this.#now, share.due);
    // From now on: what waited for a host of its own, while others had turns elsewhere, does not catch up at their cost.
    share.due = this.#now + this.#turn(principal);
  }

  /** Takes out what is not to be placed any more. False where it did not wait. */
  remove(executionId: string): boolean {
    const line = this.#waiting.get(executionId)?.line;
    if (line === undefined) return false;
    this.#waiting.delete(executionId);
    line.size -= 1;
    if (line.size === 0) this.#lines.delete(line.key);
    else this.#sweep(line);
    this.#leave(line.requirement.principal);
    return true;
  }

  /** The head of each line, in the order in which they are due. */
  heads(): { executionId: string; requirement: Requirement }[] {
    const heads: { executionId: string; number: number; due: number; requirement: Requirement }[] = [];
    for (const line of this.#lines.values()) {
      const head = line.front.at(-1) ?? line.entries[line.first];
      const { requirement } = line;
      const due = this.#shares.get(requirement.principal)?.due ?? 0;
      if (head !== undefined) heads.push({ ...head, due, requirement });
    }
    return heads.sort((a, b) => a.due - b.due || a.number - b.number);
  }

  #turn(principal: string): number {
    return 1 / this.#weightOf(principal);
  }

  #join(line: Line, executionId: string, number: number): Share {
    const { principal } = line.requirement;
    this.#waiting.set(executionId, { line, number });
    line.size += 1;
    // What it did not ask for while it had nothing waiting is not saved up.
    const share = this.#shares.get(principal) ?? { size: 0, due: this.#dueOf(principal) };
    share.size += 1;
    this.#shares.set(principal, share);
    this.#left.delete(principal);
    return share;
  }

  #dueOf(principal: string): number {
    return Math.max(this.#left.get(principal) ?? 0, this.#now);
  }

  #leave(principal: string): void {
    const share = this.#shares.get(principal);
    if (share === undefined) return;
    share.size -= 1;
    if (share.size > 0) return;
    this.#shares.delete(principal);
    this.#remember(principal, share);
  }

  #remember(principal: string, { due }: Share): void {
    if (due > this.#now) this.#left.set(principal, due);
    if (this.#left.size <= remembered) return;
    for (const [name, at] of this.#left) if (at <= this.#now) this.#left.delete(name);
    // Nobody of so many is ahead of the others by more than a turn.
    if (this.#left.size > remembered) this.#left.clear();
  }

  #isIn(entry: Entry | undefined): boolean {
    return entry !== undefined && this.#waiting.get(entry.executionId)?.number === entry.number;
  }

  // So that the head is one that waits.
  #sweep(line: Line): void {
    while (line.front.length > 0 && !this.#isIn(line.front.at(-1))) line.front.pop();
    while (line.first < line.entries.length && !this.#isIn(line.entries[line.first])) line.first += 1;
    if (line.front.length + line.entries.length <= 2 * line.size + slack) return;
    line.front = line.front.filter((it) => this.#isIn(it));
    line.entries = line.entries.slice(line.first).filter((it) => this.#isIn(it));
    line.first = 0;
  }

  #line(requirement: Requirement): Line {
    const key = keyOf(requirement);
    const known = this.#lines.get(key);
    if (known !== undefined) return known;
    const line: Line = { key, requirement, front: [], entries: [], first: 0, size: 0 };
    this.#lines.set(key, line);
    return line;
  }
}

// The owners may bind each principal to hosts of its own.
function keyOf({ selector, policySha256, principal, executorId, byToken = false }: Requirement): string {
  return canonicalJson({ selector: { ...selector }, policySha256, principal, executorId, byToken });
}
