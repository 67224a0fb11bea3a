// The thread that writes journals: see thread-writer.ts, which asks it.
import { DatabaseSync } from 'node:sqlite';
import { type Asked, fromError, type SentError, serveThread } from '@csc-fleet/common/thread';
import { type Command, performAll, storeUnavailable } from './commits.ts';
import type { SealHere } from './operations.ts';
import { isSamePlace, type SealedAhead } from './seal-ahead.ts';
import { prepareStatements, type Statements } from './statements.ts';

/** The file of a journal, which is there, with its tables. */
export interface WrittenFile {
  readonly path: string;
  readonly busyTimeoutMs: number;
  readonly owner: string;
}

/** What is to be done in one transaction, or that the journal is to be closed. */
export interface Batch {
  readonly journal: number;
  readonly file: WrittenFile;
  readonly commands: readonly Command[] | 'close';
  /** What was signed for these commands before, by their places. */
  readonly ahead: readonly (SealedAhead | undefined)[];
}

export type SentOutcome = { readonly value: unknown } | { readonly error: SentError };

/** What was signed; undefined: signing threw. */
export interface Answer {
  readonly sealed: ReturnType<SealHere> | undefined;
}

interface Open {
  readonly database: DatabaseSync;
  readonly statements: Statements;
}

const open = new Map<number, Open>();

function openFile({ path, busyTimeoutMs }: WrittenFile): Open {
  try {
    const database = new DatabaseSync(path, { timeout: busyTimeoutMs });
    try {
      // As `prepareSchema` says: of each connection.
      database.exec('PRAGMA synchronous = FULL;');
      return { database, statements: prepareStatements(database) };
    } catch (error) {
      database.close();
      throw error;
    }
  } catch (error) {
    throw storeUnavailable(error);
  }
}

function work({ journal, file, commands, ahead }: Batch, asked: Asked): readonly SentOutcome[] {
  const known = open.get(journal);
  if (commands === 'close') {
    known?.database.close();
    open.delete(journal);
    return [];
  }
  const { database, statements } = known ?? openFile(file);
  if (known === undefined) open.set(journal, { database, statements });
  const outcomes = performAll(database, { statements, owner: file.owner }, commands, (index, link) => {
    const before = ahead[index];
    if (before !== undefined && isSamePlace(before.link, link)) return before.sealed;
    const { sealed } = asked.question({ index, link }) as Answer;
    if (sealed === undefined) throw new TypeError('nothing was signed');
    return sealed;
  });
  return outcomes.map((outcome) => ('error' in outcome ? { error: fromError(outcome.error) } : outcome));
}

serveThread((what, asked) => work(what as Batch, asked));
