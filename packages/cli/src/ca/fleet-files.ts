import { parseKeyRing } from '@csc-fleet/common/crypto';
import { CscError } from '@csc-fleet/common/errors';
import { readBoundedFile } from '@csc-fleet/common/files';
import { checkRoot } from '@csc-fleet/common/policy-repository';

const maxBytes = 512 * 1024;

/** A gate's gate-keys.json, for hosts to pin. Throws FILE_UNREADABLE, CONFIG_INVALID where it is none. */
export function readGateKeys(path: string): Buffer {
  const { bytes } = readBoundedFile(path, { maxBytes });
  if (parseKeyRing(bytes).ok) return bytes;
  throw new CscError('CONFIG_INVALID', `${path} is no gate-keys.json: a gate makes it in its data_dir`);
}

/** The owners' root.json, for hosts to pin. Throws FILE_UNREADABLE, and what checkRoot does where it is none. */
export function readRoot(path: string): Buffer {
  const { bytes } = readBoundedFile(path, { maxBytes });
  checkRoot(bytes, path);
  return bytes;
}
