import { DatabaseSync } from 'node:sqlite';
import {
  Commits,
  checkDatabase,
  MovedError,
  prepareDatabaseFile,
  type SyncFile,
  sizeOfLog,
  WriteAheadLog,
} from '@csc-fleet/common/database';
import { type Clock, systemClock } from '@csc-fleet/common/encoding';
import { CscError } from '@csc-fleet/common/errors';
import type { ReceiptTexts } from '@csc-fleet/common/evidence';
import { endUnsound, processIdentity } from '@csc-fleet/common/service';
import type { Journal, ReceiptHead, SpareReceipt } from './journal.ts';
import { storeUnavailable, toJournalError } from './journal-error.ts';
import { findObjection, readMemory } from './memory.ts';
import { type Hands, operations, type SealHere } from './operations.ts';
import { prepareSchema } from './schema.ts';
import { readSpare } from './spare.ts';
import { type Chain, prepareStatements, readChain, type Statements, toTexts } from './statements.ts';
import { Unproven } from './unproven.ts';

/** How a journal is restored. */
export const restoreJournalCommand = 'csc restore executor --config FILE --from BACKUP';

/** What it is called in a state directory. */
export const journalFile = 'journal.sqlite';

// What nobody waits for shares a transaction with what somebody does: if it is lost, it is done again.
const unhurriedMs = 100;

export interface SqliteJournalOptions {
  /** How long another process's transaction is waited for, in milliseconds. Default: 5000. */
  readonly busyTimeoutMs?: number;
  readonly clock?: Clock;
  /** Who this process is to the others that share the journal. Default: itself. For tests. */
  readonly owner?: string;
  /**
   * Told where the disk has refused what was committed: what it has of it nobody knows. Default: the process ends, as after a
   * kill, and its next start makes up for what was under way.
   */
  readonly onLost?: (error: CscError) => void;
  /** For tests: what puts what was committed on disk. */
  readonly sync?: SyncFile;
}

/**
 * The journal in an SQLite file, which several processes may share; it is made where there is none. It commits here, and is put
 * on disk elsewhere (WriteAheadLog). What it tells without a promise and others are told of it, its head and its receipts, is on
 * disk; what it refuses may be refused for something that is not there yet.
 * Throws STORE_UNAVAILABLE where it cannot be opened or is damaged: one that has forgotten what it ran would run it again.
 */
export function openSqliteJournal(path: string, options: SqliteJournalOptions = {}): Journal {
  const { clock = systemClock, busyTimeoutMs = 5000, onLost = endUnsound } = options;
  const owner = options.owner ?? processIdentity(process.pid) ?? String(process.pid);
  const { database, log } = openDatabase(path, busyTimeoutMs, clock.now(), options.sync);
  const statements = prepareStatements(database);
  const unproven = new Unproven(database);
  const onDisk = new OnDisk(statements, log);
  const commits = new Commits(database, log, {
    toError: storeUnavailable,
    onLost,
    busyTimeoutMs,
    onCommitted: () => onDisk.committed(),
  });
  let { epoch } = readChain(statements);
  const noSeal: SealHere = () => {
    throw new TypeError('nothing is signed by this operation');
  };
  const run = async <T>(work: (hands: Hands) => T, { seal = noSeal, withinMs = 0 } = {}): Promise<T> => {
    try {
      return await commits.run(() => work({ statements, owner, seal }), withinMs);
    } catch (error) {
      throw toJournalError(error);
    }
  };
  // What begins here. What has begun ends as well as it can: its receipt is the gate's before the next start misses it.
  const found =
    <T>(work: (hands: Hands) => T) =>
    (hands: Hands): T => {
      log.checkPlace();
      return work(hands);
    };
  const sealing = (executionId: string, seal: SealHere): { readonly seal: SealHere } => ({
    seal: (link) => {
      const sealed = seal(link);
      onDisk.signed(executionId);
      return sealed;
    },
  });
  return {
    get epoch() {
      return epoch;
    },
    beginEpoch: async (lost = {}) => {
      epoch = await run((hands) => operations.beginEpoch(hands, clock.now(), lost));
    },
    head: () => toHead(onDisk.chain()),
    findObjection: (ticket) => findObjection(statements, ticket),
    bornAt: () => new Date(readMemory(statements).bornAt),
    receiptOf: (executionId) => (onDisk.has(executionId) ? receiptOf(statements, executionId) : undefined),
    unacknowledged: () => statements.unacknowledged.all().map((row) => String(row['execution_id'])),
    trouble: () => (log.isInPlace ? undefined : storeUnavailable(new MovedError(path)).message),
    redeem: (redemption) => run(found((hands) => operations.redeem(hands, redemption))),
    refuse: ({ seal, ...refusal }) =>
      run(
        found((hands) => operations.refuse(hands, refusal)),
        sealing(refusal.executionId, seal),
      ),
    progress: (executionId, draft) => run((hands) => operations.progress(hands, executionId, draft)),
    finish: (executionId, seal) =>
      run((hands) => operations.finish(hands, executionId), sealing(executionId, seal)),
    spare: (executionId) => spareOf(statements, executionId),
    putReceipt: (executionId, texts) => run((hands) => operations.putReceipt(hands, executionId, texts)),
    rename: (executionId, to) => run((hands) => operations.rename(hands, executionId, to)),
    acknowledge: (executionId, isLookedFor = false) =>
      run(
        (hands) => {
          const texts = isLookedFor ? receiptOf(statements, executionId) : undefined;
          if (texts !== undefined) unproven.owe(executionId, texts, clock.now());
          operations.acknowledge(hands, executionId, clock.now());
        },
        { withinMs: unhurriedMs },
      ),
    unproven: (atMost) => unproven.list(atMost),
    seenLog: (vkey) => unproven.seen(vkey),
    metLog: (met) => run(() => unproven.met(met)),
    adopt: () => run(operations.adopt),
    prune: (now) => run((hands) => operations.prune(hands, now), { withinMs: unhurriedMs }),
    close: async () => {
      // So that the next one to open it takes over, even in this very process.
      await run(operations.disown).catch(() => {});
      await commits.idle();
      await log.close();
      // The last connection to close brings the log into the file, with an fsync.
      database.close();
    },
  };
}

/** What of the journal is on disk, where a statement shows more: what was committed and is being put there. */
class OnDisk {
  readonly #statements: Statements;
  readonly #log: WriteAheadLog;
  /** Executions whose receipts were signed in the transaction that is not on disk. */
  #signed = new Set<string>();
  #chain: Chain;
  #isSettled = true;

  constructor(statements: Statements, log: WriteAheadLog) {
    this.#statements = statements;
    this.#log = log;
    this.#chain = readChain(statements);
  }

  signed(executionId: string): void {
    this.#signed.add(executionId);
  }

  /** Gives what is called once it is on disk. */
  committed(): () => void {
    const chain = readChain(this.#statements);
    this.#isSettled = false;
    return () => {
      this.#chain = chain;
      this.#isSettled = true;
      this.#signed.clear();
    };
  }

  has(executionId: string): boolean {
    return !this.#signed.has(executionId);
  }

  // Another process has signed since: that is put on disk before anybody is told, whether it was or not.
  chain(): Chain {
    if (!this.#isSettled) return this.#chain;
    const chain = readChain(this.#statements);
    if (chain.sequence !== this.#chain.sequence || chain.head !== this.#chain.head) this.#log.syncNow();
    this.#chain = chain;
    return chain;
  }
}

function openDatabase(
  path: string,
  timeout: number,
  now: Date,
  sync?: SyncFile,
): { readonly database: DatabaseSync; readonly log: WriteAheadLog } {
  const file = { path, restore: restoreJournalCommand };
  try {
    prepareDatabaseFile(file);
    const wasThere = sizeOfLog(path) > 0;
    const database = new DatabaseSync(path, { timeout });
    try {
      checkDatabase(database, file);
      prepareSchema(database, now);
      return { database, log: new WriteAheadLog(database, path, { wasThere, sync }) };
    } catch (error) {
      database.close();
      throw error;
    }
  } catch (error) {
    throw error instanceof CscError ? error : storeUnavailable(error);
  }
}

function receiptOf(statements: Statements, executionId: string): ReceiptTexts | undefined {
  const row = statements.receipt.get(executionId);
  return row === undefined ? undefined : toTexts(row);
}

function toHead({ sequence, head }: Chain): ReceiptHead | undefined {
  return head === undefined || sequence === 0 ? undefined : { sequence, receiptSha256: head };
}

function spareOf(statements: Statements, executionId: string): SpareReceipt {
  const row = statements.drafts.get(executionId);
  return { draft: String(row?.['draft'] ?? ''), texts: readSpare(String(row?.['bare'])) };
}
