import { X509Certificate } from 'node:crypto';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { ExecutorKey, KnownExecutors } from '@csc-fleet/client';
import { type KeyEntry, readKeyRing, toKeyRingJson } from '@csc-fleet/common/crypto';
import { CscError } from '@csc-fleet/common/errors';
import { readBoundedFile } from '@csc-fleet/common/files';
import { defaultStateDir } from '../local/state-dir.ts';
import { writeFileWhole } from '../write-file.ts';

const maxPemBytes = 1024 * 1024;

/**
 * Where the executors of one fleet are remembered unless the user says otherwise: a file for each CA, as that is what
 * the names of executors are of. `ca` is the CA's PEM file, which has been read before.
 */
export function defaultKnownExecutorsFile(ca: string, env: NodeJS.ProcessEnv): string {
  const { bytes } = readBoundedFile(ca, { maxBytes: maxPemBytes });
  const fingerprint = new X509Certificate(bytes).fingerprint256.replaceAll(':', '').toLowerCase();
  return join(defaultStateDir(env), 'known-executors', `${fingerprint.slice(0, 16)}.json`);
}

/** What happens to a key that is met for the first time. */
export interface KnownExecutorsEvents {
  remembered(key: ExecutorKey): void;
  /** It counts all the same, in this process; the next one begins anew. */
  notRemembered(error: CscError): void;
}

/** Executors remembered in a key ring file, which `--keys` takes as well. Its reads throw KEY_INVALID. */
export function openKnownExecutors(file: string, events: KnownExecutorsEvents): KnownExecutors {
  const fresh: ExecutorKey[] = [];
  const all = (): ExecutorKey[] => [...readKnown(file), ...fresh];
  return {
    place: file,
    keysOf: async (owner) => all().filter((key) => key.owner === owner),
    remember: async ({ keyId, publicKey, owner }) => {
      const known = all();
      refuseTaken(known, keyId, file);
      const key = { keyId, publicKey, owner };
      try {
        writeFileWhole(file, toKeyRingJson([...known, key]));
        events.remembered(key);
      } catch (error) {
        if (!(error instanceof CscError)) throw error;
        fresh.push(key);
        events.notRemembered(error);
      }
    },
  };
}

function readKnown(file: string): ExecutorKey[] {
  if (!existsSync(file)) return [];
  return readKeyRing(file).entries().filter(hasOwner);
}

function hasOwner(key: KeyEntry): key is ExecutorKey {
  return key.owner !== undefined;
}

// Two keys of one id would make the file unreadable, and the next executor as good as new.
function refuseTaken(known: readonly ExecutorKey[], keyId: string, file: string): void {
  const taken = known.find((key) => key.keyId === keyId);
  if (taken === undefined) return;
  const message = `the key id ${JSON.stringify(keyId)} is that of ${taken.owner} already, in ${file}`;
  throw new CscError('KEY_CHANGED', message);
}
