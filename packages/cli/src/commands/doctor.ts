import type { Command } from 'commander';
import { act } from '../action.ts';
import { type DoctorArguments, diagnoseHost } from '../doctor.ts';

const help = `
Every check really tries what it is named after. Exit codes: 0 this host can run contracts in a sandbox, 1 it cannot.

Examples:
  $ csc doctor
  $ sudo csc doctor --run-as csc-job --json
  $ sudo csc doctor --config /etc/csc/executor.yaml
`;

export function defineDoctor(command: Command): void {
  command
    .description(
      'Tell whether this host can run contracts in a sandbox, and what to do about what is missing.',
    )
    .option('--run-as <user>', 'the account that jobs run as, as in an executor’s run_as')
    .option('--config <file>', 'an executor’s config: its run_as, pool included, and its path_roots')
    .option('--json', 'print the checks as JSON')
    .addHelpText('after', help);
  act<[DoctorArguments]>(command, (options) => diagnoseHost(options));
}
