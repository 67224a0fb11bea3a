import type { Command } from 'commander';
import { act } from '../action/act.ts';
import { runService } from '../action/service.ts';
import { addJoinOptions, type JoinFlags, runJoin } from '../ca/join-command.ts';

const help = `
Examples:
  $ csc gate --config gate.yaml --check-config     reads and tries everything, starts nothing
  $ csc gate --config /etc/csc/gate.yaml
`;

export function defineGate(command: Command): void {
  command
    .description('Run the gate: decides by policy, queues, hands contracts to executors, keeps receipts.')
    .option('--config <file>', 'its config file, YAML; needed')
    .option('--check-config', 'only say whether the config is good')
    .addHelpText('after', help);
  const joining = addJoinOptions(command.command('join'), 'gate')
    .summary('make this machine the gate of a fleet: key, certificate and config')
    .description('Join a fleet by its CA as a gate, with a join token.');
  act<[JoinFlags]>(joining, (flags) => runJoin('gate', flags));
  act<[{ config?: string; checkConfig?: true }]>(command, async ({ config, checkConfig = false }) => {
    if (config === undefined) return command.error("error: required option '--config <file>' not specified");
    const { runGate } = await import('@csc-fleet/gate/main');
    return runService(config, checkConfig, runGate);
  });
}
