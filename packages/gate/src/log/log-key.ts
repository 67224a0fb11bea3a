import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { makeKeyFile, readSigner, type Signer } from '@csc-fleet/common/crypto';
import { CscError, orThrow } from '@csc-fleet/common/errors';
import { makeDirectory, readBoundedFile, replaceFile } from '@csc-fleet/common/files';
import { formatVkey, isKeyName, parseVkey } from '@csc-fleet/common/tlog';
import type { WitnessAddress } from './cosigning.ts';

/** A log's own key, and what the log is called. */
export interface LogKey {
  readonly signer: Signer;
  readonly origin: string;
  /** What owners and clients pin. */
  readonly vkey: string;
  /** Where its tiles are; can be served as it is. */
  readonly directory: string;
}

/**
 * The key of a gate's log, made at its first start, in `log` of the data directory: key and tree belong together. What owners
 * and clients pin is beside it, in `log.vkey`. Throws KEY_INVALID, FILE_UNREADABLE, FILE_UNWRITABLE.
 * @param identity the gate's SPIFFE id, which the log is called by
 */
export function openLogKey(dataDir: string, identity: string): LogKey {
  const directory = join(dataDir, 'log');
  makeDirectory(directory, { mode: 0o700, as: `the log's directory ${directory}` });
  const file = join(directory, 'log.key');
  makeKeyFile(file);
  const origin = identity.replace(/^spiffe:\/\//, '');
  if (!isKeyName(origin)) throw new CscError('CONFIG_INVALID', `${identity} cannot be the name of a log`);
  const signer = readSigner(file, origin);
  const vkey = formatVkey({ name: origin, type: 'ed25519', publicKey: signer.publicKey });
  publish(join(directory, 'log.vkey'), `${vkey}\n`);
  return { signer, origin, vkey, directory: join(directory, 'tree') };
}

// Looked at first: a full disk must not keep a gate out whose file is there.
function publish(file: string, text: string): void {
  if (existsSync(file) && readBoundedFile(file, { maxBytes: 1024 }).bytes.toString() === text) return;
  replaceFile(file, text, 0o644);
}

/** The witnesses that a config names. Throws CONFIG_INVALID. */
export function toWitnesses(
  named: readonly { readonly url: string; readonly vkey: string }[] = [],
): WitnessAddress[] {
  return named.map(({ url, vkey }) => {
    const key = orThrow(parseVkey(vkey), 'CONFIG_INVALID', `witnesses: the vkey of ${url}`);
    if (key.type === 'cosignature') return { url, key };
    throw new CscError('CONFIG_INVALID', `witnesses: the vkey of ${url} is that of a log, and no witness’s`);
  });
}
