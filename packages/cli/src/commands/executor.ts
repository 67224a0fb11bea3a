import { createHash } from 'node:crypto';
import { join } from 'node:path';
import type { ExecutorKey } from '@csc-fleet/client';
import { createSigner, defaultKeyId, readPrivateKey, toKeyRingJson } from '@csc-fleet/common/crypto';
import { CscError } from '@csc-fleet/common/errors';
import type { EgressHost } from '@csc-fleet/common/schema';
import type { CommandExplanation, Explanation } from '@csc-fleet/executor/explain';
import type { Command } from 'commander';
import { act } from '../action/act.ts';
import { exitCodes } from '../action/exit-codes.ts';
import { runService } from '../action/service.ts';
import { addJoinOptions, type JoinFlags, runJoin } from '../ca/join-command.ts';
import { writeFileWhole } from '../files/write-file.ts';
import { writeJson, writeOut } from '../terminal/streams.ts';
import { createPaint, type Paint, plainLine } from '../terminal/text.ts';
import { defineExecutorReceipts, stateDirOf } from './receipts.ts';

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
  defineNewEpoch(command);
  defineExecutorReceipts(command);
  defineJoin(command);
  act<[Options]>(
    command,
    async ({ config, checkConfig = false, explain: contract, policy, json = false }) => {
      if (config === undefined)
        return command.error("error: required option '--config <file>' not specified");
      if (contract !== undefined) {
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

const newEpochHelp = `
After its state directory was restored from a copy, and before the first start from it: what this host has run since the copy
was made, it has forgotten. In a new epoch every ticket and every submission from before is refused, so that nothing runs twice,
and its chain of receipts begins anew at 1; the receipts that it keeps stay. A state directory without journal.sqlite needs none
of this: a new journal is a new epoch. Run it as the user whom the directory belongs to; a running executor is refused.

Examples:
  $ csc executor new-epoch --config /etc/csc/executor.yaml
  $ csc executor new-epoch --state-dir /var/lib/csc-executor
`;

function defineNewEpoch(executor: Command): void {
  const command = executor
    .command('new-epoch')
    .summary('begin anew where the state directory was restored from a copy')
    .helpOption('-h, --help', 'show help')
    .description('Begin a new epoch of this host, whose state directory was restored from a copy.')
    .option('--config <file>', 'the executor’s config file')
    .option('--state-dir <dir>', 'its state directory, where there is no config to read')
    .addHelpText('after', newEpochHelp);
  act<[StateOptions]>(command, (options) => beginEpoch({ ...executor.opts<StateOptions>(), ...options }));
}

/** Which state directory is meant. */
interface StateOptions {
  readonly config?: string;
  readonly stateDir?: string;
}

async function beginEpoch(options: StateOptions): Promise<number> {
  const { beginNewEpoch } = await import('@csc-fleet/executor/new-epoch');
  const stateDir = await stateDirOf(options);
  const { before, after, bornAt } = await beginNewEpoch(stateDir);
  await writeOut(
    `epoch ${after} begins, and ${before} is over: nothing of it is taken any more\n` +
      `what was submitted before ${bornAt.toISOString()} is refused: if that is not the time now, set the clock, and do this again\n`,
  );
  return exitCodes.ok;
}

export interface ExecutorKeysOptions {
  /** The executor's config file; else `stateDir` and `id`. */
  readonly config?: string;
  readonly stateDir?: string;
  /** The executor's SPIFFE id. */
  readonly id?: string;
  /** A file to write the key ring to; true: to stdout. */
  readonly export?: string | true;
}

/** Shows the public half of this host's receipt key, or exports it for clients to pin. Starts and makes nothing. */
async function showExecutorKeys(options: ExecutorKeysOptions): Promise<number> {
  const key = await readExecutorKey(options);
  if (options.export === undefined) await writeOut(describeKey(key));
  else if (options.export === true) await writeOut(toKeyRingJson([key]));
  else writeFileWhole(options.export, toKeyRingJson([key]));
  return exitCodes.ok;
}

async function readExecutorKey({ config, stateDir, id }: ExecutorKeysOptions): Promise<ExecutorKey> {
  const { parseIdentity } = await import('@csc-fleet/common/rpc');
  const { file, owner } = config === undefined ? await fromOptions(stateDir, id) : await fromConfig(config);
  const identity = parseIdentity(owner);
  if (identity?.role !== 'executor') {
    throw new CscError('CONFIG_INVALID', 'an executor is named as in spiffe://DOMAIN/executor/NAME');
  }
  const { publicKey } = createSigner(readPrivateKey(file), identity.name);
  return { keyId: defaultKeyId(identity.name, publicKey), publicKey, owner };
}

const joinHelp = `
Makes the keys of this host, which never leave it, has the fleet's CA certify them, and writes executor.yaml. The token says
which CA that is, as whom it joins and with which labels; it comes from csc ca token, and is used up.

Examples:
  $ csc executor join --ca ca.example.org:7444 --token csc-join-1.… --start
  $ csc executor join --ca ca.example.org:7444 --token-file token --dir /etc/csc --state-dir /var/lib/csc-executor
  $ csc executor join --ca ca.example.org:7444 --token-file token --dir /etc/csc --again      its certificate had ended
`;

function defineJoin(executor: Command): void {
  const command = addJoinOptions(executor.command('join'), 'executor')
    .summary('make this host one of a fleet: keys, certificates and config')
    .description('Join a fleet by its CA, with a join token.')
    .addHelpText('after', joinHelp);
  act<[JoinFlags]>(command, (flags) => runJoin('executor', { ...executor.opts(), ...flags }));
}

interface KeyPlace {
  readonly file: string;
  readonly owner: string;
}

async function fromConfig(path: string): Promise<KeyPlace> {
  const { readExecutorConfig } = await import('@csc-fleet/executor/config');
  const { readOwnIdentity } = await import('@csc-fleet/common/rpc');
  const config = readExecutorConfig(path);
  const file = config.signingKey ?? (await keyFileIn(config.stateDir));
  const { uri } = readOwnIdentity(config.tls.cert, 'executor');
  return { file, owner: uri };
}

async function fromOptions(stateDir: string | undefined, id: string | undefined): Promise<KeyPlace> {
  if (stateDir === undefined || id === undefined) {
    throw new CscError('CONFIG_INVALID', 'give --config FILE, or --state-dir DIR and --id SPIFFE-ID');
  }
  return { file: await keyFileIn(stateDir), owner: id };
}

async function keyFileIn(stateDir: string): Promise<string> {
  const { defaultKeyFile } = await import('@csc-fleet/executor/signing-key');
  return join(stateDir, defaultKeyFile);
}

function describeKey({ keyId, publicKey, owner }: ExecutorKey): string {
  const fingerprint = createHash('sha256').update(publicKey).digest('hex');
  return `executor     ${owner}\nkey id       ${keyId}\nsha256       ${fingerprint}\n`;
}

interface ExplainOptions {
  readonly config: string;
  readonly contract: string;
  /** Absent: under each policy that the executor holds. */
  readonly policy?: string;
  readonly json: boolean;
}

/** Prints what an executor with this config would grant a contract. Resolves to 0 where it could run, else to 1. */
async function explain({ config, contract, policy, json }: ExplainOptions): Promise<number> {
  const { explainContract } = await import('@csc-fleet/executor/explain');
  const explanations = await explainContract(config, contract, policy);
  const paint = createPaint(process.stdout);
  await (json
    ? writeJson({ explanations })
    : writeOut(`${explanations.map((each) => describeExplanation(each, paint)).join('\n\n')}\n`));
  return explanations.some(({ granted }) => granted) ? exitCodes.ok : exitCodes.no;
}

function describeExplanation(
  { policy, verdict, reasons, ceiling, commands, revoked, granted }: Explanation,
  paint: Paint,
): string {
  const title = granted ? paint(['green', 'bold'], 'GRANTED') : paint(['red', 'bold'], 'NOT GRANTED');
  const approval = granted && verdict === 'needs_approval' ? ', once it is approved' : '';
  return [
    `${title} under policy ${policy}${approval}`,
    ...(revoked === undefined ? [] : [`  ${plainLine(revoked)}`]),
    ...reasons.map((reason) => `  policy: ${plainLine(reason)}`),
    ...ceiling.map(({ path, message }) => `  ceiling: ${plainLine(`${path} ${message}`)}`),
    ...commands.flatMap(describeCommand),
  ].join('\n');
}

function describeCommand(command: CommandExplanation): string[] {
  const { id, refused, reads, writes, environment, setByPolicy, secrets, network, egress, sandbox, notes } =
    command;
  if (refused !== undefined) return [`  ${id}: cannot run: ${plainLine(refused)}`];
  const limits = sandbox?.limits.map(({ name, value, mechanism }) => `${name} ${value} (${mechanism})`);
  return [
    `  ${id}:`,
    ...describeList('reads', reads),
    ...describeList('writes', writes),
    ...describeList('variables', environment),
    ...describeList('set by the policy', setByPolicy),
    ...describeList('secrets', secrets),
    `    network: ${network}`,
    ...(egress ?? []).map(
      (hosts) => `    may reach, of this list: ${hosts.map(describeHost).join(', ') || 'nothing'}`,
    ),
    ...describeList('limits', limits),
    `    sandbox: ${sandbox?.mechanism}, seccomp ${sandbox?.seccomp_sha256 ?? 'none'}, profile ${command.sandboxProfileId ?? 'none'}`,
    ...describeList('notes', notes),
  ];
}

function describeHost(host: EgressHost): string {
  return plainLine(typeof host === 'string' ? host : `${host.host} (ech: ${host.ech})`);
}

function describeList(title: string, items: readonly string[] | undefined): string[] {
  if (items === undefined || items.length === 0) return [];
  return [`    ${title}: ${items.map(plainLine).join(', ')}`];
}
