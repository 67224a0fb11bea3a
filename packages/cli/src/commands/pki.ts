import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { CscError, withoutSecrets } from '@csc-fleet/common/errors';
import type { DevelopmentPki, DevelopmentPkiOptions } from '@csc-fleet/common/pki';
import type { Command } from 'commander';
import { act } from '../action/act.ts';
import { exitCodes } from '../action/exit-codes.ts';
import { append } from '../action/options.ts';
import { writeJson, writeOut } from '../terminal/streams.ts';

const initHelp = `
Example:
  $ csc pki init pki --host gate.example --client alice --client bob --executor build-1

DIR then has ca.pem, and gate, executor-NAME and client-NAME each as .pem and .key. Whoever has ca.key can be
anybody: keep it from the hosts.
`;

const issueHelp = `
Examples:
  $ csc pki issue client carol --dir pki
  $ csc pki issue executor build-2 --dir pki
  $ csc pki issue gate gate --dir pki --host gate.example.org --host 10.0.0.5
`;

const renewHelp = `
Names are those of the files without .pem: gate, client-alice, executor-build-1, receipt-build-1, ca. Without names, all
that end within 30 days. Each is for the same names and key as before, so that whoever runs with the file takes it up.

Examples:
  $ csc pki renew --dir pki
  $ csc pki renew gate --dir pki --host gate.example.org --host localhost     the gate is dialled by these from now on
`;

const certifyHelp = `
Example:
  $ csc pki certify host-1.json --dir pki        makes pki/receipt-host-1.pem: receipt_certificate in executor.yaml
`;

export function definePki(command: Command): void {
  command.description('Make a CA and certificates for development and small installations.');
  const init = command
    .command('init')
    .summary('make a CA, a gate’s certificate and those named')
    .description('Make a development PKI. Run again, it adds what is missing and overwrites nothing.')
    .argument('<dir>', 'where the files go')
    .option('--host <name>', 'DNS name or address that the gate is dialled by; repeatable', append, [])
    .option('--client <name>', 'a client to make a certificate for; repeatable', append, [])
    .option('--executor <name>', 'an executor to make a certificate for; repeatable', append, [])
    .option('--gate-name <name>', 'the gate’s name', 'gate')
    .option('--trust-domain <domain>', 'of the identities spiffe://DOMAIN/ROLE/NAME', 'csc.local')
    .option('--json', 'print what was made as JSON')
    .addHelpText('after', initHelp);
  act<[string, PkiInitOptions]>(init, makePki);
  const issue = command
    .command('issue')
    .summary('issue one more certificate')
    .description('Issue a certificate of the CA in a directory.')
    .addArgument(command.createArgument('<role>', 'whose it is').choices(['client', 'executor', 'gate']))
    .argument('<name>', 'letters, digits, ., _ and -')
    .option('--host <name>', 'of a gate: DNS name or address that it is dialled by; repeatable', append, [])
    .requiredOption('--dir <dir>', 'the directory that csc pki init made')
    .option('--trust-domain <domain>', 'of the identities spiffe://DOMAIN/ROLE/NAME', 'csc.local')
    .option('--json', 'print what was made as JSON')
    .addHelpText('after', issueHelp);
  act<[IssuedRole, string, PkiIssueOptions]>(issue, issueInto);
  const renew = command
    .command('renew')
    .summary('make certificates anew before they end')
    .description('Make certificates of a directory anew, for the same names and keys.')
    .argument('[names...]', 'which; default: those that end within 30 days')
    .requiredOption('--dir <dir>', 'the directory that csc pki init made')
    .option('--host <name>', 'of the gate: what it is dialled by from now on; repeatable', append, [])
    .option('--json', 'print what was made as JSON')
    .addHelpText('after', renewHelp);
  act<[string[], PkiRenewOptions]>(renew, renewIn);
  const certify = command
    .command('certify')
    .summary('certify executors’ receipt keys')
    .description('Certify the receipt keys of executors, so that who pins the CA need ask no gate for them.')
    .argument('<keys...>', 'what csc executor keys --export has written on each host')
    .requiredOption('--dir <dir>', 'the directory that csc pki init made')
    .option('--json', 'print what was made as JSON')
    .addHelpText('after', certifyHelp);
  act<[string[], PkiCertifyOptions]>(certify, certifyKeys);
}

interface PkiInitOptions {
  readonly host: readonly string[];
  readonly client: readonly string[];
  readonly executor: readonly string[];
  readonly gateName: string;
  readonly trustDomain: string;
  readonly json?: true;
}

type IssuedRole = 'client' | 'executor' | 'gate';

interface PkiRenewOptions {
  readonly dir: string;
  readonly host: readonly string[];
  readonly json?: true;
}

interface PkiIssueOptions {
  readonly dir: string;
  readonly host: readonly string[];
  readonly trustDomain: string;
  readonly json?: true;
}

/** Makes a CA and the certificates named, those of them that are not there yet. */
async function makePki(dir: string, options: PkiInitOptions): Promise<number> {
  const { host, client, executor, gateName, trustDomain, json } = options;
  const pki = await extendPki(dir, {
    clients: client,
    executors: executor,
    gate: gateName,
    trustDomain,
    ...(host.length === 0 ? {} : { hosts: host }),
  });
  return report(pki, json ?? false);
}

/** Issues one certificate more. Throws CONFIG_INVALID where the directory has no CA. */
async function issueInto(role: IssuedRole, name: string, options: PkiIssueOptions): Promise<number> {
  if (role === 'gate' && options.host.length === 0)
    throw new CscError(
      'CONFIG_INVALID',
      'a gate’s certificate is for the names that it is dialled by: give --host',
    );
  if (role !== 'gate' && options.host.length > 0)
    throw new CscError('CONFIG_INVALID', `--host is of a gate’s certificate: ${role}s are not dialled`);
  if (!existsSync(join(options.dir, 'ca.key'))) {
    throw new CscError(
      'CONFIG_INVALID',
      `there is no CA in ${options.dir}: run csc pki init ${options.dir} first`,
    );
  }
  const names = {
    client: { clients: [name] },
    executor: { executors: [name] },
    gate: { gate: name, hosts: options.host },
  }[role];
  const pki = await extendPki(options.dir, { ...names, trustDomain: options.trustDomain });
  return report(pki, options.json ?? false);
}

/** Makes certificates anew. Throws CONFIG_INVALID where one is not there. */
async function renewIn(names: readonly string[], { dir, host, json }: PkiRenewOptions): Promise<number> {
  const { renewCertificates } = await import('@csc-fleet/common/pki');
  const renewed = await renewCertificates(dir, {
    ...(names.length === 0 ? {} : { names }),
    ...(host.length === 0 ? {} : { hosts: host }),
  });
  const told = renewed.map(({ path, until }) => ({ path: withoutSecrets(path), until: until.toISOString() }));
  if (json) await writeJson({ renewed: told });
  else if (told.length === 0)
    await writeOut('nothing ends within 30 days: name what is to be renewed all the same\n');
  else
    await writeOut(told.map(({ path, until }) => `renewed ${path} until ${until.slice(0, 10)}\n`).join(''));
  return exitCodes.ok;
}

interface PkiCertifyOptions {
  readonly dir: string;
  readonly json?: true;
}

/** Certifies the keys of key ring files. Throws CONFIG_INVALID where one has no executor as its owner. */
async function certifyKeys(files: readonly string[], options: PkiCertifyOptions): Promise<number> {
  const { dir, json } = options;
  const { certifyReceiptKey } = await import('@csc-fleet/common/pki');
  const { readKeyRing } = await import('@csc-fleet/common/crypto');
  const created: string[] = [];
  for (const { owner = '', publicKey } of files.flatMap((file) => readKeyRing(file).entries()))
    created.push(await certifyReceiptKey(dir, owner, publicKey));
  return report({ ca: join(dir, 'ca.pem'), created }, json ?? false);
}

// Loaded once it is needed: it takes as long as all else that a command loads.
async function extendPki(dir: string, options: DevelopmentPkiOptions): Promise<DevelopmentPki> {
  const { createDevelopmentPki } = await import('@csc-fleet/common/pki');
  return createDevelopmentPki(dir, options);
}

async function report({ ca, created }: DevelopmentPki, json: boolean): Promise<number> {
  const made = created.map(withoutSecrets);
  if (json) await writeJson({ ca: withoutSecrets(ca), created: made });
  else if (created.length === 0) await writeOut('all of it was there already\n');
  else await writeOut(made.map((path) => `made ${path}\n`).join(''));
  return exitCodes.ok;
}
