import { CscError } from '../errors/index.ts';

/** A public key that is trusted, and for how long. */
export interface KeyEntry {
  keyId: string;
  /** 32 bytes. */
  publicKey: Uint8Array;
  /** Who signs with it, as a URI. Absent: not said. */
  owner?: string;
  /** Absent: since ever. */
  notBefore?: Date;
  /** Absent: for ever. */
  notAfter?: Date;
  /** Set: nothing that it signed counts any more, whenever it was signed. */
  revokedAt?: Date;
}

/** The keys that one party trusts, by id. */
export interface KeyRing {
  find(keyId: string): KeyEntry | undefined;
  entries(): readonly KeyEntry[];
}

/** A KeyRing that does not change. Throws KEY_INVALID where two entries have one id. */
export function createKeyRing(entries: readonly KeyEntry[]): KeyRing {
  const byId = new Map<string, KeyEntry>();
  for (const entry of entries) {
    if (byId.has(entry.keyId)) {
      throw new CscError('KEY_INVALID', `the key id ${JSON.stringify(entry.keyId)} stands for two keys`);
    }
    byId.set(entry.keyId, entry);
  }
  const all = [...byId.values()];
  return { find: (keyId) => byId.get(keyId), entries: () => all };
}

/**
 * The KeyRing of one key that a certificate has proved. Whoever pins keys beside the CA may have revoked it there, which its
 * certificate, as old as it is, cannot say.
 */
export function createCertifiedRing(certified: KeyEntry, pinned: readonly KeyEntry[]): KeyRing {
  const isSame = ({ publicKey }: KeyEntry): boolean => isSameKey(publicKey, certified.publicKey);
  const revokedAt = pinned.find((it) => it.revokedAt !== undefined && isSame(it))?.revokedAt;
  return createKeyRing([revokedAt === undefined ? certified : { ...certified, revokedAt }]);
}

function isSameKey(one: Uint8Array, other: Uint8Array): boolean {
  return one.length === other.length && one.every((byte, index) => byte === other[index]);
}

/** A KeyRing whose owner may put another in its place while it is in use. */
export type ReloadableKeyRing = KeyRing & { replace(next: KeyRing): void };

export function createReloadableKeyRing(first: KeyRing): ReloadableKeyRing {
  let current = first;
  return {
    find: (keyId) => current.find(keyId),
    entries: () => current.entries(),
    replace: (next) => {
      current = next;
    },
  };
}
