/** What was met, kept where others may be at it, too. */
export interface SharedMemory {
  /** Acts while no other process changes what is kept there. Absent: none does. */
  exclusively?<T>(act: () => Promise<T>): Promise<T>;
}

let turn: Promise<unknown> = Promise.resolve();

/**
 * Acts alone, in this process and beside others: what was read is what is replaced. Otherwise two that are shown two things at
 * once would each hold theirs against what was met before both.
 */
export function inTurn<T>(memory: SharedMemory, act: () => Promise<T>): Promise<T> {
  const next = turn.then(() => memory.exclusively?.(act) ?? act());
  turn = next.catch(() => undefined);
  return next;
}
