import { createKeyRing, type KeyEntry, type KeyRing } from '@csc-fleet/common/crypto';
import { GateService, type PublicKey } from '@csc-fleet/common/rpc';
import type { Connection } from './connection.ts';

/** Where the public keys come from that receipts are verified with. */
export interface KeySource {
  /** A ring that holds `keyId` where it can be had at all. */
  ringFor(keyId: string, signal?: AbortSignal): Promise<KeyRing>;
}

/** Keys that the caller has pinned; the gate is not asked. */
export function pinnedKeys(ring: KeyRing): KeySource {
  return { ringFor: async () => ring };
}

/** The gate's keys, asked for again whenever an unknown one turns up: executors come and go. */
export function gateKeys(connection: Connection): KeySource {
  let ring = createKeyRing([]);
  return {
    ringFor: async (keyId, signal) => {
      if (ring.find(keyId) === undefined) ring = createKeyRing(await getKeys(connection, [], signal));
      return ring;
    },
  };
}

/** The public keys with these ids; all keys for none. */
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
    publicKey: key.publicKey,
    ...(key.owner === '' ? {} : { owner: key.owner }),
    ...(key.notBefore === undefined ? {} : { notBefore: key.notBefore }),
    ...(key.notAfter === undefined ? {} : { notAfter: key.notAfter }),
    ...(key.revokedAt === undefined ? {} : { revokedAt: key.revokedAt }),
  };
}
