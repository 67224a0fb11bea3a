import type { Command } from 'commander';
import { act } from '../action/act.ts';
import { runService } from '../action/service.ts';

const help = `
Examples:
  $ csc gate --config gate.yaml --check-config     reads and tries everything, starts nothing
  $ csc gate --config /etc/csc/gate.yaml
`;

export function defineGate(command: Command): void {
  command
    .description('Run the gate: decides by policy, queues, hands contracts to executors, keeps receipts.')
    .requiredOption('--config <file>', 'its config file, YAML')
    .option('--check-config', 'only say whether the config is good')
    .addHelpText('after', help);
  act<[{ config: string; checkConfig?: true }]>(command, async ({ config, checkConfig = false }) => {
    const { runGate } = await import('@csc-fleet/gate/main');
    return runService(config, checkConfig, runGate);
  });
}
