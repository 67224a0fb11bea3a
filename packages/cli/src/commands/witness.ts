import { existsSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { makeKeyFile, readSigner } from '@csc-fleet/common/crypto';
import { CscError, orThrow } from '@csc-fleet/common/errors';
import { makeDirectory, makeFile, readBoundedFile } from '@csc-fleet/common/files';
import { formatVkey, isKeyName, type NoteKey, parseVkey } from '@csc-fleet/common/tlog';
import type { Command } from 'commander';
import { act } from '../action/act.ts';
import { exitCodes } from '../action/exit-codes.ts';
import { append } from '../action/options.ts';
import { note, writeOut } from '../terminal/streams.ts';
import { plainLine } from '../terminal/text.ts';
import { createWitnessServer } from '../witness/serve.ts';
import { Witness } from '../witness/witness.ts';

const initHelp = `
Example:
  $ csc witness init /var/lib/csc/witness --name witness.example.org/w1

The name is a URL without its scheme, which need not be reachable. The vkey that this prints, also kept in DIR/witness.vkey, goes
into the gate's config (witnesses) and to its clients (--witness-vkey).
`;

const serveHelp = `
Example:
  $ csc witness serve /var/lib/csc/witness --log gate.vkey --listen 127.0.0.1:7480

--log takes the key of a log, as a gate writes it to log/log.vkey of its data directory, or a file of it. Answers POST
/add-checkpoint (C2SP tlog-witness) by plain HTTP: put a web server with a certificate before it where others are to reach it.
Ends with SIGTERM or SIGINT.
`;

/** `csc witness`: cosigns the checkpoints of logs that only grow. */
export function defineWitness(command: Command): void {
  command.description('Cosign the checkpoints of gates’ logs, so that none can show two logs.');
  const init = command
    .command('init')
    .summary('make the key of a witness')
    .description('Make the key of a witness, and print what pins it. Run again, it prints the same.')
    .argument('<dir>', 'where its key and what it remembers go')
    .requiredOption('--name <name>', 'what it is called, such as witness.example.org/w1')
    .addHelpText('after', initHelp);
  act<[string, { readonly name: string }]>(init, initWitness);
  const serve = command
    .command('serve')
    .summary('run a witness')
    .description('Run a witness until it is told to end.')
    .argument('<dir>', 'that csc witness init made')
    .requiredOption('--log <vkey>', 'the key of a log to look after, or a file of it; repeatable', append, [])
    .option('--listen <host:port>', 'where to listen', '127.0.0.1:7480')
    .addHelpText('after', serveHelp);
  act<[string, ServeOptions]>(serve, serveWitness);
}

interface ServeOptions {
  readonly log: readonly string[];
  readonly listen: string;
}

async function initWitness(dir: string, { name }: { readonly name: string }): Promise<number> {
  if (!isKeyName(name)) throw new CscError('CONFIG_INVALID', '--name must have no blanks and no plus sign');
  makeDirectory(dir, { mode: 0o700 });
  makeKeyFile(join(dir, 'witness.key'));
  const { publicKey } = readSigner(join(dir, 'witness.key'), name);
  const vkey = formatVkey({ name, type: 'cosignature', publicKey });
  const file = join(dir, 'witness.vkey');
  if (!makeFile(file, `${vkey}\n`, 0o644) && readVkeyFile(file) !== vkey)
    throw new CscError('CONFIG_INVALID', `${file} is of a witness with another name or key`);
  await writeOut(`${vkey}\n`);
  return exitCodes.ok;
}

async function serveWitness(dir: string, { log, listen }: ServeOptions): Promise<number> {
  const { name, publicKey } = toKey(readVkeyFile(join(dir, 'witness.vkey')), 'witness.vkey');
  const signer = readSigner(join(dir, 'witness.key'), name);
  if (Buffer.compare(signer.publicKey, publicKey) !== 0)
    throw new CscError('KEY_INVALID', `${dir}: witness.key is not the key of witness.vkey`);
  const logs = log.map((it) => toKey(existsSync(it) ? readVkeyFile(it) : it, '--log'));
  const twice = logs.find((it, index) => logs.findIndex((other) => other.name === it.name) !== index);
  if (twice !== undefined) throw new CscError('CONFIG_INVALID', `--log names ${twice.name} twice`);
  const say = (line: string): void => note(plainLine(`csc: ${line}`));
  const witness = new Witness({ name, signer, logs, directory: dir, now: () => new Date(), onFork: say });
  const server = createWitnessServer(witness, (error) =>
    say(`an error: ${error instanceof Error ? error.message : String(error)}`),
  );
  const [, host = '', port = ''] = /^(.+):(\d{1,5})$/.exec(listen) ?? [];
  if (host === '') throw new CscError('CONFIG_INVALID', '--listen must be HOST:PORT');
  const stopped = new Promise<void>((resolve) => {
    process.once('SIGTERM', () => resolve());
    process.once('SIGINT', () => resolve());
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', (cause) =>
      reject(
        new CscError('CONFIG_INVALID', `cannot listen on ${listen}: is something else there?`, { cause }),
      ),
    );
    server.listen(Number(port), host.replace(/^\[(.*)\]$/, '$1'), resolve);
  });
  const { port: bound } = server.address() as AddressInfo;
  say(`witness ${name} is listening on ${host}:${bound}, for ${logs.map((it) => it.name).join(', ')}`);
  await stopped;
  server.close();
  server.closeAllConnections();
  return exitCodes.ok;
}

function readVkeyFile(file: string): string {
  return readBoundedFile(file, { maxBytes: 1024 }).bytes.toString().trim();
}

function toKey(text: string, what: string): NoteKey {
  return orThrow(parseVkey(text), 'CONFIG_INVALID', what);
}
