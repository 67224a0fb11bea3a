import { readdirSync, realpathSync, statSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { type KeyRing, readKeyRing } from '@csc-fleet/common/crypto';
import { CscError } from '@csc-fleet/common/errors';
import { readBoundedFile } from '@csc-fleet/common/files';
import type { PolicySet } from '@csc-fleet/common/policy';
import { readPolicyDirectory } from '@csc-fleet/common/policy-directory';

/**
 * The policies of a host's owner. Throws what readPolicyDirectory does, and CONFIG_INVALID where everybody can change one
 * of them: a job could write what jobs may do.
 */
export function readOwnersPolicies(directory: string): PolicySet {
  const policies = readPolicyDirectory(directory);
  const files = readdirSync(directory).filter((name) => name.endsWith('.yaml'));
  for (const path of [directory, ...files.map((name) => join(directory, name))]) checkKept(path);
  return policies;
}

/** The keys of the gates whose tickets count here. Throws what readKeyRing does, and CONFIG_INVALID as above. */
export function readOwnersGateKeys(path: string): KeyRing {
  const keys = readKeyRing(path);
  checkKept(path);
  return keys;
}

/**
 * The root of the policy repository that this host's owner has pinned: whoever can put another one there decides all. Throws
 * FILE_UNREADABLE, and CONFIG_INVALID where others than its owner may write it, or put another in its place, in whichever
 * folder above it.
 */
export function readPinnedRoot(path: string): Uint8Array {
  const { bytes } = readBoundedFile(path, { maxBytes: maxRootBytes });
  const real = realpathSync(path);
  checkClosed(real, path);
  // By the name that the config has, and by the one that a link leads to.
  for (const folder of new Set([...foldersAbove(resolve(path)), ...foldersAbove(real)]))
    checkClosed(folder, path);
  return bytes;
}

function foldersAbove(path: string): string[] {
  const folder = dirname(path);
  return folder === path ? [] : [folder, ...foldersAbove(folder)];
}

// In a folder like /tmp, which has the sticky bit, nobody puts another file in the place of somebody else's. A group of the
// same number as its user is that user's own, as many systems make them.
function checkClosed(at: string, path: string): void {
  const { mode, uid, gid } = statSync(at);
  const open = gid === uid ? 0o002 : 0o022;
  if ((mode & open) === 0 || (mode & 0o1000) !== 0) return;
  const where = at === path ? '' : `, through ${at}`;
  const message = `${path} can be changed by others than its owner${where}, and it decides what runs here: run chmod go-w ${at}`;
  throw new CscError('CONFIG_INVALID', message);
}

// What TUF's client takes.
const maxRootBytes = 512_000;

// A group may be that of the people who keep the policies.
function checkKept(path: string): void {
  if ((statSync(path).mode & 0o002) === 0) return;
  throw new CscError(
    'CONFIG_INVALID',
    `${path} can be changed by everybody, and it decides what runs here: run chmod o-w ${path}`,
  );
}
