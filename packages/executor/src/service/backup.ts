import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { type BackedUp, backUp, restoreBackup } from '@csc-fleet/common/database';
import { systemClock } from '@csc-fleet/common/encoding';
import { CscError } from '@csc-fleet/common/errors';
import { readBoundedFile } from '@csc-fleet/common/files';
import { lockStateDirectory } from '@csc-fleet/sandbox/host';
import { archiveDirectory } from '../archive/index.ts';
import { journalFile, restoreJournalCommand } from '../journal/index.ts';
import { beginEpochOf, type EpochChange } from './new-epoch.ts';
import { defaultKeyFile } from './signing-key.ts';
import { ownerFile } from './state-dir.ts';

function backedUp(stateDir: string): BackedUp {
  return {
    directory: stateDir,
    database: journalFile,
    others: [ownerFile, defaultKeyFile, archiveDirectory, 'policy'],
    restore: restoreJournalCommand,
  };
}

/** Copies an executor's state directory without its spool, also while it runs. Throws as `backUp` does. */
export function backUpExecutor(stateDir: string, to: string): Promise<void> {
  return backUp(backedUp(stateDir), to);
}

/**
 * Restores an executor's state directory, and begins a new epoch in it before it is in its place: what it has run since
 * the backup it has forgotten. `replaced` is as of `restoreBackup`. Throws as `restoreBackup` and `beginNewEpoch` do,
 * and CONFIG_INVALID for the backup of another executor.
 */
export async function restoreExecutor(
  stateDir: string,
  from: string,
): Promise<EpochChange & { readonly replaced: string | undefined }> {
  const taken = `an executor uses ${stateDir}: stop it first, then restore`;
  checkSameOwner(stateDir, from);
  let change: EpochChange | undefined;
  const replaced = await restoreBackup(backedUp(stateDir), from, {
    lock: () => lockStateDirectory(stateDir, taken).release,
    prepare: async (path) => {
      change = await beginEpochOf(path, join(stateDir, archiveDirectory), systemClock);
    },
  });
  if (change === undefined) throw new CscError('INTERNAL', 'the restored journal has no new epoch');
  return { ...change, replaced };
}

function checkSameOwner(stateDir: string, from: string): void {
  const [mine, theirs] = [stateDir, from].map((directory) => readOwner(join(directory, ownerFile)));
  if (mine === undefined || theirs === undefined || mine === theirs) return;
  throw new CscError(
    'CONFIG_INVALID',
    `${from} is the backup of ${theirs}, and ${stateDir} belongs to ${mine}`,
  );
}

function readOwner(path: string): string | undefined {
  if (!existsSync(path)) return undefined;
  return readBoundedFile(path, { maxBytes: 4096, link: 'refuse' }).bytes.toString('utf8').trim();
}
