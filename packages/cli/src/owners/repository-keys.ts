import { existsSync } from 'node:fs';
import { basename, join } from 'node:path';
import {
  createSigner,
  defaultKeyId,
  generateKeyPair,
  readPrivateKey,
  type Signer,
} from '@csc-fleet/common/crypto';
import { CscError } from '@csc-fleet/common/errors';
import { makeDirectory } from '@csc-fleet/common/files';
import {
  initRepository,
  publishStaged,
  refuseRepository,
  rootBytes,
} from '@csc-fleet/common/policy-repository';
import { writeFileWhole } from '../files/write-file.ts';
import { note } from '../terminal/streams.ts';

/** Throws what `makeLocalRepository` would; makes nothing. */
export function checkLocalRepository(dir: string): void {
  if (!existsSync(keyFile(dir, 'owner'))) refuseRepository(dir);
}

/**
 * A repository all of whose keys are in its folder. Gives false where there is one already. Throws FILE_UNWRITABLE where
 * there is one whose keys are elsewhere.
 */
export function makeLocalRepository(dir: string): boolean {
  if (existsSync(keyFile(dir, 'owner'))) return false;
  const [owner, online] = [generateKeyPair(), generateKeyPair()];
  const role = { publicKeys: [owner.publicKey], threshold: 1 };
  initRepository(dir, { root: role, targets: role, online: online.publicKey }, new Date());
  makeDirectory(join(dir, 'keys'), { mode: 0o700 });
  writeFileWhole(keyFile(dir, 'owner'), owner.privatePem, 0o600);
  writeFileWhole(keyFile(dir, 'online'), online.privatePem, 0o600);
  return true;
}

function keyFile(dir: string, name: 'owner' | 'online'): string {
  return join(dir, 'keys', `${name}.key`);
}

/** The owners' keys that `csc policy init --local` has left in the repository. Throws CONFIG_INVALID where it has none. */
export function localSigners(dir: string): Signer[] {
  return [readSigningKey(localOwnerKey(dir))];
}

/** The file of that key. Throws likewise. @param option what else names one */
export function localOwnerKey(dir: string, option = '--key'): string {
  const path = keyFile(dir, 'owner');
  if (existsSync(path)) return path;
  throw new CscError('CONFIG_INVALID', `there are no local keys in ${dir}: name one with ${option}`);
}

/** A private key; its id is of no account here, as a repository knows keys by what they are. */
export function readSigningKey(path: string): Signer {
  const seed = readPrivateKey(path);
  const { publicKey } = createSigner(seed, path);
  return createSigner(seed, defaultKeyId(basename(path, '.key'), publicKey));
}

/**
 * Publishes what is signed, with root.json beside it for hosts to pin.
 * @param say told where that is, for people
 * @param onlineKey a private key file; default: the local one
 */
export function publish(
  dir: string,
  say: (line: string) => void = note,
  onlineKey = keyFile(dir, 'online'),
): void {
  const version = publishStaged(dir, readSigningKey(onlineKey), new Date());
  writeFileWhole(join(dir, 'root.json'), rootBytes(dir));
  say(`version ${version} is published in ${join(dir, 'published')}; hosts pin ${join(dir, 'root.json')}`);
}
