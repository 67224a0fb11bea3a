import { existsSync } from 'node:fs';
import { basename, join } from 'node:path';
import { createSigner, defaultKeyId, readPrivateKey, type Signer } from '@csc-fleet/common/crypto';
import { CscError } from '@csc-fleet/common/errors';
import { publishStaged, rootBytes } from '@csc-fleet/common/policy-repository';
import { writeFileWhole } from '../files/write-file.ts';
import { note } from '../terminal/streams.ts';

/** The owners' keys that `csc policy init --local` has left in the repository. Throws CONFIG_INVALID where it has none. */
export function localSigners(dir: string): Signer[] {
  const path = join(dir, 'keys', 'owner.key');
  if (!existsSync(path))
    throw new CscError('CONFIG_INVALID', `there are no local keys in ${dir}: name one with --key`);
  return [readSigningKey(path)];
}

/** A private key; its id is of no account here, as a repository knows keys by what they are. */
export function readSigningKey(path: string): Signer {
  const seed = readPrivateKey(path);
  const { publicKey } = createSigner(seed, path);
  return createSigner(seed, defaultKeyId(basename(path, '.key'), publicKey));
}

/** Publishes what is signed, and says where. @param onlineKey a private key file; default: the local one */
export function publish(dir: string, onlineKey = join(dir, 'keys', 'online.key')): void {
  const version = publishStaged(dir, readSigningKey(onlineKey), new Date());
  writeFileWhole(join(dir, 'root.json'), rootBytes(dir));
  note(`version ${version} is published in ${join(dir, 'published')}; hosts pin ${join(dir, 'root.json')}`);
}
