import type { Command } from 'commander';
import { act } from '../action.ts';
import { runService } from '../services.ts';

const help = `
It dials the gate and listens on no port. SIGTERM drains it: what runs may end; a second one ends that too.
csc doctor says whether this host can be one.

Examples:
  $ csc executor --config executor.yaml --check-config     reads and tries everything, starts nothing
  $ csc executor --config /etc/csc/executor.yaml
`;

export function defineExecutor(command: Command): void {
  command
    .description('Run the executor of this host: takes contracts from a gate, runs them, signs receipts.')
    .requiredOption('--config <file>', 'its config file, YAML')
    .option('--check-config', 'only say whether the config is good')
    .addHelpText('after', help);
  act<[{ config: string; checkConfig?: true }]>(command, async ({ config, checkConfig = false }) => {
    const { runExecutor } = await import('@csc-fleet/executor/main');
    return runService(config, checkConfig, runExecutor);
  });
}
