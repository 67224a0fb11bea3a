import type { DatabaseSync } from 'node:sqlite';
import { CscError } from '@csc-fleet/common/errors';
import type { ChainLink } from '@csc-fleet/common/evidence';
import { GroupCommit } from '@csc-fleet/common/service';
import {
  type Arguments,
  type Hands,
  type OperationName,
  operations,
  type Result,
  type SealHere,
} from './operations.ts';

/** What is to be done: plain data. */
export interface Command {
  readonly name: OperationName;
  readonly args: readonly unknown[];
}

/** What a command gave, or threw. */
export type Outcome = { readonly value: unknown } | { readonly error: unknown };

/** Signs for the command at this place of a batch. */
export type SealAt = (index: number, link: ChainLink) => ReturnType<SealHere>;

/** Changes the journal: commands, each all or nothing, in one transaction for all that wait. */
export interface JournalWriter {
  /**
   * Resolves with what the operation gave, once that is durable. Rejects with what it threw, or with STORE_UNAVAILABLE.
   * @param withinMs as in GroupCommit
   */
  run<Name extends OperationName>(name: Name, args: Arguments<Name>, how?: HowToRun): Promise<Result<Name>>;
  /** Waits for what is under way. */
  idle(): Promise<void>;
}

export interface HowToRun {
  readonly withinMs?: number;
  /** Called within the transaction. Absent: nothing is signed by it. */
  readonly seal?: SealHere;
}

interface Piece extends Command {
  readonly seal: SealHere;
  resolve(value: unknown): void;
  reject(error: unknown): void;
}

/** @param perform what came together, durably; rejects or throws where the whole of it is undone */
export function createWriter(
  perform: (commands: readonly Command[], sealAt: SealAt) => readonly Outcome[] | Promise<readonly Outcome[]>,
): JournalWriter {
  const commits = new GroupCommit<Piece>(async (pieces) => {
    try {
      const commands = pieces.map(({ name, args }) => ({ name, args }));
      const outcomes = await perform(commands, (index, link) => (pieces[index]?.seal ?? sealsNothing)(link));
      for (const [index, outcome] of outcomes.entries()) settle(pieces[index], outcome);
    } catch (error) {
      for (const piece of pieces) piece.reject(error);
    }
  });
  return {
    run: (name, args, { seal = sealsNothing, withinMs = 0 } = {}) =>
      new Promise((resolve, reject) => {
        commits.add({ name, args, seal, resolve: resolve as (value: unknown) => void, reject }, withinMs);
      }),
    idle: () => commits.idle(),
  };
}

function settle(piece: Piece | undefined, outcome: Outcome): void {
  if ('error' in outcome) piece?.reject(outcome.error);
  else piece?.resolve(outcome.value);
}

const sealsNothing: SealHere = () => {
  throw new TypeError('nothing is signed by this operation');
};

/** Performs commands in one transaction. Throws STORE_UNAVAILABLE where that is not durable: nothing is done then. */
export function performAll(
  database: DatabaseSync,
  hands: Omit<Hands, 'seal'>,
  commands: readonly Command[],
  sealAt: SealAt,
): Outcome[] {
  try {
    database.exec('BEGIN IMMEDIATE');
    const outcomes = commands.map((command, index) =>
      performInSavepoint(database, { ...hands, seal: (link) => sealAt(index, link) }, command),
    );
    database.exec('COMMIT');
    return outcomes;
  } catch (error) {
    rollBack(database);
    throw storeUnavailable(error);
  }
}

// One caller's conflict must not undo the others' work.
function performInSavepoint(database: DatabaseSync, hands: Hands, { name, args }: Command): Outcome {
  database.exec('SAVEPOINT item');
  try {
    const operation: (hands: Hands, ...args: never[]) => unknown = operations[name];
    const value = operation(hands, ...(args as never[]));
    database.exec('RELEASE item');
    return { value };
  } catch (error) {
    database.exec('ROLLBACK TO item; RELEASE item');
    return { error: isDatabaseError(error) ? storeUnavailable(error) : error };
  }
}
function rollBack(database: DatabaseSync): void {
  try {
    if (database.isTransaction) database.exec('ROLLBACK');
  } catch {
    // The error that led here is the one to report.
  }
}

function isDatabaseError(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ERR_SQLITE_ERROR';
}

/** What a database error becomes: nothing runs that cannot be journalled. */
export function storeUnavailable(cause: unknown): CscError {
  const why = isCannotOpen(cause)
    ? 'cannot be opened: look at its disk, and whether the executor has file descriptors left (LimitNOFILE)'
    : 'cannot be written: look at its disk';
  return new CscError('STORE_UNAVAILABLE', `this host's journal ${why}`, { cause });
}

// SQLITE_CANTOPEN (https://sqlite.org/rescode.html): EMFILE comes as this.
function isCannotOpen(error: unknown): boolean {
  return (
    isDatabaseError(error) &&
    error instanceof Error &&
    'errcode' in error &&
    (Number(error.errcode) & 0xff) === 14
  );
}
