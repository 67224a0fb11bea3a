import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
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

/** The root of the policy repository that this host's owner has pinned. Throws FILE_UNREADABLE, and CONFIG_INVALID as above. */
export function readPinnedRoot(path: string): Uint8Array {
  const { bytes } = readBoundedFile(path, { maxBytes: maxRootBytes });
  checkKept(path);
  return bytes;
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
