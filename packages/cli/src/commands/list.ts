import { type Command, InvalidArgumentError } from 'commander';
import { act } from '../action.ts';
import { addGateOptions, gateOptionsHelp } from '../connect/gate-options.ts';
import { type ListCommandOptions, listExecutions, stateNames } from '../executions/list.ts';

const help = `${gateOptionsHelp}
States: ${stateNames.join(', ')}. This is what the gate says; csc get EXECUTION verifies the receipt of one.

Examples:
  $ csc list --state running --state queued
  $ csc list --limit 1000 --json | jq -r 'select(.exit_code != 0).execution_id'
`;

function addState(name: string, list: readonly string[]): readonly string[] {
  if (!stateNames.includes(name)) throw new InvalidArgumentError(`There are: ${stateNames.join(', ')}.`);
  return [...list, name];
}

function parseLimit(text: string): number {
  if (!/^[1-9]\d{0,8}$/.test(text)) throw new InvalidArgumentError('Give a whole number from 1.');
  return Number(text);
}

export function defineList(command: Command): void {
  command.description('List your executions, newest first.');
  addGateOptions(command)
    .option('--state <state>', 'only those in this state; repeatable', addState, [])
    .option('--limit <count>', 'how many at most', parseLimit, 50)
    .option('--json', 'JSON lines, one execution each')
    .addHelpText('after', help);
  act<[ListCommandOptions]>(command, listExecutions);
}
