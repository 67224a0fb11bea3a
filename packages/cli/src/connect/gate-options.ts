import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { readConfig, resolvePem } from '@csc-fleet/common/config';
import { CscError, type Fault } from '@csc-fleet/common/errors';
import { isPemText, readBoundedFile } from '@csc-fleet/common/files';
import { type Command, InvalidArgumentError } from 'commander';
import * as z from 'zod';
import { append, parseDuration } from '../action/options.ts';

/** How a command line says which gate to call and as whom. */
export interface GateOptions {
  readonly gate?: string;
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
  /** A client.yaml with the four above. */
  readonly config?: string;
  /** A directory that csc pki init made; with `as`, the name of a client in it. */
  readonly pki?: string;
  readonly as?: string;
  /** Key ring files: executors' receipts must verify with these keys. Empty: trust on first use. */
  readonly keys: readonly string[];
  /** The CA that certifies executors' receipt keys, PEM. */
  readonly fleetCa?: string;
  /** The root.json of the owners' repository: what they sign of lost executions is verified by it. */
  readonly ownersRoot?: string;
  /** The key of the gate's log, or a file of it: receipts must be in that log. */
  readonly logVkey?: string;
  /** A published policy folder whose log.yaml names the log and its witnesses. */
  readonly logOf?: string;
  /** Keys of witnesses, or files of them. */
  readonly witnessVkey?: readonly string[];
  /** How many of them must have cosigned. */
  readonly witnessQuorum?: number;
  /** A private key that sealed output is opened with, beside those that are kept. */
  readonly sealKey?: string;
  /** Sealed output is left as it is. */
  readonly raw?: true;
  /** The file of the executors that were met before. */
  readonly knownExecutors?: string;
  /** Milliseconds that a gate is waited for which is away or has no room. */
  readonly wait?: number;
  /** Where the OIDC token of a CI job comes from: github, buildkite, gitlab, env:VARIABLE, file:PATH. */
  readonly oidc?: string;
  /** The private key file that tokens name, for a job that comes back. Absent: a key for this process. */
  readonly oidcKey?: string;
}

/** A gate's address, and what proves us to it: paths, or PEM texts. */
export interface GateAddress {
  readonly address: string;
  readonly tls: Readonly<Record<'ca' | 'cert' | 'key', string>>;
}

export const gateAddressHelp = `
The gate and your identity come from the options; what they leave out comes from --pki and --as, then from the file of
--config (gate, ca, cert, key), then from CSC_GATE, CSC_CA, CSC_CERT and CSC_KEY. Each of ca, cert and key is a path, or
the PEM text itself, as CI systems keep it in a variable.
`;

/** The same, of a command that sees receipts. */
export const gateOptionsHelp = `${gateAddressHelp}
Receipts count only with a key that --keys names (csc executor keys --export writes such a file on each host). Without
--keys, the key of an executor's first receipt is remembered, and another one later is refused. With --fleet-ca, receipts
bring certificates of that CA for their keys (csc pki certify), and no gate is asked.
`;

/** Adds the options of a command that needs to know who you are, and no gate. */
export function addCertificateOptions(command: Command): Command {
  return command
    .option('--cert <file>', 'your certificate, PEM (CSC_CERT)')
    .option('--config <file>', 'YAML file with cert')
    .option('--pki <dir>', 'directory that csc ca join or csc pki init made, instead of --cert')
    .option('--as <name>', 'with --pki: which client to be');
}

/** Adds the options of a command that asks a gate, and sees no receipt. Its `keys` is absent. */
export function addGateAddressOptions(command: Command): Command {
  return command
    .option('--gate <host:port>', 'the gate (CSC_GATE)')
    .option('--ca <file>', 'CA that the gate’s certificate is of, PEM (CSC_CA)')
    .option('--cert <file>', 'your certificate, PEM (CSC_CERT)')
    .option('--key <file>', 'your certificate’s private key, PEM (CSC_KEY)')
    .option('--config <file>', 'YAML file with gate, ca, cert and key')
    .option(
      '--pki <dir>',
      'directory that csc ca join or csc pki init made, instead of --ca, --cert and --key',
    )
    .option('--as <name>', 'with --pki: which client to be')
    .option(
      '--wait <time>',
      'for a gate that is away, hangs or has no room (default: 30s; 0: 5s to connect, once)',
      parseDuration,
    );
}

/** Adds the options that every command with a gate has whose answers are held against receipts. */
export function addGateOptions(command: Command): Command {
  return addLogOptions(addGateAddressOptions(command))
    .option('--keys <file>', 'executors’ keys, of csc executor keys --export; repeatable', append, [])
    .option('--fleet-ca <file>', 'CA of executors’ receipt keys, PEM: no gate is asked for them')
    .option('--owners-root <file>', 'root.json that hosts pin: verifies what csc admin resolve has signed')
    .option('--known-executors <file>', 'where to remember executors’ keys (default: $XDG_STATE_HOME/csc)');
}

/** Adds the options of a command that whoever has a token, and no certificate, may give. */
export function addTokenOptions(command: Command): Command {
  return command
    .option(
      '--oidc <source>',
      'be the CI job that a token names: github, buildkite, gitlab, env:VARIABLE, file:PATH',
    )
    .option(
      '--oidc-key <file>',
      'with --oidc: a key file of the job, for a step that comes back to name a host',
    );
}

function parseQuorum(text: string): number {
  if (!/^\d{1,2}$/.test(text)) throw new InvalidArgumentError('Give a number of witnesses.');
  return Number(text);
}

/** Adds the options that say which log of receipts is demanded. */
export function addLogOptions(command: Command): Command {
  return command
    .option(
      '--log-vkey <vkey>',
      'key of the gate’s log, or a file of it: receipts must be in it (CSC_LOG_VKEY)',
    )
    .option(
      '--log-of <dir>',
      'instead: the owners’ published folder, whose log.yaml names it (with --owners-root)',
    )
    .option('--witness-vkey <vkey>', 'key of a witness of that log, or a file; repeatable', append, [])
    .option('--witness-quorum <number>', 'how many of them must have cosigned (default: all)', parseQuorum);
}

/**
 * These options again, as they were given: for another command on the same gate. A key that stood there itself, as PEM, is
 * left out, as nothing shows one.
 */
export function gateArguments(options: GateOptions): string[] {
  const { gate, ca, cert, key, config, pki, as, keys, fleetCa, ownersRoot, knownExecutors } = options;
  const { logVkey, logOf, witnessVkey = [], witnessQuorum, oidc, oidcKey, sealKey } = options;
  const given: readonly (readonly [flag: string, value: string | number | undefined])[] = [
    ['--gate', gate],
    ['--ca', ca],
    ['--cert', cert],
    ['--key', key],
    ['--config', config],
    ['--pki', pki],
    ['--as', as],
    ['--oidc', oidc],
    ['--oidc-key', oidcKey],
    ...keys.map((it) => ['--keys', it] as const),
    ['--fleet-ca', fleetCa],
    ['--owners-root', ownersRoot],
    ['--known-executors', knownExecutors],
    ['--log-vkey', logVkey],
    ['--log-of', logOf],
    ...witnessVkey.map((it) => ['--witness-vkey', it] as const),
    ['--witness-quorum', witnessQuorum],
    ['--seal-key', sealKey],
  ];
  return given.flatMap(([flag, value]) =>
    value === undefined || isPemText(`${value}`) ? [] : [flag, `${value}`],
  );
}

type Source = Readonly<Partial<Record<'gate' | 'ca' | 'cert' | 'key', string | undefined>>>;

// Made where there is a file, as most who give these options have none.
function makeFileSchema() {
  const path = z.string().min(1);
  return z.strictObject({
    gate: path.exactOptional(),
    ca: path.exactOptional(),
    cert: path.exactOptional(),
    key: path.exactOptional(),
    log_vkey: path.exactOptional(),
    witness_vkeys: z.array(path).max(16).exactOptional(),
    witness_quorum: z.int().min(0).max(16).exactOptional(),
  });
}

type SourceOptions = Omit<
  GateOptions,
  | 'keys'
  | 'fleetCa'
  | 'sealKey'
  | 'raw'
  | 'ownersRoot'
  | 'knownExecutors'
  | 'wait'
  | 'oidc'
  | 'oidcKey'
  | 'logVkey'
  | 'logOf'
  | 'witnessVkey'
  | 'witnessQuorum'
>;

function toPick(options: SourceOptions, env: NodeJS.ProcessEnv): (name: keyof Source) => string {
  const sources: Source[] = [
    options,
    fromPki(options),
    fromFile(options.config),
    { gate: env['CSC_GATE'], ca: env['CSC_CA'], cert: env['CSC_CERT'], key: env['CSC_KEY'] },
  ];
  return (name) => sources.map((it) => it[name]).find((it) => it) ?? '';
}

/** The file of the caller's own certificate. Throws CONFIG_INVALID where nothing names it. */
export function resolveCertificate(options: SourceOptions, env: NodeJS.ProcessEnv): string {
  const cert = toPick(options, env)('cert');
  if (cert !== '') return cert;
  throw new CscError(
    'CONFIG_INVALID',
    'it is not said who you are: give --cert, --pki and --as, or CSC_CERT',
  );
}

/** True where something says which gate to call. */
export function namesGate(options: GateOptions, env: NodeJS.ProcessEnv): boolean {
  return toPick(options, env)('gate') !== '';
}

/** Puts the sources together. Throws CONFIG_INVALID that names everything that is still missing. */
export function resolveGate(options: GateOptions, env: NodeJS.ProcessEnv): GateAddress {
  const pick = toPick(options, env);
  const found = { gate: pick('gate'), ca: pick('ca'), cert: pick('cert'), key: pick('key') };
  refuseMissing(found);
  return { address: found.gate, tls: { ca: found.ca, cert: found.cert, key: found.key } };
}

/** Which log is demanded. Undefined: none. */
export interface DemandedLog {
  readonly vkey: string;
  readonly witnessVkeys: readonly string[];
  readonly quorum: number;
}

/** From the options, then the file of --config, then the environment. Throws FILE_UNREADABLE. */
export function resolveLog(
  { logVkey, logOf, witnessVkey = [], witnessQuorum, config }: GateOptions,
  env: NodeJS.ProcessEnv,
): DemandedLog | undefined {
  if (logOf !== undefined) {
    if (logVkey === undefined && witnessVkey.length === 0 && witnessQuorum === undefined) return undefined;
    const message =
      '--log-of says which log and which witnesses: --log-vkey, --witness-vkey and --witness-quorum do not go with it';
    throw new CscError('CONFIG_INVALID', message);
  }
  const file = config === undefined ? {} : readConfig(config, makeFileSchema());
  const vkey = logVkey ?? file.log_vkey ?? env['CSC_LOG_VKEY'] ?? '';
  const witnesses = witnessVkey.length > 0 ? witnessVkey : (file.witness_vkeys ?? []);
  const quorum = witnessQuorum ?? file.witness_quorum ?? witnesses.length;
  if (vkey === '') {
    if (witnesses.length === 0 && quorum === 0) return undefined;
    throw new CscError(
      'CONFIG_INVALID',
      'witnesses are named, and no log that they have seen: give --log-vkey',
    );
  }
  return { vkey: readVkey(vkey), witnessVkeys: witnesses.map(readVkey), quorum };
}

// A key has two plus signs, and is as long; what is shorter is a file.
function readVkey(text: string): string {
  if (/^[^+]+\+[0-9a-f]{8}\+/.test(text)) return text;
  return readBoundedFile(text, { maxBytes: 1024 }).bytes.toString().trim();
}

/** The same of whoever has no certificate, but a token: the gate, and the CA that it must prove. */
export function resolveIssuing(
  options: GateOptions,
  env: NodeJS.ProcessEnv,
): { readonly address: string; readonly ca: string } {
  const pick = toPick(options, env);
  const found = { gate: pick('gate'), ca: pick('ca') };
  refuseMissing(found);
  return { address: found.gate, ca: found.ca };
}

function fromPki({ pki, as }: SourceOptions): Source {
  if (pki === undefined && as === undefined) return {};
  if (pki === undefined || as === undefined) {
    throw new CscError(
      'CONFIG_INVALID',
      '--pki and --as go together: a directory, and the name of a client in it',
    );
  }
  refuseStranger(pki, as);
  const file = (name: string) => join(pki, name);
  return { ca: file('ca.pem'), cert: file(`client-${as}.pem`), key: file(`client-${as}.key`) };
}

// A directory that holds no client is told of when its files are read.
function refuseStranger(pki: string, as: string): void {
  const clients = namesIn(pki).flatMap((name) => /^client-(.+)\.pem$/.exec(name)?.[1] ?? []);
  if (clients.length === 0 || clients.includes(as)) return;
  const there = clients.sort().slice(0, mostNamed).join(', ');
  const more = clients.length > mostNamed ? `, and ${clients.length - mostNamed} more` : '';
  throw new CscError(
    'CONFIG_INVALID',
    `--as: ${pki} has no client ${as}, but ${there}${more}; csc pki issue client NAME makes another`,
  );
}

const mostNamed = 10;

function namesIn(pki: string): string[] {
  try {
    return readdirSync(pki);
  } catch (cause) {
    // Whoever may not list it may be let read their own files in it.
    if (cause instanceof Error && 'code' in cause && cause.code === 'EACCES') return [];
    const why = statSync(pki, { throwIfNoEntry: false }) === undefined ? 'is not there' : 'is no directory';
    throw new CscError('FILE_UNREADABLE', `--pki: the directory ${pki} ${why}`, { cause });
  }
}

function fromFile(file: string | undefined): Source {
  if (file === undefined) return {};
  const { gate, log_vkey, witness_vkeys, witness_quorum, ...paths } = readConfig(file, makeFileSchema());
  const resolved = Object.entries(paths).map(([name, value]) => [name, resolvePem(file, value)]);
  return { ...Object.fromEntries(resolved), gate };
}

function refuseMissing(found: Readonly<Record<string, string>>): void {
  const faults: Fault[] = Object.entries(found)
    .filter(([, value]) => value === '')
    .map(([name]) => ({ path: name, message: `give --${name} or CSC_${name.toUpperCase()}` }));
  if (faults.length === 0) return;
  throw new CscError('CONFIG_INVALID', 'it is not said which gate to call and as whom', { faults });
}
