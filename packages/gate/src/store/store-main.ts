// The thread that has the gate's database: see store-thread.ts, which asks it.
import { fromError, notify, serveThread } from '@csc-fleet/common/thread';
import { openStore, type SqlStore } from './store.ts';
import type { AskedStore, StoreCall, StoreNotice } from './store-thread.ts';

const stores = new Map<number, SqlStore>();

async function open(store: number, path: string): Promise<void> {
  const say = (notice: StoreNotice): void => notify(store, notice);
  const opened = await openStore(path, {
    onLost: (error) => say({ is: 'lost', error: fromError(error) }),
    onTrouble: (error) => say({ is: 'trouble', error: fromError(error) }),
    onRecovered: () => say({ is: 'recovered' }),
  });
  stores.set(store, opened);
}

function get(store: number): SqlStore {
  const opened = stores.get(store);
  if (opened === undefined) throw new TypeError(`this thread has no store ${store}`);
  return opened;
}

/** A store as it is asked for from another thread. */
function toAsked(store: SqlStore): Pick<AskedStore, 'advance' | 'events'> {
  return {
    advance: async (executionId, step) => (await store.advance(executionId, step))[0]?.sequence ?? 0,
    events: (executionId) => store.storedEvents(executionId),
  };
}

async function work({ store, method, args }: StoreCall): Promise<unknown> {
  if (method === 'openStore') return open(store, String(args[0]));
  const opened = get(store);
  const asked = toAsked(opened);
  const owner = method === 'advance' || method === 'events' ? asked : opened;
  const found: unknown = Reflect.get(owner, method);
  if (typeof found !== 'function') throw new TypeError(`a store has no ${method}`);
  return Reflect.apply(found, owner, args);
}

serveThread((what) => work(what as StoreCall));
