import { join as joinPath } from 'node:path';
import { CscError } from '@csc-fleet/common/errors';
import { readBoundedFile } from '@csc-fleet/common/files';
import type { Role } from '@csc-fleet/common/rpc';
import type { Command } from 'commander';
import { exitCodes } from '../action/exit-codes.ts';
import { note, writeJson, writeOut } from '../terminal/streams.ts';
import { formatTime } from '../terminal/table.ts';
import { plainLine } from '../terminal/text.ts';
import type { Joined, JoinOptions } from './join.ts';

/** What the joining commands take. */
export interface JoinFlags extends Omit<JoinOptions, 'role' | 'token' | 'again'> {
  readonly token?: string;
  readonly tokenFile?: string;
  readonly again?: true;
  readonly start?: true;
  readonly json?: true;
}

/** Adds the options of a command that joins a fleet as a role. */
export function addJoinOptions(command: Command, role: Role): Command {
  command
    .helpOption('-h, --help', 'show help')
    .requiredOption('--ca <host:port>', 'the fleet’s CA')
    .option('--token <token>', 'what csc ca token has printed (CSC_JOIN_TOKEN)')
    .option('--token-file <file>', 'the same from a file')
    .option('--dir <dir>', 'where keys, certificates and config go', role === 'client' ? 'pki' : '.');
  if (role !== 'client') {
    command
      .option('--again', 'only make its certificates anew: the config is there and stays')
      .option('--policy-root <file>', 'the owners’ root.json to pin; default: the one that the CA gives')
      .option('--state-dir <dir>', 'its state directory; default: below --dir')
      .option('--start', 'run it at once, until it is ended');
  }
  if (role === 'gate') command.option('--listen <host:port>', 'where it listens', '0.0.0.0:7443');
  if (role === 'executor') {
    command
      .option('--gate <host:port>', 'the gate; default: the one that the CA names')
      .option('--gate-keys <file>', 'the gate’s gate-keys.json; default: what the CA gives')
      .option('--policies <dir>', 'a plain folder of policies, in the place of the owners’ repository')
      .addOption(
        command
          .createOption('--mode <mode>', 'how commands run; default: hardened')
          .choices(['hardened', 'local']),
      );
  }
  return command.option('--json', 'print what was made as JSON');
}

/** Joins, says what came of it and, with --start, runs the service to its end. Resolves to the exit code. */
export async function runJoin(role: Role, flags: JoinFlags): Promise<number> {
  const { joinCa } = await import('./join.ts');
  const { token: _, tokenFile: __, start, json, again = false, ...rest } = flags;
  const { caAnswerMs } = await import('@csc-fleet/common/ca');
  const text = readToken(flags);
  note(plainLine(`csc: waiting for the CA at ${flags.ca}, ${caAnswerMs / 1000} s at most`));
  const joined = await joinCa({ ...rest, role, again, token: text });
  const config = joined.config ?? (role === 'client' ? undefined : joinPath(flags.dir, `${role}.yaml`));
  if (json) await writeJson(toJson(joined));
  else await writeOut(describe(joined, role, flags, config));
  if (start !== true || config === undefined) return exitCodes.ok;
  const { runService } = await import('../action/service.ts');
  note(`csc: running ${role}: csc ${role} --config ${config}`);
  if (role === 'gate') return runService(config, false, (await import('@csc-fleet/gate/main')).runGate);
  return runService(config, false, (await import('@csc-fleet/executor/main')).runExecutor);
}

function readToken({ token, tokenFile }: JoinFlags): string {
  const given = token ?? (tokenFile === undefined ? process.env['CSC_JOIN_TOKEN'] : undefined);
  if (given !== undefined) return given;
  if (tokenFile !== undefined) return readBoundedFile(tokenFile, { maxBytes: 4096 }).bytes.toString('utf8');
  throw new CscError(
    'CONFIG_INVALID',
    'give --token, --token-file or CSC_JOIN_TOKEN: csc ca token makes one',
  );
}

function toJson({ identity, labels, until, made, keys, config, caSha256, policyRootSha256 }: Joined): object {
  return {
    identity,
    labels,
    until: until.toISOString(),
    made,
    keys,
    ca_sha256: caSha256,
    ...(config === undefined ? {} : { config }),
    ...(policyRootSha256 === undefined ? {} : { policy_root_sha256: policyRootSha256 }),
  };
}

function describe(
  joined: Joined,
  role: Role,
  { dir, listen, stateDir }: JoinFlags,
  config: string | undefined,
): string {
  const { identity, labels, until, made, keys, caSha256, policyRootSha256 } = joined;
  const said = Object.entries(labels)
    .map(([name, value]) => `${name}=${value}`)
    .join(', ');
  const next =
    role === 'gate' && joined.config !== undefined && policyRootSha256 === undefined
      ? gateNext(dir, config ?? '', listen, stateDir)
      : config === undefined
        ? `Use it: csc submit … --pki ${dir} --as ${identity.slice(identity.lastIndexOf('/') + 1)}\n`
        : `Run it:       csc ${role} --config ${config}\nOr for good:  deploy/systemd/csc-${role}.service; docs/ca.md, "For good"\n`;
  return [
    `joined as ${plainLine(identity)}${said === '' ? '' : `, with the labels ${plainLine(said)}`}\n`,
    ...keys.map((path) => `made ${path}   (a private key, which stays here)\n`),
    ...made.map((path) => `made ${path}\n`),
    `certified until ${formatTime(until)}; renewed ${config === undefined ? 'where csc is used; for programs: csc ca renew --follow' : 'while it runs'}\n`,
    `CA             sha256 ${caSha256}\n`,
    ...(policyRootSha256 === undefined
      ? []
      : [
          `owners’ root   sha256 ${policyRootSha256}   compare it with: sha256sum root.json, on the owners’ machine\n`,
        ]),
    next,
  ].join('');
}

// A gate has no policies yet, and hosts pin what it makes at its first start.
function gateNext(dir: string, config: string, listen = '', dataDir = joinPath(dir, 'data')): string {
  const [, port = '7443'] = /:(\d+)$/.exec(listen) ?? [];
  return `Next, here:    csc policy init --dir ${joinPath(dir, 'policy-repository')} --local --pki PKI --as NAME policies/inspect.yaml   (PKI and NAME of who is to submit; docs/policy-repository.md; for more than a trial, not on this machine)
Then run it:   csc gate --config ${config}
For hosts:     csc ca fleet --gate HOST:${port} --gate-keys gate-keys.json --policy-root root.json   where the CA runs, with copies of
               ${joinPath(dataDir, 'gate-keys.json')} and ${joinPath(dir, 'policy-repository/root.json')}
Or for good:   deploy/systemd/csc-gate.service; docs/ca.md, "For good"
`;
}
