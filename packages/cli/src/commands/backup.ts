import { CscError } from '@csc-fleet/common/errors';
import type { Command } from 'commander';
import { act } from '../action/act.ts';
import { exitCodes } from '../action/exit-codes.ts';
import { note, writeOut } from '../terminal/streams.ts';

const backupHelp = `
Also while it runs. In it are the database, keys that were made in its directory, the policy repository as it was verified and, of
an executor, its archive of receipts; output is not. It is as secret as the directory itself.

Examples:
  $ csc backup gate --config /etc/csc/gate.yaml --to /var/backups/csc/gate-2026-11-27
  $ csc backup executor --config /etc/csc/executor.yaml --to /var/backups/csc/host-1-2026-11-27
`;

const restoreHelp = `
Of one that is not running, as the user whom its directory belongs to. What is there of the database goes into replaced-… beside
it, to be deleted once what was restored runs as it should. What happened since the backup is forgotten: an executor begins a new epoch and refuses what was submitted before; at a gate,
what waited or was offered then is LOST, as it may have run since.

Examples:
  $ csc restore gate --config /etc/csc/gate.yaml --from /var/backups/csc/gate-2026-11-27
  $ csc restore executor --config /etc/csc/executor.yaml --from /var/backups/csc/host-1-2026-11-27
`;

/** Which directory is meant. */
interface Place {
  readonly config?: string;
  readonly dir?: string;
}

export function defineBackup(command: Command): void {
  command.description('Copy what a gate or an executor must not lose.').addHelpText('after', backupHelp);
  act<[Place & { to: string }]>(to(command, 'gate'), async ({ to, ...place }) => {
    const { backUpGate } = await import('@csc-fleet/gate/backup');
    await backUpGate(await dataDirOf(place), to);
    return done(to);
  });
  act<[Place & { to: string }]>(to(command, 'executor'), async ({ to, ...place }) => {
    const { backUpExecutor } = await import('@csc-fleet/executor/backup');
    await backUpExecutor(await stateDirOf(place), to);
    return done(to);
  });
}

export function defineRestore(command: Command): void {
  command.description('Put a backup in the place of what was lost.').addHelpText('after', restoreHelp);
  act<[Place & { from: string }]>(from(command, 'gate'), async ({ from, ...place }) => {
    const { restoreGate } = await import('@csc-fleet/gate/backup');
    tellReplaced(await restoreGate(await dataDirOf(place), from), 'gate');
    note('csc: restored; what waited or was offered when the backup was made is LOST at the next start');
    return exitCodes.ok;
  });
  act<[Place & { from: string }]>(from(command, 'executor'), async ({ from, ...place }) => {
    const { restoreExecutor } = await import('@csc-fleet/executor/backup');
    const { after, bornAt, replaced } = await restoreExecutor(await stateDirOf(place), from);
    tellReplaced(replaced, 'executor');
    await writeOut(
      `restored; epoch ${after} begins, and what was submitted before ${bornAt.toISOString()} is refused\n`,
    );
    return exitCodes.ok;
  });
}

function tellReplaced(directory: string | undefined, what: 'gate' | 'executor'): void {
  if (directory === undefined) return;
  note(
    `csc: the database that was there is in ${directory}: delete it once the ${what} has started and has what you expect`,
  );
}

function to(command: Command, what: 'gate' | 'executor'): Command {
  return placed(command, what, 'back up').requiredOption('--to <dir>', 'a directory that is not there yet');
}

function from(command: Command, what: 'gate' | 'executor'): Command {
  return placed(command, what, 'restore').requiredOption('--from <dir>', 'what csc backup has made');
}

function placed(command: Command, what: 'gate' | 'executor', verb: string): Command {
  const directory = what === 'gate' ? 'data_dir' : 'state_dir';
  return command
    .command(what)
    .summary(`${verb} the ${directory} of this ${what}`)
    .helpOption('-h, --help', 'show help')
    .option('--config <file>', 'its config file')
    .option('--dir <dir>', `its ${directory}, where there is no config to read`);
}

async function done(directory: string): Promise<number> {
  await writeOut(`backed up into ${directory}\n`);
  return exitCodes.ok;
}

async function dataDirOf({ config, dir }: Place): Promise<string> {
  if (dir !== undefined) return dir;
  const { readGateConfig } = await import('@csc-fleet/gate/config');
  return readGateConfig(needed(config)).dataDir;
}

async function stateDirOf({ config, dir }: Place): Promise<string> {
  if (dir !== undefined) return dir;
  const { readExecutorConfig } = await import('@csc-fleet/executor/config');
  return readExecutorConfig(needed(config)).stateDir;
}

function needed(config: string | undefined): string {
  if (config !== undefined) return config;
  throw new CscError('CONFIG_INVALID', 'give --config FILE or --dir DIR');
}
