import type { Command } from 'commander';
import { act } from '../action.ts';
import { addGateOptions, gateOptionsHelp } from '../connect/gate-options.ts';
import { type GetCommandOptions, getExecution } from '../executions/get.ts';

const help = `${gateOptionsHelp}
Examples:
  $ csc get EXECUTION                                state, host, times, decision
  $ csc get EXECUTION --receipt-out receipt.json     the receipt, verified
  $ csc get EXECUTION --output                       what it has written so far
  $ csc get EXECUTION --follow                       its output to the end, as csc submit shows it

Ctrl-C leaves --follow and does not touch the execution; csc cancel EXECUTION ends it.
`;

export function defineGet(command: Command): void {
  command.description('Show an execution, its output or its receipt.').argument('<execution>', 'its id');
  addGateOptions(command)
    .option('--output', 'write its output so far to stdout and stderr')
    .option('--follow', 'show it to its end, from the beginning; ends with its exit code')
    .option('--receipt-out <file>', 'where to write the receipt, once it is verified')
    .option('--quiet', 'with --follow: show its output and nothing else')
    .option('--json', 'print JSON')
    .addHelpText('after', help);
  act<[string, GetCommandOptions]>(command, getExecution);
}
