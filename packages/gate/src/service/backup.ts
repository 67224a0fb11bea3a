import { join } from 'node:path';
import { type BackedUp, backUp, restoreBackup } from '@csc-fleet/common/database';
import { makeFile } from '@csc-fleet/common/files';
import { lockStore, restoredMark, restoreGateCommand } from '../store/node-sqlite.ts';

function backedUp(dataDir: string): BackedUp {
  return {
    directory: dataDir,
    database: 'gate.db',
    others: ['gate.key', 'gate-keys.json', 'policy', 'pki'],
    restore: restoreGateCommand,
  };
}

/** Copies a gate's data directory without its output, also while it runs. Throws as `backUp` does. */
export function backUpGate(dataDir: string, to: string): Promise<void> {
  return backUp(backedUp(dataDir), to);
}

/**
 * Restores a gate's data directory. At its next start, what waited or was offered when the backup was made is LOST: it may
 * have run since, and would run twice. Throws as `restoreBackup` does, whose result it has.
 */
export async function restoreGate(dataDir: string, from: string): Promise<string | undefined> {
  return restoreBackup(backedUp(dataDir), from, {
    lock: () => lockStore(join(dataDir, 'gate.db')),
    prepare: async () => {
      makeFile(join(dataDir, `gate.db${restoredMark}`), `from ${from}\n`, 0o600);
    },
  });
}
