import type { Command } from 'commander';
import { act } from '../action.ts';
import { addGateOptions, type GateOptions, gateOptionsHelp } from '../connect/gate-options.ts';
import { parseDuration } from '../duration.ts';
import { cancelExecution } from '../executions/cancel.ts';

const help = `${gateOptionsHelp}
The command is sent SIGTERM, and all of it SIGKILL after the grace period. This returns at once; csc get ID --follow
shows the end. Asking again, or after the end, does no harm.

Example:
  $ csc cancel EXECUTION --grace 20s
`;

export function defineCancel(command: Command): void {
  command.description('Ask an execution to end.').argument('<execution>', 'its id');
  addGateOptions(command)
    .option('--grace <time>', 'between SIGTERM and SIGKILL, at most 60s (default: 5s)', parseDuration)
    .option('--json', 'print the execution as JSON')
    .addHelpText('after', help);
  act<[string, GateOptions & { grace?: number; json?: true }]>(command, cancelExecution);
}
