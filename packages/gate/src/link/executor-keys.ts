import { createKeyRing, type KeyRing, keyLength } from '@csc-fleet/common/crypto';
import { type Clock, toTimestamp } from '@csc-fleet/common/encoding';
import { CscError } from '@csc-fleet/common/errors';
import { verifyExecutorKey } from '@csc-fleet/common/evidence';
import type { Hello } from '@csc-fleet/common/messages';
import type { Store } from '../store/store.ts';
import type { KeyRow } from '../store/tables.ts';

const maxKeyIdLength = 200;

export interface ExecutorKeysOptions {
  readonly store: Pick<Store, 'keys' | 'addKey'>;
  readonly clock: Clock;
  /** Keys that one executor may ever have: it could fill the store with them otherwise. */
  readonly maxPerExecutor: number;
}

/** The receipt keys that executors have registered over their own mutually authenticated connections. */
export class ExecutorKeys {
  readonly #options: ExecutorKeysOptions;
  readonly #byId: Map<string, KeyRow>;

  private constructor(options: ExecutorKeysOptions, rows: readonly KeyRow[]) {
    this.#options = options;
    this.#byId = new Map(rows.map((row) => [row.key_id, row]));
  }

  static async load(options: ExecutorKeysOptions): Promise<ExecutorKeys> {
    return new ExecutorKeys(options, await options.store.keys());
  }

  /** Every key that the gate knows, its own included. */
  all(): readonly KeyRow[] {
    return [...this.#byId.values()];
  }

  find(keyId: string): KeyRow | undefined {
    return this.#byId.get(keyId);
  }

  /**
   * Registers the key that an executor says hello with and proves to hold. A key keeps its id and its owner for ever:
   * throws CREDENTIALS_INVALID where there is no proof, where id or key stand for another's, or where the executor has
   * as many keys as it may have.
   * @param owner the executor's whole SPIFFE id
   */
  async register(owner: string, hello: Hello): Promise<void> {
    const { receiptKeyId: keyId, receiptPublicKey: publicKey } = hello;
    if (keyId === '' || keyId.length > maxKeyIdLength || publicKey.length !== keyLength)
      throw refused('an executor must name its receipt key: an id and 32 bytes');
    verifyExecutorKey(hello.receiptKeyStatementJson, { executor: owner, keyId, publicKey });
    const known = this.#byId.get(keyId);
    if (known === undefined) return this.#add(owner, keyId, publicKey);
    if (known.owner !== owner || !publicKey.equals(known.public_key))
      throw refused('this key id is taken: give the executor a receipt key of its own');
  }

  /** What this executor's receipts verify with; nobody else's keys are in it. */
  ringOf(owner: string): KeyRing {
    const own = this.all().filter((row) => row.owner === owner);
    return createKeyRing(own.map((row) => ({ keyId: row.key_id, publicKey: row.public_key, owner })));
  }

  async #add(owner: string, keyId: string, publicKey: Buffer): Promise<void> {
    const { store, clock, maxPerExecutor } = this.#options;
    const rows = this.all();
    if (rows.some((row) => publicKey.equals(row.public_key)))
      throw refused('this receipt key is known under another id or of another executor: make a new one');
    if (rows.filter((row) => row.owner === owner).length >= maxPerExecutor) {
      throw refused(
        `this executor has had ${maxPerExecutor} receipt keys: let it keep one (state_dir, signing_key), or raise limits.executor_keys of the gate`,
      );
    }
    const row = { key_id: keyId, public_key: publicKey, owner, since: toTimestamp(clock.now()) };
    this.#byId.set(keyId, row);
    await store.addKey(row).catch((error: unknown) => {
      this.#byId.delete(keyId);
      throw error;
    });
  }
}

function refused(message: string): CscError {
  return new CscError('CREDENTIALS_INVALID', message);
}
