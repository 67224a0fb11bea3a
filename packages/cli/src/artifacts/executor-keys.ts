import { createHash, X509Certificate } from 'node:crypto';
import { join } from 'node:path';
import type { ExecutorKey } from '@csc-fleet/client';
import { createSigner, defaultKeyId, readPrivateKey, toKeyRingJson } from '@csc-fleet/common/crypto';
import { CscError } from '@csc-fleet/common/errors';
import { readBoundedFile } from '@csc-fleet/common/files';
import { exitCodes } from '../exit-codes.ts';
import { writeOut } from '../terminal/streams.ts';
import { writeFileWhole } from '../write-file.ts';

export interface ExecutorKeysOptions {
  /** The executor's config file; else `stateDir` and `id`. */
  readonly config?: string;
  readonly stateDir?: string;
  /** The executor's SPIFFE id. */
  readonly id?: string;
  /** A file to write the key ring to; true: to stdout. */
  readonly export?: string | true;
}

/** Shows the public half of this host's receipt key, or exports it for clients to pin. Starts and makes nothing. */
export async function showExecutorKeys(options: ExecutorKeysOptions): Promise<number> {
  const key = await readExecutorKey(options);
  if (options.export === undefined) await writeOut(describe(key));
  else if (options.export === true) await writeOut(toKeyRingJson([key]));
  else writeFileWhole(options.export, toKeyRingJson([key]));
  return exitCodes.ok;
}

async function readExecutorKey({ config, stateDir, id }: ExecutorKeysOptions): Promise<ExecutorKey> {
  const { parseIdentity } = await import('@csc-fleet/common/rpc');
  const { file, owner } = config === undefined ? await fromOptions(stateDir, id) : await fromConfig(config);
  const identity = parseIdentity(owner);
  if (identity?.role !== 'executor') {
    throw new CscError('CONFIG_INVALID', 'an executor is named as in spiffe://DOMAIN/executor/NAME');
  }
  const { publicKey } = createSigner(readPrivateKey(file), identity.name);
  return { keyId: defaultKeyId(identity.name, publicKey), publicKey, owner };
}

interface KeyPlace {
  readonly file: string;
  readonly owner: string;
}

async function fromConfig(path: string): Promise<KeyPlace> {
  const { readExecutorConfig } = await import('@csc-fleet/executor/config');
  const { identityOfCertificate } = await import('@csc-fleet/common/rpc');
  const config = readExecutorConfig(path);
  const file = config.signingKey ?? (await keyFileIn(config.stateDir));
  const { uri } = identityOfCertificate(readCertificate(config.tls.cert));
  return { file, owner: uri };
}

const maxCertificateBytes = 1024 * 1024;

function readCertificate(path: string): Uint8Array {
  const { bytes } = readBoundedFile(path, { maxBytes: maxCertificateBytes });
  try {
    return new X509Certificate(bytes).raw;
  } catch (cause) {
    throw new CscError('CONFIG_INVALID', `${path} holds no certificate that can be read`, { cause });
  }
}

async function fromOptions(stateDir: string | undefined, id: string | undefined): Promise<KeyPlace> {
  if (stateDir === undefined || id === undefined) {
    throw new CscError('CONFIG_INVALID', 'give --config FILE, or --state-dir DIR and --id SPIFFE-ID');
  }
  return { file: await keyFileIn(stateDir), owner: id };
}

async function keyFileIn(stateDir: string): Promise<string> {
  const { defaultKeyFile } = await import('@csc-fleet/executor/signing-key');
  return join(stateDir, defaultKeyFile);
}

function describe({ keyId, publicKey, owner }: ExecutorKey): string {
  const fingerprint = createHash('sha256').update(publicKey).digest('hex');
  return `executor     ${owner}\nkey id       ${keyId}\nsha256       ${fingerprint}\n`;
}
