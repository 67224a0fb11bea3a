import { AsyncLocalStorage } from 'node:async_hooks';

/** A run or a call: what an exception that nobody caught can be laid to, and ends instead of the process. */
export interface Owner {
  /** For the log. */
  readonly name: string;
  /** Ends it, in whatever way says so to those who wait for it. May be called again. */
  end(errorId: string): void;
  /** Resolves once it has ended. Absent: `end` is all that there is to it. */
  readonly over?: Promise<unknown>;
}

const current = new AsyncLocalStorage<Owner | undefined>();

/** Does work that belongs to an owner: so does all that it begins, timers and events of what it opens included. */
export function asOwner<T>(owner: Owner, work: () => T): T {
  return current.run(owner, work);
}

/** Whose work an exception came from, asked in the handler of `uncaughtException`; undefined where nobody knows. */
export function takeOwner(): Owner | undefined {
  const owner = current.getStore();
  // Node leaves the context of what threw in place, and what comes next would be taken for that owner's.
  current.enterWith(undefined);
  return owner;
}
