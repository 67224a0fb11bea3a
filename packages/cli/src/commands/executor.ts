import type { Command } from 'commander';
import { act } from '../action.ts';
import { runService } from '../services.ts';

const help = `
It dials the gate and listens on no port. SIGTERM drains it: what runs may end; a second one ends that too.
csc doctor says whether this host can be one. --explain says what a contract would be given here, and why not; it starts
nothing, and exits with 0 where it could run under a policy, else with 1.

Examples:
  $ csc executor --config executor.yaml --check-config     reads and tries everything, starts nothing
  $ csc executor --config executor.yaml --explain contract.json --policy ci-build
  $ csc executor --config /etc/csc/executor.yaml
`;

interface Options {
  readonly config: string;
  readonly checkConfig?: true;
  readonly explain?: string;
  readonly policy?: string;
  readonly json?: true;
}

export function defineExecutor(command: Command): void {
  command
    .description('Run the executor of this host: takes contracts from a gate, runs them, signs receipts.')
    .requiredOption('--config <file>', 'its config file, YAML')
    .option('--check-config', 'only say whether the config is good')
    .option('--explain <contract>', 'only say what this host would grant a contract')
    .option('--policy <name>', 'with --explain: under this policy; default: under each that it holds')
    .option('--json', 'with --explain: as JSON')
    .addHelpText('after', help);
  act<[Options]>(
    command,
    async ({ config, checkConfig = false, explain: contract, policy, json = false }) => {
      if (contract !== undefined) {
        const { explain } = await import('../explain/explain.ts');
        return explain({ config, contract, json, ...(policy === undefined ? {} : { policy }) });
      }
      const { runExecutor } = await import('@csc-fleet/executor/main');
      return runService(config, checkConfig, runExecutor);
    },
  );
}
