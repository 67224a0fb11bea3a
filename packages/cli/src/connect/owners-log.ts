import { rmSync } from 'node:fs';
import { systemClock } from '@csc-fleet/common/encoding';
import { CscError } from '@csc-fleet/common/errors';
import { makeTemporaryDirectory, readBoundedFile } from '@csc-fleet/common/files';
import { type DemandedLog, type GateOptions, resolveLog } from './gate-options.ts';

/**
 * The log that is demanded of evidence: as the options say, or the owners (`--log-of`). Undefined: none. Throws as
 * `resolveLog` and `readOwnersLog` do.
 */
export async function findDemandedLog(options: Partial<GateOptions>): Promise<DemandedLog | undefined> {
  const { logOf, ownersRoot } = options;
  const said = resolveLog({ ...options, keys: [] }, process.env);
  return logOf === undefined ? said : readOwnersLog(logOf, ownersRoot);
}

/**
 * The log that the owners name, in a published folder of their policy repository that verifies by the root that was pinned.
 * Throws CONFIG_INVALID where they name none, and POLICY_INVALID or POLICY_STALE where the folder is not what they have signed.
 */
export async function readOwnersLog(folder: string, root: string | undefined): Promise<DemandedLog> {
  if (root === undefined)
    throw new CscError('CONFIG_INVALID', '--log-of: give --owners-root, by which that folder is verified');
  const { createDirectorySource, createPolicyMirror } = await import('@csc-fleet/common/policy-repository');
  const pinnedRoot = readBoundedFile(root, { maxBytes: 1024 * 1024 }).bytes;
  // Of this call alone: two commands at once would clear each other's away.
  const directory = makeTemporaryDirectory('csc-owners-');
  try {
    const source = createDirectorySource(folder);
    const { log } = await createPolicyMirror({ directory, pinnedRoot, source, clock: systemClock }).refresh();
    if (log !== undefined) return log;
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
  throw new CscError(
    'CONFIG_INVALID',
    `--log-of: the owners name no log in ${folder}: log.yaml is not there`,
  );
}
