import type { CscError } from '@csc-fleet/common/errors';
import { ExecutionEvent } from '@csc-fleet/common/messages';
import { Signal } from '@csc-fleet/common/service';
import { type SentError, Thread, toError } from '@csc-fleet/common/thread';
import { openKeyReader } from './key-reader.ts';
import type { Store, StoreWatcher } from './store.ts';
import type { StoredReceipt } from './tables.ts';

/** What is asked of the thread: a method of a store by its name, which of its stores, and with what. */
export interface StoreCall {
  readonly store: number;
  readonly method: keyof AskedStore | 'openStore' | 'close';
  readonly args: readonly unknown[];
}

/** What the thread says by itself of how a store fares. */
export type StoreNotice =
  | { readonly is: 'lost' | 'trouble'; readonly error: SentError }
  | { readonly is: 'recovered' };

/** What a thread is asked for, and gives as it can be copied between threads: where that is another type, as it is there. */
export interface AskedStore
  extends Omit<Store, 'audited' | 'close' | 'advance' | 'events' | 'receipt' | 'lateReceipt'> {
  /** The number of the first event; 0 where there is none. */
  advance(...args: Parameters<Store['advance']>): Promise<number>;
  /** Encoded. */
  events(executionId: string): Promise<readonly Uint8Array[]>;
  receipt(executionId: string): Promise<SentReceipt | undefined>;
  lateReceipt(executionId: string, holder: string): Promise<SentReceipt | undefined>;
}

type SentReceipt = { readonly [Text in keyof StoredReceipt]: Uint8Array };

/** Of all stores of this process: one is all that a gate has. */
let thread: Thread | undefined;
let stores = 0;

/**
 * The gate's SQLite database, as `openStore` opens it, in a thread of its own: queries, commits, their fsyncs and SQLite's
 * checkpoints hold up nothing here. What is asked in one turn shares a transaction there, as it would here. That an
 * idempotency key is new is read here, over a connection of its own. Throws as `openStore`.
 */
export async function openStoreInThread(path: string, watcher: StoreWatcher = {}): Promise<Store> {
  thread ??= new Thread('store', './store-main', import.meta.url);
  const asked = thread;
  stores += 1;
  const store = stores;
  const audited = new Signal();
  asked.listen(store, (notice) => tell(watcher, notice as StoreNotice));
  const call = (method: StoreCall['method'], args: readonly unknown[]): Promise<unknown> =>
    asked.ask({ store, method, args } satisfies StoreCall);
  // The one place where what comes back is given its type: the thread has the method of this name.
  const ask =
    <Name extends keyof AskedStore>(method: Name) =>
    (...args: Parameters<AskedStore[Name]>) =>
      call(method, args) as ReturnType<AskedStore[Name]>;
  const [create, advance, events] = [ask('create'), ask('advance'), ask('events')];
  const [receipt, lateReceipt] = [ask('receipt'), ask('lateReceipt')];
  const [addLateReceipt, addAudit] = [ask('addLateReceipt'), ask('addAudit')];
  try {
    await call('openStore', [path]);
  } catch (error) {
    asked.unlisten(store);
    throw error;
  }
  const findByKey = ask('findByKey');
  const keys = openKeyReader(path);
  return {
    async create(execution, step) {
      const isNew = await create(execution, step);
      audited.ring();
      return isNew;
    },
    async advance(executionId, step) {
      const first = await advance(executionId, step);
      if (step.audit !== undefined) audited.ring();
      return step.events.map((event, index) => ({ ...event, sequence: first + index }));
    },
    find: ask('find'),
    findByKey: async (key) => (keys.isNew(key) ? undefined : findByKey(key)),
    findByPrefix: ask('findByPrefix'),
    contract: ask('contract'),
    open: ask('open'),
    list: ask('list'),
    events: async (executionId) => (await events(executionId)).map((bytes) => ExecutionEvent.decode(bytes)),
    receipt: async (executionId) => toReceipt(await receipt(executionId)),
    withdrawnTickets: ask('withdrawnTickets'),
    async addLateReceipt(...args) {
      await addLateReceipt(...args);
      audited.ring();
    },
    lateReceipt: async (...args) => toReceipt(await lateReceipt(...args)),
    keys: ask('keys'),
    addKey: ask('addKey'),
    chainHeads: ask('chainHeads'),
    keepChainHead: ask('keepChainHead'),
    whole: ask('whole'),
    strip: ask('strip'),
    forgettable: ask('forgettable'),
    forget: ask('forget'),
    usedBytes: ask('usedBytes'),
    keepExecutor: ask('keepExecutor'),
    executors: ask('executors'),
    auditAfter: ask('auditAfter'),
    auditBefore: ask('auditBefore'),
    auditLast: ask('auditLast'),
    lastOfOwners: ask('lastOfOwners'),
    async addAudit(rows) {
      await addAudit(rows);
      audited.ring();
    },
    receiptRecords: ask('receiptRecords'),
    skipAudit: ask('skipAudit'),
    pruneAudit: ask('pruneAudit'),
    audited: (abort) => audited.wait(abort),
    close: async () => {
      // Before the last one, which brings the log into the file.
      keys.close();
      await call('close', []);
    },
  };
}

function tell({ onLost, onTrouble, onRecovered }: StoreWatcher, notice: StoreNotice): void {
  if (notice.is === 'recovered') onRecovered?.();
  else (notice.is === 'lost' ? onLost : onTrouble)?.(toError(notice.error) as CscError);
}

function toReceipt(sent: SentReceipt | undefined): StoredReceipt | undefined {
  if (sent === undefined) return undefined;
  return { receiptJson: Buffer.from(sent.receiptJson), originalJson: Buffer.from(sent.originalJson) };
}
