import type { Command } from 'commander';
import { act } from '../action.ts';
import { type ExecutorKeysOptions, showExecutorKeys } from '../artifacts/executor-keys.ts';
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

const keysHelp = `
The key of this host that its receipts are signed with: its public half, which is no secret. It is there after the
executor's first start. Clients that pin it believe no other for this host, whatever a gate says.

Examples:
  $ csc executor keys --config /etc/csc/executor.yaml                     its id and fingerprint, to compare by eye
  $ csc executor keys --config /etc/csc/executor.yaml --export host-1.json
  $ csc executor keys --state-dir /var/lib/csc/executor --id spiffe://csc.local/executor/host-1 --export
  $ csc submit contract.json --keys host-1.json --keys host-2.json        on the client
`;

interface Options {
  readonly config?: string;
  readonly checkConfig?: true;
  readonly explain?: string;
  readonly policy?: string;
  readonly json?: true;
}

export function defineExecutor(command: Command): void {
  command
    .description('Run the executor of this host: takes contracts from a gate, runs them, signs receipts.')
    .option('--config <file>', 'its config file, YAML; needed')
    .option('--check-config', 'only say whether the config is good')
    .option('--explain <contract>', 'only say what this host would grant a contract')
    .option('--policy <name>', 'with --explain: under this policy; default: under each that it holds')
    .option('--json', 'with --explain: as JSON')
    .addHelpText('after', help);
  defineKeys(command);
  act<[Options]>(
    command,
    async ({ config, checkConfig = false, explain: contract, policy, json = false }) => {
      if (config === undefined)
        return command.error("error: required option '--config <file>' not specified");
      if (contract !== undefined) {
        const { explain } = await import('../explain/explain.ts');
        return explain({ config, contract, json, ...(policy === undefined ? {} : { policy }) });
      }
      const { runExecutor } = await import('@csc-fleet/executor/main');
      return runService(config, checkConfig, runExecutor);
    },
  );
}

function defineKeys(executor: Command): void {
  const command = executor
    .command('keys')
    .summary('show or export the public key of this host’s receipts')
    .helpOption('-h, --help', 'show help')
    .description('Show the public key of this host’s receipts, or export it for clients to pin.')
    .option('--config <file>', 'the executor’s config file')
    .option('--state-dir <dir>', 'its state directory, where there is no config to read; with --id')
    .option('--id <spiffe-id>', 'with --state-dir: who it is, spiffe://DOMAIN/executor/NAME')
    .option('--export [file]', 'write a key ring for --keys; without a file to stdout')
    .addHelpText('after', keysHelp);
  // Commander gives --config to the command above, which has one, too.
  act<[ExecutorKeysOptions]>(command, (options) => showExecutorKeys({ ...executor.opts(), ...options }));
}
