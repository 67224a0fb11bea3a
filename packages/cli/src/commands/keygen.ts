import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { defaultKeyId, generateKeyPair, type KeyPair } from '@csc-fleet/common/crypto';
import { CscError, withoutSecrets } from '@csc-fleet/common/errors';
import { explainFileError, makeDirectory } from '@csc-fleet/common/files';
import type { Command } from 'commander';
import { act } from '../action/act.ts';
import { exitCodes } from '../action/exit-codes.ts';
import { writeJson, writeOut } from '../terminal/streams.ts';

const help = `
Examples:
  $ csc keygen build-1                       build-1.key (private) and build-1.pub in this folder
  $ csc keygen approver --dir ~/.csc --format raw
  $ csc run c.json p.yaml --mode hardened --sign --signing-key build-1.key --key-id ID

The key id is NAME and the beginning of the public key's hash, so that two keys of one name are told apart.
The Python reference runner reads public keys as 32 raw bytes: --format raw.
`;

export function defineKeygen(command: Command): void {
  command
    .description('Make an Ed25519 key pair for signing receipts, tickets or approvals.')
    .argument('<name>', 'whose key it is: letters, digits, ., _ and -')
    .option('--dir <folder>', 'where the files go', '.')
    .addOption(
      command
        .createOption('--format <format>', 'PEM files, or raw bytes')
        .choices(['pem', 'raw'])
        .default('pem'),
    )
    .option('--json', 'print what was made as JSON')
    .addHelpText('after', help);
  act<[string, KeygenOptions]>(command, makeKeyPair);
}

interface KeygenOptions {
  readonly dir: string;
  readonly format: 'pem' | 'raw';
  readonly json?: true;
}

const namePattern = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;

/** Makes NAME.key, readable by its owner alone, and NAME.pub. Never overwrites a file: throws FILE_UNWRITABLE. */
async function makeKeyPair(name: string, options: KeygenOptions): Promise<number> {
  if (!namePattern.test(name)) {
    throw new CscError('CONFIG_INVALID', 'a key’s name is 1 to 64 letters, digits, ., _ or -');
  }
  if (withoutSecrets(name) !== name) {
    throw new CscError(
      'CONFIG_INVALID',
      'the name looks like a key itself, and is shown to everybody: take another',
    );
  }
  const pair = generateKeyPair();
  const privateKeyFile = join(options.dir, `${name}.key`);
  const publicKeyFile = join(options.dir, `${name}.pub`);
  makeDirectory(options.dir);
  const { secret, open } = encode(pair, options.format);
  writeNew(privateKeyFile, secret, 0o600);
  writeNew(publicKeyFile, open, 0o644);
  const keyId = defaultKeyId(name, pair.publicKey);
  await report({ keyId, pair, privateKeyFile, publicKeyFile, json: options.json ?? false });
  return exitCodes.ok;
}

function encode(
  pair: KeyPair,
  format: 'pem' | 'raw',
): { secret: string | Uint8Array; open: string | Uint8Array } {
  return format === 'pem'
    ? { secret: pair.privatePem, open: pair.publicPem }
    : { secret: pair.seed, open: pair.publicKey };
}

function writeNew(path: string, data: string | Uint8Array, mode: number): void {
  try {
    writeFileSync(path, data, { flag: 'wx', mode });
  } catch (cause) {
    const exists = cause instanceof Error && 'code' in cause && cause.code === 'EEXIST';
    const why = exists ? 'it is there already; keys are never overwritten' : explainFileError(cause);
    throw new CscError('FILE_UNWRITABLE', `failed to write ${path}: ${why}`, { cause });
  }
}

interface Made {
  readonly keyId: string;
  readonly pair: KeyPair;
  readonly privateKeyFile: string;
  readonly publicKeyFile: string;
  readonly json: boolean;
}

async function report({ keyId, pair, privateKeyFile, publicKeyFile, json }: Made): Promise<void> {
  const [privateFile, publicFile] = [withoutSecrets(privateKeyFile), withoutSecrets(publicKeyFile)];
  const publicKey = Buffer.from(pair.publicKey).toString('base64');
  if (json) {
    return writeJson({
      key_id: keyId,
      public_key: publicKey,
      private_key_file: privateFile,
      public_key_file: publicFile,
    });
  }
  await writeOut(`key id       ${keyId}\nprivate key  ${privateFile}\npublic key   ${publicFile}\n`);
}
