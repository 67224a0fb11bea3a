import type { Command } from 'commander';
import { act } from '../action.ts';
import { type KeygenOptions, makeKeyPair } from '../artifacts/keygen.ts';

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
