import { createKeyRing, type KeyEntry, type KeyRing, parsePublicKey } from '@csc-fleet/common/crypto';
import { orThrow } from '@csc-fleet/common/errors';
import { GateService, type PublicKey, parseIdentity } from '@csc-fleet/common/rpc';
import type { Connection } from '../connection/connection.ts';
import { checkKnown, type ExecutorKey, type KnownExecutors } from './known-executors.ts';

/** Where the public keys come from that receipts are verified with. */
export interface KeySource {
  /** A ring that holds `keyId` where it can be had at all. */
  ringFor(keyId: string, signal?: AbortSignal): Promise<KeyRing>;
  /** Told of the key that an executor's receipt has verified with; throws where that key must not count. */
  accept?(key: ExecutorKey): Promise<void>;
}

/**
 * Keys that the caller has pinned: no other key counts for an executor. The gate is asked for keys of gates alone, which
 * sign that nothing ran: that it refuses is the gate's own to say.
 */
export function pinnedKeys(pinned: KeyRing, connection: Connection): KeySource {
  const named = gateKeys(connection);
  return {
    ringFor: async (keyId, signal) => {
      if (pinned.find(keyId) !== undefined) return pinned;
      const key = (await named.ringFor(keyId, signal)).find(keyId);
      return createKeyRing(key !== undefined && isOfGate(key.owner) ? [key] : []);
    },
  };
}

/** The keys that the gate names, held against those that the executors were met with before. */
export function knownKeys(known: KnownExecutors, connection: Connection): KeySource {
  return { ...gateKeys(connection), accept: (key) => checkKnown(known, key) };
}

// Each key is asked for by its id, once: a fleet has more keys than a client ever needs.
function gateKeys(connection: Connection): KeySource {
  const keys = new Map<string, KeyEntry>();
  return {
    ringFor: async (keyId, signal) => {
      if (!keys.has(keyId)) {
        const found = await getKeys(connection, [keyId], signal);
        for (const key of found.filter((it) => it.keyId === keyId)) keys.set(keyId, key);
      }
      const key = keys.get(keyId);
      return createKeyRing(key === undefined ? [] : [key]);
    },
  };
}

function isOfGate(owner: string | undefined): boolean {
  return owner !== undefined && (parseIdentity(owner)?.role === 'gate' || owner.startsWith('gate/'));
}

/** The public keys with these ids; all keys for none. Throws KEY_INVALID where the gate names one that is none. */
export async function getKeys(
  connection: Connection,
  keyIds: readonly string[],
  signal?: AbortSignal,
): Promise<KeyEntry[]> {
  const { keys } = await connection.unary(GateService.getKeys, { keyIds: [...keyIds] }, signal);
  return keys.map(toKeyEntry);
}

function toKeyEntry(key: PublicKey): KeyEntry {
  return {
    keyId: key.keyId,
    publicKey: orThrow(parsePublicKey(key.publicKey), 'KEY_INVALID', `the key ${JSON.stringify(key.keyId)}`),
    ...(key.owner === '' ? {} : { owner: key.owner }),
    ...(key.notBefore === undefined ? {} : { notBefore: key.notBefore }),
    ...(key.notAfter === undefined ? {} : { notAfter: key.notAfter }),
    ...(key.revokedAt === undefined ? {} : { revokedAt: key.revokedAt }),
  };
}
