import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { CscError } from '@csc-fleet/common/errors';
import { checkWritableDirectory } from '@csc-fleet/common/files';
import type { Role } from '@csc-fleet/common/rpc';
import { installLastHandler } from '@csc-fleet/common/service';
import type { Command } from 'commander';
import { act } from '../action/act.ts';
import { exitCodes } from '../action/exit-codes.ts';
import { append, parseDuration } from '../action/options.ts';
import { runService } from '../action/service.ts';
import type { CaConfig } from '../ca/config.ts';
import { addJoinOptions, type JoinFlags, runJoin } from '../ca/join-command.ts';
import type { FleetWish } from '../ca/manage.ts';
import type { RenewFlags } from '../ca/renew-command.ts';
import type { Member } from '../ca/store.ts';
import { note, writeErr, writeJson, writeOut } from '../terminal/streams.ts';
import { formatTime, toTable } from '../terminal/table.ts';
import { plainLine } from '../terminal/text.ts';

const help = `
The fleet's own CA: it certifies gates, executors (TLS and receipts) and clients for a day at a time, and whoever runs with
such a certificate renews it. It runs apart from the gate, which gains nothing from it. docs/ca.md says all of it.

Example:
  $ csc ca init ca --trust-domain example.org --host ca.example.org --permit example.org
  $ csc ca serve --dir ca                                                  on a machine that is not the gate
  $ csc ca fleet --dir ca --gate gate.example.org:7443 --gate-keys gate-keys.json --policy-root root.json        once
  $ csc ca token --dir ca --role executor --name build-2 --labels os=linux,pool=ci
  $ csc executor join --ca ca.example.org:7444 --token csc-join-1.… --start          on the new host
`;

const initHelp = `
DIR then has root.key and root.pem, issuing.key and issuing.pem, and ca.yaml. Only names below --permit and --host can ever be
certified below that root, and SPIFFE ids of the trust domain. Take root.key away: it is needed for another issuing CA alone.
`;

const tokenHelp = `
A token lets one host in, once, as what it says. It is printed on stdout, and kept as a hash alone.

Examples:
  $ csc ca token --role executor --name build-2 --labels os=linux,pool=ci --ttl 10m
  $ csc ca token --role gate --name gate --host gate.example.org
  $ csc ca token --role client --name alice
`;

const fleetHelp = `
The files are copied into the folder of the CA, and named in its ca.yaml; a CA that runs gives them to whoever joins from then
on. Do it again where the gate has another key, or the owners another root. Compare the root's hash with what they have.
`;

const revokeHelp = `
The CA renews nothing of it from then on. Hosts refuse it at once where the owners publish what is printed:

  $ csc ca revoke executor build-2 --reason 'taken over'     prints what revoked.yaml has to have, and on stderr
  $ csc admin revoke host build-2 …                          what writes it there
`;

export function defineCa(command: Command): void {
  command.description('Run the fleet’s CA, and let hosts, gates and clients in.').addHelpText('after', help);
  const init = command
    .command('init')
    .summary('make the root, an issuing CA and a config')
    .description('Make the folder of a CA. Run again, it adds what is missing and overwrites nothing.')
    .argument('<dir>', 'where the files go')
    .option('--trust-domain <domain>', 'of the identities spiffe://DOMAIN/ROLE/NAME', 'csc.local')
    .requiredOption('--host <name>', 'DNS name or address that the CA is dialled by; repeatable', append, [])
    .option(
      '--permit <name>',
      'DNS name, with all below it, or address that may be certified; repeatable',
      append,
      [],
    )
    .option('--listen <host:port>', 'where it listens', '0.0.0.0:7444')
    .option('--life <time>', 'how long certificates count (20s to 168h; default: 24h)', parseDuration)
    .option('--passphrase-file <file>', 'protects the keys with what is in it')
    .option('--json', 'print what was made as JSON')
    .addHelpText('after', initHelp);
  act<[string, InitOptions]>(init, makeCa);
  const serve = addDir(command.command('serve'))
    .summary('run the CA')
    .description('Run the CA until SIGTERM or SIGINT.')
    .option('--check-config', 'only say whether its config and keys are good');
  act<[{ dir: string; checkConfig?: true }]>(serve, async ({ dir, checkConfig = false }) =>
    runService(configIn(dir), checkConfig, serveCa),
  );
  const token = addDir(command.command('token'))
    .summary('let one host, gate or client in')
    .description('Make a join token: for one use, one name and a short time.')
    .addOption(
      command
        .createOption('--role <role>', 'what it joins as')
        .choices(['executor', 'gate', 'client'])
        .makeOptionMandatory(),
    )
    .requiredOption('--name <name>', 'letters, digits, ., _ and -')
    .option('--labels <labels>', 'of an executor: os=linux,pool=ci')
    .option('--host <name>', 'of a gate: DNS name or address that it is dialled by; repeatable', append, [])
    .option('--ttl <time>', 'how long it can be used (10s to 24h; default: 10m)', parseDuration)
    .option('--again', 'it may take the place of one of this name, whose certificates are renewed no more')
    .option('--json', 'print it as JSON')
    .addHelpText('after', tokenHelp);
  act<[TokenOptions]>(token, giveToken);
  const fleet = addDir(command.command('fleet'))
    .summary('leave with the CA what hosts pin: once, before the first host joins')
    .description('Have the CA give those who join the gate’s address and keys and the owners’ root.')
    .requiredOption('--gate <host:port>', 'where hosts reach the gate')
    .requiredOption('--gate-keys <file>', 'a copy of gate-keys.json in the data_dir of the gate')
    .requiredOption('--policy-root <file>', 'a copy of root.json in the owners’ policy repository')
    .addHelpText('after', fleetHelp);
  act<[FleetWish & { dir: string }]>(fleet, leaveFleet);
  const list = addDir(command.command('list'))
    .summary('show who has joined, and which tokens are open')
    .description('Show who has joined, until when its certificates count, and which tokens are open.')
    .option('--json', 'as JSON');
  act<[{ dir: string; json?: true }]>(list, showMembers);
  const revoke = addDir(command.command('revoke'))
    .summary('have somebody’s certificates renewed no more')
    .description('Revoke who has joined, and print what the owners’ revoked.yaml has to have.')
    .addArgument(
      command.createArgument('<role>', 'what it has joined as').choices(['executor', 'gate', 'client']),
    )
    .argument('<name>', 'its name')
    .requiredOption('--reason <text>', 'why')
    .addHelpText('after', revokeHelp);
  act<[Role, string, { dir: string; reason: string }]>(revoke, revokeIn);
  const joining = addJoinOptions(command.command('join'), 'client')
    .summary('join as a client')
    .description(
      'Join a fleet as a client: makes a key here and has the CA certify it, for --pki DIR --as NAME.',
    );
  act<[JoinFlags]>(joining, (flags) => runJoin('client', flags));
  const renewing = command
    .command('renew')
    .summary('have a client’s certificate renewed')
    .description(
      'Have the CA renew a client’s certificate. csc does it by itself where it is used; this is for other programs, which read the files anew for each connection.',
    )
    .requiredOption('--pki <dir>', 'the folder that csc ca join has filled')
    .requiredOption('--as <name>', 'which client')
    .option('--ca <host:port>', 'the fleet’s CA; default: the one that was joined')
    .option('--follow', 'go on: renew it at two thirds of its life, until this is ended');
  act<[RenewFlags]>(renewing, async (flags) => (await import('../ca/renew-command.ts')).runRenew(flags));
}

function addDir(command: Command): Command {
  return command.option('--dir <dir>', 'the folder that csc ca init made', 'ca');
}

function configIn(dir: string): string {
  const path = join(dir, 'ca.yaml');
  if (existsSync(path)) return path;
  throw new CscError(
    'CONFIG_INVALID',
    `there is no CA in ${dir}: csc ca init makes one, --dir names its folder`,
  );
}

async function readIn(dir: string): Promise<CaConfig> {
  const { readCaConfig } = await import('../ca/config.ts');
  return readCaConfig(configIn(dir));
}

interface InitOptions {
  readonly trustDomain: string;
  readonly host: readonly string[];
  readonly permit: readonly string[];
  readonly listen: string;
  readonly life?: number;
  readonly passphraseFile?: string;
  readonly json?: true;
}

async function makeCa(dir: string, options: InitOptions): Promise<number> {
  const { makeCaFolder } = await import('../ca/folder.ts');
  const { readCaConfig, lifeBounds } = await import('../ca/config.ts');
  const lifeSec = Math.round((options.life ?? 24 * 3_600_000) / 1000);
  if (lifeSec < lifeBounds.least || lifeSec > lifeBounds.most)
    throw new CscError('CONFIG_INVALID', '--life: certificates count for 20 seconds to 168 hours');
  const { trustDomain, host: hosts, permit, listen, passphraseFile } = options;
  const passphrase = passphraseFile === undefined ? {} : { passphraseFile };
  const created = await makeCaFolder(
    dir,
    { trustDomain, hosts, permit, listen, lifeSec, ...passphrase },
    new Date(),
  );
  const { readCaKeys } = await import('../ca/folder.ts');
  const { rootSha256 } = readCaKeys(readCaConfig(join(dir, 'ca.yaml')));
  if (options.json) await writeJson({ created, root_sha256: rootSha256 });
  else {
    const made =
      created.length === 0 ? 'all of it was there already\n' : created.map((it) => `made ${it}\n`).join('');
    const away = `The root's certificate has the SHA-256 ${rootSha256}.\nTake ${join(dir, 'root.key')} away, to where no machine of the fleet is: the CA runs without it.\nNext: csc ca serve --dir ${dir}, and csc ca token --dir ${dir} --role gate …; docs/ca.md has the whole way.\n`;
    await writeOut(`${made}${away}`);
  }
  return exitCodes.ok;
}

async function serveCa(
  configPath: string,
  { checkOnly }: { readonly checkOnly: boolean },
): Promise<readonly string[]> {
  const { readCaConfig } = await import('../ca/config.ts');
  const config = readCaConfig(configPath);
  const { readCaKeys } = await import('../ca/folder.ts');
  if (checkOnly) {
    readCaKeys(config);
    checkWritableDirectory(config.stateDir, `state_dir ${config.stateDir}`);
    return [];
  }
  const { createJsonLog } = await import('@csc-fleet/common/json-log');
  const { startCa } = await import('../ca/server.ts');
  const log = createJsonLog(config.logLevel, { name: 'csc-ca', pid: process.pid });
  const stopped = new Promise<void>((resolve) => {
    process.once('SIGTERM', () => resolve());
    process.once('SIGINT', () => resolve());
  });
  const server = await startCa(config, log);
  const takeAway = installLastHandler({
    log: (fields, message) => log.error(fields, message),
    stop: () => server.close(),
  });
  const listen = `${config.listen.slice(0, config.listen.lastIndexOf(':'))}:${server.port}`;
  log.info({ listen }, 'listening');
  await stopped;
  await server.close();
  takeAway();
  return [];
}

interface TokenOptions {
  readonly dir: string;
  readonly role: Role;
  readonly name: string;
  readonly labels?: string;
  readonly host: readonly string[];
  readonly ttl?: number;
  readonly again?: true;
  readonly json?: true;
}

async function giveToken(options: TokenOptions): Promise<number> {
  const { dir, role, name, labels = '', host: hosts, ttl: ttlMs = 600_000, again = false, json } = options;
  const config = await readIn(dir);
  const { makeToken } = await import('../ca/manage.ts');
  const wish = { role, name, labels: parseLabels(labels), hosts, ttlMs, again };
  const now = new Date();
  const token = await makeToken(config, wish, now);
  // The one place where it is shown: not by what leaves secrets out.
  process.stdout.write(json ? `${JSON.stringify({ token })}\n` : `${token}\n`);
  if (json !== true) tellNext(config, wish);
  return exitCodes.ok;
}

async function leaveFleet({ dir, ...wish }: FleetWish & { dir: string }): Promise<number> {
  const config = await readIn(dir);
  const { keepFleet } = await import('../ca/manage.ts');
  const sha256 = keepFleet(config, wish);
  await writeOut(
    `hosts that join are given the gate ${wish.gate}, its keys, and the owners' root: sha256 ${sha256}\n`,
  );
  return exitCodes.ok;
}

// What to do with it, beside it: stdout has the token alone, for programs.
function tellNext({ hosts, fleet, listen }: CaConfig, { role, again }: { role: Role; again: boolean }): void {
  const at = `${hosts[0]}:${listen.slice(listen.lastIndexOf(':') + 1)}`;
  const command = role === 'client' ? 'csc ca join' : `csc ${role} join`;
  const more = again && role !== 'client' ? ' --again --dir …' : role === 'executor' ? ' --start' : '';
  note(`csc: there, once: ${command} --ca ${at} --token TOKEN${more}`);
  if (role === 'executor' && !again && fleet.policyRoot === undefined)
    note('csc: hosts are not given what they pin yet: csc ca fleet --help');
}

function parseLabels(text: string): Record<string, string> {
  const pairs = text === '' ? [] : text.split(',');
  const labels = new Map<string, string>();
  for (const pair of pairs) {
    const at = pair.indexOf('=');
    const name = pair.slice(0, at);
    if (at < 1 || labels.has(name))
      throw new CscError('CONFIG_INVALID', `--labels: say it as name=value,name=value, each name once`);
    labels.set(name, pair.slice(at + 1));
  }
  return Object.fromEntries(labels);
}

async function showMembers({ dir, json }: { dir: string; json?: true }): Promise<number> {
  const config = await readIn(dir);
  const { listCa } = await import('../ca/manage.ts');
  const now = new Date();
  const { members, tokens } = listCa(config, now);
  if (json) {
    await writeJson({
      members: members.map(({ identity, labels, joinedAt, endsAt, revokedAt, reason }) => ({
        identity,
        labels,
        joined_at: joinedAt.toISOString(),
        ends_at: endsAt.toISOString(),
        ...(revokedAt === undefined ? {} : { revoked_at: revokedAt.toISOString(), reason }),
      })),
      tokens: tokens.map(({ role, name, labels, expiresAt }) => ({
        role,
        name,
        labels,
        expires_at: expiresAt.toISOString(),
      })),
    });
    return exitCodes.ok;
  }
  const say = (labels: Readonly<Record<string, string>>): string =>
    Object.entries(labels)
      .map(([name, value]) => `${name}=${value}`)
      .join(',') || '-';
  await writeOut(
    toTable(
      ['IDENTITY', 'LABELS', 'JOINED', 'CERTIFIED UNTIL', ''],
      members.map((it) => [
        ...[it.identity, say(it.labels), formatTime(it.joinedAt), formatTime(it.endsAt)],
        it.revokedAt === undefined ? (it.endsAt < now ? 'ended' : '') : `revoked: ${it.reason}`,
      ]),
    ),
  );
  if (tokens.length > 0)
    await writeOut(
      `\n${toTable(
        ['OPEN TOKEN FOR', 'LABELS', 'UNTIL'],
        tokens.map((it) => [`${it.role}/${it.name}`, say(it.labels), formatTime(it.expiresAt)]),
      )}`,
    );
  return exitCodes.ok;
}

// What writes it there, signs and publishes it: lines to paste, and so not into the YAML on stdout.
function revokeNext({ role, name, identity, receiptKey }: Member, reason: string): string {
  const about = role === 'executor' ? `host ${name}` : `principal ${identity}`;
  const line = (it: string): string =>
    `  csc admin revoke ${it} --reason ${quoteForShell(reason)} --end --dir policy-repository\n`;
  return `csc: on the owners' machine, with their folder for policy-repository, this writes it there, signs and publishes it:\n${line(about)}${receiptKey === '' ? '' : line(`key ${receiptKey}`)}`;
}

function quoteForShell(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}

async function revokeIn(
  role: Role,
  name: string,
  { dir, reason }: { dir: string; reason: string },
): Promise<number> {
  const config = await readIn(dir);
  const { revokeMember, toRevocations } = await import('../ca/manage.ts');
  const now = new Date();
  const member = revokeMember(config, role, name, reason, now);
  const entries = toRevocations(member, reason, now);
  const said = `# ${plainLine(member.identity)} gets no further certificate; what it has ends ${formatTime(member.endsAt)}.\n`;
  await writeOut(
    entries === ''
      ? `${said}# Hosts refuse a gate whose key is not in trusted_gate_keys: take its key out there, on each host.\n`
      : `${said}# For revoked.yaml of the owners, who sign and publish it: until then hosts go on as before.\n${entries}`,
  );
  if (entries !== '') await writeErr(revokeNext(member, reason));
  return exitCodes.ok;
}
