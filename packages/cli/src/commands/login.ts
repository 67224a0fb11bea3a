import { resolve } from 'node:path';
import { openSshAgentKey } from '@csc-fleet/client';
import { readOwnSigner, toBase64 } from '@csc-fleet/common/crypto';
import { CscError } from '@csc-fleet/common/errors';
import { isPemText } from '@csc-fleet/common/files';
import { parseIdentity } from '@csc-fleet/common/identity';
import { readOwnIdentity } from '@csc-fleet/common/rpc';
import type { Command } from 'commander';
import { act } from '../action/act.ts';
import { exitCodes } from '../action/exit-codes.ts';
import { addCertificateOptions, type GateOptions, resolveCertificate } from '../connect/gate-options.ts';
import { describePlace, type Login, makeDefaultKey, rememberSubmitter } from '../connect/submitter.ts';
import { describeSubmitter } from '../owners/submitters.ts';
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
  const { signer, place } = await chooseKey(principal, options);
  rememberSubmitter(principal, place, process.env);
  const { keyId, publicKey } = signer;
  if (options.json === true) {
    await writeJson({ principal, keys: [{ key_id: keyId, public_key: toBase64(publicKey) }] });
  } else {
    note(plainLine(`csc: csc submit signs for ${principal} with ${describePlace(place)}`));
    note('csc: ask the owners to add this to bindings.yaml (csc.bindings.v0.2), and to publish it:');
    await writeOut(describeSubmitter({ principal, keyId, publicKey }));
  }
  return exitCodes.ok;
}

export function principalOf(options: Omit<LoginOptions, 'submitterKey' | 'sshAgent' | 'json'>): string {
  if (options.principal === undefined)
    return readOwnIdentity(resolveCertificate(options, process.env), 'client').uri;
  const identity = parseIdentity(options.principal);
  if (identity?.role === 'client') return identity.uri;
  throw new CscError('CONFIG_INVALID', '--principal must be spiffe://TRUST_DOMAIN/client/NAME');
}

async function chooseKey(principal: string, { sshAgent, submitterKey }: LoginOptions): Promise<Login> {
  if (sshAgent !== undefined) {
    const signer = await openSshAgentKey(principal, sshAgent === true ? undefined : sshAgent);
    return { signer, place: { ssh_agent: signer.fingerprint } };
  }
  if (isPemText(submitterKey ?? '')) throw new CscError('CONFIG_INVALID', textNote);
  const file = submitterKey === undefined ? makeDefaultKey(process.env) : resolve(submitterKey);
  return { signer: readOwnSigner(file, principal), place: { key_file: file } };
}

const textNote =
  '--submitter-key was given the key itself (PEM text), and csc login remembers a path: put it into a file, or give it to csc submit each time';
