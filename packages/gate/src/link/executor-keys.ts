import { createKeyRing, type KeyRing } from '@csc-fleet/common/crypto';
import { type Clock, toTimestamp } from '@csc-fleet/common/encoding';
import { CscError } from '@csc-fleet/common/errors';
import type { Hello } from '@csc-fleet/common/messages';
import type { Store } from '../store/store.ts';
import type { KeyRow } from '../store/tables.ts';

const keyBytes = 32;
const maxKeyIdLength = 200;

/** The receipt keys that executors have registered over their own mutually authenticated connections. */
export class ExecutorKeys {
  readonly #store: Store;
  readonly #clock: Clock;
  readonly #rows: KeyRow[];

  private constructor(store: Store, clock: Clock, rows: KeyRow[]) {
    this.#store = store;
    this.#clock = clock;
    this.#rows = rows;
  }

  static async load(store: Store, clock: Clock): Promise<ExecutorKeys> {
    return new ExecutorKeys(store, clock, await store.keys());
  }

  /**
   * Registers the key that an executor says hello with. A key keeps its id and its owner for ever: throws
   * CREDENTIALS_INVALID where the id stands for another key or belongs to another executor.
   */
  async register(owner: string, { receiptKeyId: keyId, receiptPublicKey }: Hello): Promise<void> {
    if (keyId === '' || keyId.length > maxKeyIdLength || receiptPublicKey.length !== keyBytes) {
      throw new CscError('CREDENTIALS_INVALID', 'an executor must name its receipt key: an id and 32 bytes');
    }
    const known = this.#rows.find((row) => row.key_id === keyId);
    if (known === undefined) {
      const row = {
        key_id: keyId,
        public_key: receiptPublicKey,
        owner,
        since: toTimestamp(this.#clock.now()),
      };
      this.#rows.push(row);
      await this.#store.addKey(row);
    } else if (known.owner !== owner || !receiptPublicKey.equals(known.public_key)) {
      throw new CscError(
        'CREDENTIALS_INVALID',
        'this key id is taken: give the executor a receipt key of its own',
      );
    }
  }

  /** What this executor's receipts verify with; nobody else's keys are in it. */
  ringOf(owner: string): KeyRing {
    const own = this.#rows.filter((row) => row.owner === owner);
    return createKeyRing(own.map((row) => ({ keyId: row.key_id, publicKey: row.public_key, owner })));
  }
}
