import type { Command } from 'commander';
import { act } from '../action.ts';
import { type DemoOptions, playDemo } from '../demo/demo.ts';

const help = `
It takes some seconds, needs no configuration, and leaves nothing behind: its files are in a temporary directory, its
gate and executor end with it. Exit codes: 0 everything went as it should, 1 something did not.

Examples:
  $ csc demo
  $ csc demo --local          on a machine without a sandbox, such as a Mac
`;

export function defineDemo(command: Command): void {
  command
    .description(
      'Show the main job end to end, with a real gate, executor and sandbox, and check every step.',
    )
    .option('--local', 'without a sandbox')
    .option('--json', 'print one JSON document a step')
    .addHelpText('after', help);
  act<[DemoOptions]>(command, playDemo);
}
