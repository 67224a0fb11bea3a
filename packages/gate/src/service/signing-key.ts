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
import { makeDirectory, replaceFile } from '@csc-fleet/common/files';

/**
 * The gate's signing key: the file named, or one that is made in the data directory at the first start. Its public
 * half is kept in `gate-keys.json` there, beside those of older keys: the key ring that executors pin. Throws
 * KEY_INVALID, FILE_UNREADABLE, FILE_UNWRITABLE.
 */
export function openSigningKey(dataDir: string, gateId: string, file: string | undefined): Signer {
  makeDirectory(dataDir, { mode: 0o700, as: `data_dir ${dataDir}` });
  const path = file ?? join(dataDir, 'gate.key');
  if (file === undefined) makeKeyFile(path);
  const signer = readOwnSigner(path, gateId);
  publish(join(dataDir, 'gate-keys.json'), signer);
  return signer;
}

function publish(path: string, { keyId, publicKey }: Signer): void {
  const entries = existsSync(path) ? readKeyRing(path).entries() : [];
  if (entries.some((entry) => entry.keyId === keyId)) return;
  const ring = createKeyRing([...entries, { keyId, publicKey }]);
  replaceFile(path, toKeyRingJson(ring.entries()), 0o644);
}
