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
  readonly #byId = new Map<string, KeyRow>();
  /** No two ids have one key. */
  readonly #idByPublicKey = new Map<string, string>();
  readonly #byOwner = new Map<string, Set<KeyRow>>();
  /** Each receipt is verified with one of these. */
  readonly #rings = new Map<string, KeyRing>();

  private constructor(options: ExecutorKeysOptions, rows: readonly KeyRow[]) {
    this.#options = options;
    for (const row of rows) this.#keep(row);
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
    const known = this.#rings.get(owner);
    if (known !== undefined) return known;
    const own = [...(this.#byOwner.get(owner) ?? [])];
    const ring = createKeyRing(own.map((row) => ({ keyId: row.key_id, publicKey: row.public_key, owner })));
    // Only of who has keys: what anybody may ask for is not kept.
    if (own.length > 0) this.#rings.set(owner, ring);
    return ring;
  }

  #keep(row: KeyRow): void {
    this.#byId.set(row.key_id, row);
    this.#idByPublicKey.set(toText(row.public_key), row.key_id);
    this.#byOwner.set(row.owner, (this.#byOwner.get(row.owner) ?? new Set()).add(row));
    this.#rings.delete(row.owner);
  }

  #drop(row: KeyRow): void {
    this.#byId.delete(row.key_id);
    this.#idByPublicKey.delete(toText(row.public_key));
    this.#byOwner.get(row.owner)?.delete(row);
    this.#rings.delete(row.owner);
  }

  async #add(owner: string, keyId: string, publicKey: Buffer): Promise<void> {
    const { store, clock, maxPerExecutor } = this.#options;
    if (this.#idByPublicKey.has(toText(publicKey)))
      throw refused('this receipt key is known under another id or of another executor: make a new one');
    if ((this.#byOwner.get(owner)?.size ?? 0) >= maxPerExecutor) {
      throw refused(
        `this executor has had ${maxPerExecutor} receipt keys: let it keep one (state_dir, signing_key), or raise limits.executor_keys of the gate`,
      );
    }
    const row = { key_id: keyId, public_key: publicKey, owner, since: toTimestamp(clock.now()) };
    this.#keep(row);
    await store.addKey(row).catch((error: unknown) => {
      this.#drop(row);
      throw error;
    });
  }
}

function toText(publicKey: Uint8Array): string {
  return Buffer.from(publicKey).toString('base64');
}

function refused(message: string): CscError {
  return new CscError('CREDENTIALS_INVALID', message);
}
