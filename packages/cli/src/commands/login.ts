import { join, resolve } from 'node:path';
import { openSshAgentKey, type SubmissionSigner } from '@csc-fleet/client';
import { makeKeyFile, readOwnSigner, toBase64 } from '@csc-fleet/common/crypto';
import { CscError } from '@csc-fleet/common/errors';
import { makeDirectory } from '@csc-fleet/common/files';
import { parseIdentity } from '@csc-fleet/common/identity';
import { readOwnIdentity } from '@csc-fleet/common/rpc';
import type { Command } from 'commander';
import { act } from '../action/act.ts';
import { exitCodes } from '../action/exit-codes.ts';
import { addCertificateOptions, type GateOptions, resolveCertificate } from '../connect/gate-options.ts';
import { configDirectory, type KeyPlace, rememberSubmitter } from '../connect/submitter.ts';
import { note, writeJson, writeOut } from '../terminal/streams.ts';
import { plainLine } from '../terminal/text.ts';

const help = `
With the key, csc submit signs what you ask for, and hosts believe that signature instead of the gate. It takes effect
once the owners have added what this prints to bindings.yaml (bindings_version: csc.bindings.v0.2) and published it.

Examples:
  $ csc login --pki pki --as alice                      makes ~/.config/csc/submitter.key, for you alone
  $ csc login --cert me.pem --submitter-key my.key
  $ csc login --cert me.pem --ssh-agent                 the agent's only Ed25519 key
  $ csc login --cert me.pem --ssh-agent SHA256:Jx…      the one that ssh-add -l shows so
`;

interface LoginOptions extends Pick<GateOptions, 'cert' | 'config' | 'pki' | 'as'> {
  readonly principal?: string;
  readonly submitterKey?: string;
  /** True: the only key that it has. */
  readonly sshAgent?: string | true;
  readonly json?: true;
}

export function defineLogin(command: Command): void {
  command.description('Make or choose the key that signs your submissions.');
  const agent = command.createOption('--ssh-agent [fingerprint]', 'the SSH agent’s Ed25519 key');
  addCertificateOptions(command)
    .option('--principal <spiffe-id>', 'whom it signs for; default: whom your certificate names')
    .option('--submitter-key <file>', 'a private key that is there already')
    .addOption(agent.conflicts('submitterKey'))
    .option('--json', 'print the entry as JSON')
    .addHelpText('after', help);
  act<[LoginOptions]>(command, login);
}

/** Prints the entry of the owners' bindings.yaml, and remembers the key for `csc submit`. */
export async function login(options: LoginOptions): Promise<number> {
  const principal = principalOf(options);
  const { signer, place, where } = await chooseKey(principal, options);
  rememberSubmitter(principal, place, process.env);
  const publicKey = toBase64(signer.publicKey);
  if (options.json === true) {
    await writeJson({ principal, keys: [{ key_id: signer.keyId, public_key: publicKey }] });
  } else {
    note(plainLine(`csc: csc submit signs for ${principal} with ${where}`));
    note('csc: ask the owners to add this to bindings.yaml (csc.bindings.v0.2), and to publish it:');
    const keys = `    keys:\n      - key_id: ${signer.keyId}\n        public_key: ${publicKey}\n`;
    await writeOut(`submitters:\n  - principal: ${principal}\n${keys}`);
  }
  return exitCodes.ok;
}

function principalOf(options: LoginOptions): string {
  if (options.principal === undefined)
    return readOwnIdentity(resolveCertificate(options, process.env), 'client').uri;
  const identity = parseIdentity(options.principal);
  if (identity?.role === 'client') return identity.uri;
  throw new CscError('CONFIG_INVALID', '--principal must be spiffe://TRUST_DOMAIN/client/NAME');
}

interface Chosen {
  readonly signer: SubmissionSigner;
  readonly place: KeyPlace;
  /** For people. */
  readonly where: string;
}

async function chooseKey(principal: string, { sshAgent, submitterKey }: LoginOptions): Promise<Chosen> {
  if (sshAgent !== undefined) {
    const signer = await openSshAgentKey(principal, sshAgent === true ? undefined : sshAgent);
    const { fingerprint } = signer;
    return { signer, place: { ssh_agent: fingerprint }, where: `the SSH agent's key ${fingerprint}` };
  }
  const file = submitterKey === undefined ? makeDefaultKey() : resolve(submitterKey);
  return { signer: readOwnSigner(file, principal), place: { key_file: file }, where: file };
}

// One a user: whom it signs for is in what it signs.
function makeDefaultKey(): string {
  const directory = configDirectory(process.env);
  makeDirectory(directory, { mode: 0o700 });
  const file = join(directory, 'submitter.key');
  makeKeyFile(file);
  return file;
}
