import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { CscError, quoteBriefly } from '@csc-fleet/common/errors';
import { makeDirectory, makeFile, readBoundedFile } from '@csc-fleet/common/files';

/** Names, in a state directory, the executor that it belongs to. */
export const ownerFile = 'identity';

/**
 * Makes an executor's state directory if need be, and binds it to this executor at its first use: what it holds is one
 * host's. Under another identity the executor would sign for runs that are not its own, and its gate would refuse the
 * receipts. Throws CONFIG_INVALID for another's, FILE_UNWRITABLE and FILE_UNREADABLE.
 * @param identity the whole SPIFFE id: trust domain and name
 */
export function claimStateDir(stateDir: string, identity: string): void {
  makeDirectory(stateDir, { mode: 0o700 });
  const path = join(stateDir, ownerFile);
  // Read first: a full disk must not keep out whom it belongs to.
  if (!existsSync(path)) makeFile(path, `${identity}\n`, 0o600);
  const owner = readBoundedFile(path, { maxBytes: 4096, link: 'refuse' }).bytes.toString('utf8').trim();
  if (owner === identity) return;
  const message =
    `${stateDir} holds the journal and the receipts of ${quoteBriefly(owner)}, and this executor is ${identity}: ` +
    'give it a state_dir of its own, and let the other deliver what it owes under its own certificate first';
  throw new CscError('CONFIG_INVALID', message);
}
