import type { Command } from 'commander';
import { act } from '../action.ts';
import { exitCodes } from '../exit-codes.ts';
import { reportError } from '../report-error.ts';
import { type RunCommandOptions, runFiles } from '../run/run.ts';

const help = `
The command's stdout and stderr come out as they are; what csc says itself is on stderr. A denied contract writes a
receipt too, with the status blocked. Which approvals are used up is remembered in the state directory.
Exit codes: 0 it worked, 1 denied or failed (the receipt says how), 2 an approval is needed.

Examples:
  $ csc run contract.json policy.yaml
  $ csc keygen build-1
  $ csc run contract.json policy.yaml --mode hardened --sign --signing-key build-1.key --key-id build-1
  $ csc verify-receipt out/receipt.json --public-key build-1.pub --key-id build-1
  $ csc run contract.json policy.yaml --mode hardened --sign … --sandbox-debug      what bwrap would be told
`;

const append = (value: string, list: readonly string[]): readonly string[] => [...list, value];

type Options = Omit<RunCommandOptions, 'receiptVersion'> & { readonly receiptVersion: 'v0.1' | 'v0.2' };

export function defineRun(command: Command): void {
  const mode = command.createOption('--mode <mode>', 'hardened runs it in a sandbox, and needs --sign');
  const version = command.createOption('--receipt-version <version>', 'v0.2 says more of what ran');
  command
    .description('Decide on a contract, run it on this machine if it is allowed, and write a receipt.')
    .argument('<contract>', 'contract, JSON; - is standard input')
    .argument('<policy>', 'policy profile, YAML')
    .option('--receipt-out <file>', 'where to write the receipt', './out/receipt.json')
    .addOption(mode.choices(['local', 'hardened']).default('local'))
    .option('--approval <file>', 'an approval to hand in; repeatable', append, [])
    .option('--sign', 'sign the receipt; needs --signing-key and --key-id')
    .option('--signing-key <file>', 'Ed25519 private key: 32-byte seed, 64 bytes, or PKCS#8 PEM')
    .option('--key-id <id>', 'the id that this key signs under')
    .option('--allow-inline-code', 'hardened mode: let argv carry code (sh -c …), if the policy does')
    .option('--accept-rlimits-only', 'hardened mode: run where no cgroup can be had; the receipt says so')
    .option('--sandbox-debug', 'print what bwrap would be told and run nothing')
    .addOption(version.choices(['v0.1', 'v0.2']).default('v0.1'))
    .option('--state-dir <dir>', 'what must be remembered (default: $XDG_STATE_HOME/csc)')
    .option('--quiet', 'show the command’s output and nothing else')
    .option('--json', 'JSON lines: events, output, then the result')
    .addHelpText('after', help);
  act<[string, string, Options]>(command, async (contract, policy, options) => {
    try {
      return await runFiles(contract, policy, {
        ...options,
        receiptVersion: `csc.receipt.${options.receiptVersion}`,
      });
    } catch (error) {
      await reportError(error, options.json ?? false);
      return exitCodes.no;
    }
  });
}
