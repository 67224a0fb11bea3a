import { type Command, InvalidArgumentError } from 'commander';
import { act } from '../action.ts';
import { addGateOptions, gateOptionsHelp } from '../connect/gate-options.ts';
import { parseDuration } from '../duration.ts';
import { type SubmitCommandOptions, submitContract } from '../submit/submit.ts';

const help = `${gateOptionsHelp}
The command's stdout and stderr come out as they are; what csc says itself is on stderr. Ctrl-C asks the gate to end
the run and waits for that; once more leaves it running. A gate that goes away is waited for, and nothing is shown
twice. Ends with the command's own exit code; denied 1, an approval needed 2 (csc help exit-codes).

Examples:
  $ csc submit contract.json --gate gate.example:7443 --pki pki --as alice
  $ csc submit build.json --label arch=arm64 --receipt-out receipt.json > build.log
  $ csc submit deploy.json --approval approval.json
  $ csc submit long.json --detach                    prints the execution's id; csc get ID --follow
  $ jq -c . contract.json | csc submit - --json | jq -r 'select(.type == "result").receipt.status'
`;

const append = (value: string, list: readonly string[]): readonly string[] => [...list, value];

function addLabel(text: string, labels: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
  const at = text.indexOf('=');
  if (at < 1) throw new InvalidArgumentError('Say it as KEY=VALUE.');
  return { ...labels, [text.slice(0, at)]: text.slice(at + 1) };
}

export function defineSubmit(command: Command): void {
  const version = command.createOption('--receipt-version <version>', 'v0.1 is what the reference writes');
  command
    .description('Run a contract through a gate: decided by policy, run by an executor, shown as it goes.')
    .argument('<contract>', 'contract, JSON; - is standard input');
  addGateOptions(command)
    .option('--approval <file>', 'an approval to hand in; repeatable', append, [])
    .option('--label <key=value>', 'the executor must have this label; repeatable', addLabel, {})
    .option('--profile <name>', 'which of the policy profiles bound to you decides')
    .option('--receipt-out <file>', 'where to write the receipt, once it is verified')
    .addOption(version.choices(['v0.1', 'v0.2']).default('v0.2'))
    .option('--idempotency-key <key>', 'the same key and contract give the same execution again')
    .option('--timeout-queue <time>', 'how long to wait for an executor: 30s, 5m', parseDuration)
    .option('--detach', 'print the execution’s id and leave')
    .option('--quiet', 'show the command’s output and nothing else')
    .option('--json', 'JSON lines: events, output, then the result')
    .addHelpText('after', help);
  type Options = Omit<SubmitCommandOptions, 'receiptVersion'> & { receiptVersion: 'v0.1' | 'v0.2' };
  act<[string, Options]>(command, (file, options) =>
    submitContract(file, { ...options, receiptVersion: `csc.receipt.${options.receiptVersion}` }),
  );
}
