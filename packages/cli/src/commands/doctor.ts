import type { Command } from 'commander';
import { act } from '../action.ts';
import { diagnoseHost } from '../doctor.ts';

const help = `
Every check really tries what it is named after. Exit codes: 0 this host can run contracts in a sandbox, 1 it cannot.

Examples:
  $ csc doctor
  $ sudo csc doctor --run-as csc-job --json
`;

export function defineDoctor(command: Command): void {
  command
    .description(
      'Tell whether this host can run contracts in a sandbox, and what to do about what is missing.',
    )
    .option('--run-as <user>', 'the account that jobs run as, as in an executor’s run_as')
    .option('--json', 'print the checks as JSON')
    .addHelpText('after', help);
  act<[{ runAs?: string; json?: true }]>(command, ({ runAs, json }) => diagnoseHost(runAs, json ?? false));
}
