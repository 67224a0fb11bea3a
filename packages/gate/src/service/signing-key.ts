import { existsSync } from 'node:fs';
import { join } from 'node:path';
import {
  createKeyRing,
  makeKeyFile,
  readKeyRing,
  readOwnSigner,
  type Signer,
  toKeyRingJson,
} from '@csc-fleet/common/crypto';
import { looksOfFile, makeDirectory, replaceFile } from '@csc-fleet/common/files';
import type { Renewable } from '@csc-fleet/common/service';
import type { GateConfig } from './config.ts';

/**
 * The gate's signing key: the file named, or one that is made in the data directory at the first start. Its public
 * half is kept in `gate-keys.json` there, beside those of older keys: the key ring that executors pin. Throws
 * KEY_INVALID, FILE_UNREADABLE, FILE_UNWRITABLE.
 */
export function openSigningKey({ dataDir, gateId, signingKey }: KeyPlace): Signer {
  makeDirectory(dataDir, { mode: 0o700, as: `data_dir ${dataDir}` });
  if (signingKey === undefined) makeKeyFile(join(dataDir, defaultKeyFile));
  return readPublished({ dataDir, gateId, signingKey });
}

/** Where a gate's signing key is. */
export type KeyPlace = Pick<GateConfig, 'dataDir' | 'gateId'> & { readonly signingKey?: string | undefined };

const defaultKeyFile = 'gate.key';

/**
 * The signing key, to be read again while the gate runs: what it signs from then on names the new one, and the older
 * ones stay known. Hosts take tickets of it once it is in their `trusted_gate_keys`.
 * @param take puts another key into the place of `signer`
 */
export function renewableKey(place: KeyPlace, signer: Signer, take: (next: Signer) => void): Renewable {
  const file = place.signingKey ?? join(place.dataDir, defaultKeyFile);
  return {
    name: 'signing_key',
    looks: () => looksOfFile(file),
    prepare: () => {
      const next = readPublished(place);
      if (next.keyId === signer.keyId) return undefined;
      return () => take(next);
    },
  };
}

function readPublished({ dataDir, gateId, signingKey }: KeyPlace): Signer {
  const signer = readOwnSigner(signingKey ?? join(dataDir, defaultKeyFile), gateId);
  publish(join(dataDir, 'gate-keys.json'), signer);
  return signer;
}

function publish(path: string, { keyId, publicKey }: Signer): void {
  const entries = existsSync(path) ? readKeyRing(path).entries() : [];
  if (entries.some((entry) => entry.keyId === keyId)) return;
  const ring = createKeyRing([...entries, { keyId, publicKey }]);
  replaceFile(path, toKeyRingJson(ring.entries()), 0o644);
}
