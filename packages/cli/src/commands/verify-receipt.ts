import { artifactBytes } from '@csc-fleet/common/encoding';
import { CscError, showInvisible } from '@csc-fleet/common/errors';
import { type GenuineReceipt, type ReceiptTexts, verifyReceiptFor } from '@csc-fleet/common/evidence';
import type { Command } from 'commander';
import { act, errorDocument } from '../action/act.ts';
import { exitCodes } from '../action/exit-codes.ts';
import { addTrustOptions, readTrust, requireTrust, type TrustOptions } from '../evidence/trust.ts';
import { readInput } from '../files/read-input.ts';
import { writeJson, writeOut } from '../terminal/streams.ts';
import { createPaint, plainLine } from '../terminal/text.ts';

const help = `
Exit codes: 0 valid, 1 not valid or not readable.

Examples:
  $ csc verify-receipt out/receipt.json --public-key build-1.pub --key-id build-1-3f2a9c0d1e4b5a68
  $ csc verify-receipt out/receipt.json --keys keys.json        a key ring: validity and revocation count
  $ csc verify-receipt out/receipt.json --fleet-ca fleet-ca.pem it brings a certificate of its key
  $ csc get EXECUTION --receipt-out receipt.json                fetches one and verifies it
`;

export function defineVerifyReceipt(command: Command): void {
  command
    .description('Verify a receipt’s Ed25519 signature. Receipts of the Python reference runner verify too.')
    .argument('<receipt>', 'signed receipt, JSON; - is standard input')
    .argument('[original]', 'of a v0.1 receipt: the v0.2 one that it is a projection of');
  addTrustOptions(command).option('--json', 'print the result as JSON').addHelpText('after', help);
  act<[string, string | undefined, VerifyOptions]>(command, (receipt, original, options) => {
    requireTrust(command, options);
    return verifyReceiptFile(receipt, options, original);
  });
}

interface VerifyOptions extends TrustOptions {
  readonly json?: true;
}

/**
 * Prints VALID, or INVALID with the reason. Resolves to 0 or 1; throws only where a file cannot be read.
 * @param original the file of a v0.1 receipt's v0.2 original
 */
async function verifyReceiptFile(path: string, options: VerifyOptions, original?: string): Promise<number> {
  const receiptJson = await readInput(path, artifactBytes.receipt);
  const texts: ReceiptTexts =
    original === undefined
      ? { receiptJson }
      : { receiptJson, originalJson: await readInput(original, artifactBytes.receipt) };
  const ringFor = readTrust(options);
  try {
    const { trustDomain: trustDomains } = options;
    const genuine = verifyReceiptFor({ trustDomains }, texts, ringFor(texts));
    await (options.json === true ? writeJson(toValidJson(genuine)) : writeOut(describeValid(genuine)));
    return exitCodes.ok;
  } catch (error) {
    if (!(error instanceof CscError)) throw error;
    await (options.json === true
      ? writeJson({ valid: false, ...errorDocument(error) })
      : writeOut(describeInvalid(error)));
    return exitCodes.no;
  }
}

function toValidJson({ receipt, owner }: GenuineReceipt): object {
  const { execution_id, contract_id, contract_sha256, status, signature, receipt_version } = receipt;
  const { key_id, signed_at } = signature ?? {};
  return {
    valid: true,
    key_id,
    key_owner: owner ?? null,
    signed_at,
    receipt_version,
    execution_id,
    contract_id,
    contract_sha256,
    status,
  };
}

function describeValid({ receipt, owner }: GenuineReceipt): string {
  const paint = createPaint(process.stdout);
  const { signature, status, contract_id, execution_id } = receipt;
  const lines = [
    `signed by ${signature?.key_id} at ${signature?.signed_at}, ${owner ?? 'WHOSE KEY THAT IS NOTHING HERE SAYS'}`,
    `${status}: contract ${contract_id}, execution ${execution_id}`,
  ];
  const about = lines.map((line) => `  ${plainLine(line)}\n`).join('');
  return `${paint(['green', 'bold'], 'VALID')} — receipt signature verified\n${about}`;
}

function describeInvalid(error: CscError): string {
  const paint = createPaint(process.stdout);
  return `${paint(['red', 'bold'], 'INVALID')} — ${showInvisible(error.message)}\n`;
}
