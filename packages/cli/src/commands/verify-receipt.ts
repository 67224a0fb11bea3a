import type { Command } from 'commander';
import { act } from '../action.ts';
import { type VerifyOptions, verifyReceiptFile } from '../artifacts/verify-receipt.ts';

const help = `
Exit codes: 0 valid, 1 not valid or not readable.

Examples:
  $ csc verify-receipt out/receipt.json --public-key build-1.pub --key-id build-1-3f2a9c0d1e4b5a68
  $ csc verify-receipt out/receipt.json --keys keys.json        a key ring: validity and revocation count
  $ csc get EXECUTION --receipt-out receipt.json                fetches one and verifies it
`;

export function defineVerifyReceipt(command: Command): void {
  command
    .description('Verify a receipt’s Ed25519 signature. Receipts of the Python reference runner verify too.')
    .argument('<receipt>', 'signed receipt, JSON; - is standard input')
    .option('--public-key <file>', 'Ed25519 public key: 32 raw bytes, or SPKI PEM')
    .option('--key-id <id>', 'the id that this key signs under')
    .option('--keys <file>', 'a key ring file, instead of the two above')
    .option('--json', 'print the result as JSON')
    .addHelpText('after', help);
  act<[string, VerifyOptions]>(command, (receipt, options) => {
    const one = options.publicKey !== undefined && options.keyId !== undefined;
    if (one === (options.keys !== undefined)) {
      command.error('error: --public-key and --key-id are needed, or --keys instead of both');
    }
    return verifyReceiptFile(receipt, options);
  });
}
