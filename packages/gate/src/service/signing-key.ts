import { existsSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  createKeyRing,
  createSigner,
  defaultKeyId,
  generateKeyPair,
  nodeEd25519,
  readKeyRing,
  readPrivateKey,
  type Signer,
  toKeyRingJson,
} from '@csc-fleet/common/crypto';
import { makeDirectory } from '@csc-fleet/common/files';

/**
 * The gate's signing key: the file named, or one that is made in the data directory at the first start. Its public
 * half is kept in `gate-keys.json` there, beside those of older keys: the key ring that executors pin. Throws
 * KEY_INVALID, FILE_UNREADABLE, FILE_UNWRITABLE.
 */
export function openSigningKey(dataDir: string, gateId: string, file: string | undefined): Signer {
  makeDirectory(dataDir, { mode: 0o700, as: `data_dir ${dataDir}` });
  const path = file ?? join(dataDir, 'gate.key');
  if (file === undefined && !existsSync(path)) {
    replaceFile(path, generateKeyPair().privatePem, 0o600);
  }
  const seed = readPrivateKey(path);
  const publicKey = nodeEd25519.publicKey(seed);
  const signer = createSigner(seed, defaultKeyId(gateId, publicKey));
  publish(join(dataDir, 'gate-keys.json'), signer);
  return signer;
}

function publish(path: string, { keyId, publicKey }: Signer): void {
  const entries = existsSync(path) ? readKeyRing(path).entries() : [];
  if (entries.some((entry) => entry.keyId === keyId)) return;
  const ring = createKeyRing([...entries, { keyId, publicKey }]);
  replaceFile(path, toKeyRingJson(ring.entries()), 0o644);
}

// At once or not at all: half a key would have to be removed by hand before the gate could start again.
function replaceFile(path: string, text: string, mode: number): void {
  const fresh = `${path}.${process.pid}`;
  writeFileSync(fresh, text, { mode, flush: true });
  renameSync(fresh, path);
}
