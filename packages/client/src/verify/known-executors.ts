import type { KeyEntry } from '@csc-fleet/common/crypto';
import { CscError } from '@csc-fleet/common/errors';

/** A receipt key of an executor. */
export type ExecutorKey = KeyEntry & { readonly owner: string };

/**
 * The receipt keys that executors were met with, so that a gate cannot put another in the place of one later: trust on
 * first use, as SSH has it. Keep it between processes, or each begins anew.
 */
export interface KnownExecutors {
  /** All keys that this executor, a SPIFFE id, was met with; none where it never was. */
  keysOf(owner: string): Promise<readonly ExecutorKey[]>;
  /** Remembers a key that a receipt has verified with, the first of its owner. */
  remember(key: ExecutorKey): Promise<void>;
  /** Where it is kept, for people who have to change it. */
  readonly place: string;
}

/** Forgets everything with the process. */
export function createKnownExecutors(): KnownExecutors {
  const keys: ExecutorKey[] = [];
  return {
    keysOf: async (owner) => keys.filter((key) => key.owner === owner),
    remember: async (key) => {
      keys.push(key);
    },
    place: 'the memory of this process',
  };
}

/** Remembers an executor's first key; throws KEY_CHANGED where it was met with others before. */
export async function checkKnown(known: KnownExecutors, key: ExecutorKey): Promise<void> {
  const earlier = await known.keysOf(key.owner);
  if (earlier.length === 0) return known.remember(key);
  const same = earlier.some(
    (it) => it.keyId === key.keyId && Buffer.compare(it.publicKey, key.publicKey) === 0,
  );
  if (!same) throw keyChanged(known, key, earlier);
}

function keyChanged({ place }: KnownExecutors, key: ExecutorKey, earlier: readonly ExecutorKey[]): CscError {
  const was = earlier.map(({ keyId }) => JSON.stringify(keyId)).join(', ');
  const message =
    `THE RECEIPT KEY OF ${key.owner} HAS CHANGED: it was ${was}, and the gate now names ${JSON.stringify(key.keyId)}. ` +
    'Either the host was set up anew, or somebody forges its receipts; nothing of this one counts. Ask the owner of the ' +
    `host for the output of csc executor keys there; if that is the new key, remove the old one from ${place}`;
  return new CscError('KEY_CHANGED', message);
}
