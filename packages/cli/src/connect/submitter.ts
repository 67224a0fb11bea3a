import { existsSync } from 'node:fs';
import { join } from 'node:path';
import {
  identifyByToken,
  openSshAgentKey,
  type SubmissionSigner,
  type TokenMember,
  tokenSource,
} from '@csc-fleet/client';
import { makeKeyFile, readOwnSigner } from '@csc-fleet/common/crypto';
import { CscError, orThrow } from '@csc-fleet/common/errors';
import { configDirectory, makeDirectory, readBoundedFile } from '@csc-fleet/common/files';
import { readOwnIdentity } from '@csc-fleet/common/rpc';
import { parseArtifact, validate } from '@csc-fleet/common/schema';
import * as z from 'zod';
import { writeFileWhole } from '../files/write-file.ts';
import { note } from '../terminal/streams.ts';
import { plainLine } from '../terminal/text.ts';
import { type GateOptions, resolveGate, resolveIssuing } from './gate-options.ts';

/** Where a principal's submission key is: a private key file, or an SSH agent. */
const placeSchema = z.union([
  z.strictObject({ key_file: z.string().min(1) }),
  z.strictObject({ ssh_agent: z.string().min(1) }),
]);
const fileSchema = z.record(z.string(), placeSchema);

export type KeyPlace = z.infer<typeof placeSchema>;

const maxBytes = 1024 * 1024;

const fileIn = (env: NodeJS.ProcessEnv): string => join(configDirectory(env), 'submitters.json');

/** Remembers with which key `csc submit` signs for a principal. Throws FILE_UNWRITABLE. */
export function rememberSubmitter(principal: string, place: KeyPlace, env: NodeJS.ProcessEnv): void {
  const all = { ...readAll(env), [principal]: place };
  writeFileWhole(fileIn(env), `${JSON.stringify(all, undefined, 2)}\n`, 0o600);
}

/** Whether anybody has ever used csc login here. */
function hasSubmitters(env: NodeJS.ProcessEnv): boolean {
  return existsSync(fileIn(env));
}

/** Undefined where there was no csc login for this principal. Throws CONFIG_INVALID. */
function findSubmitter(principal: string, env: NodeJS.ProcessEnv): KeyPlace | undefined {
  return readAll(env)[principal];
}

/** A key that signs for a principal, and where it is. */
export interface Login {
  readonly signer: SubmissionSigner;
  readonly place: KeyPlace;
}

/**
 * The login of this principal as it is, or one that is made now and remembered: the key file that all of this user's
 * principals share. Rejects as openSubmitter, and with FILE_UNWRITABLE.
 */
export async function logIn(principal: string, env: NodeJS.ProcessEnv): Promise<Login> {
  const known = findSubmitter(principal, env);
  const place = known ?? { key_file: makeDefaultKey(env) };
  const signer = await openSubmitter(principal, place);
  if (known === undefined) rememberSubmitter(principal, place, env);
  return { signer, place };
}

/** The key that `logIn` would take, where it would not make one. Rejects as openSubmitter. */
export async function keyForLogin(
  principal: string,
  env: NodeJS.ProcessEnv,
): Promise<SubmissionSigner | undefined> {
  const file = defaultKeyFile(env);
  const place = findSubmitter(principal, env) ?? (existsSync(file) ? { key_file: file } : undefined);
  return place && openSubmitter(principal, place);
}

/** Which key is to sign, as a command line says it. */
export interface SubmitterOptions extends GateOptions {
  readonly submitterKey?: string;
  readonly unsigned?: true;
}

/** Who submits: by a token, or with the key of whoever the certificate names. */
export interface ChosenSubmitter {
  readonly submitter?: SubmissionSigner | undefined;
  readonly identified?: TokenMember | undefined;
}

/**
 * The submitter that the command line names; the key file of --oidc-key is made where there is none. Rejects as
 * identify and chooseSubmitter.
 */
export async function chooseIdentity(options: SubmitterOptions): Promise<ChosenSubmitter> {
  if (options.oidc !== undefined && options.oidcKey !== undefined) makeKeyFile(options.oidcKey);
  const identity = await identify(options);
  return identity.identified === undefined ? { submitter: await chooseSubmitter(options) } : identity;
}

/**
 * Whom --oidc says that this is; nothing without it, where the certificate of the command line says so. Throws CONFIG_INVALID;
 * rejects as identifyByToken.
 */
export async function identify(options: GateOptions): Promise<ChosenSubmitter> {
  const { oidc, oidcKey: key, wait: connectTimeout } = options;
  if (oidc === undefined && key !== undefined)
    throw new CscError(
      'CONFIG_INVALID',
      '--oidc-key is a key for tokens: say with --oidc where they come from',
    );
  if (oidc === undefined) return {};
  const { address, ca } = resolveIssuing(options, process.env);
  const token = tokenSource(oidc, process.env);
  const identified = await identifyByToken({ address, ca, token, key, connectTimeout });
  return { identified, submitter: identified.submitter };
}

/**
 * Whoever signs for the caller's certificate; undefined where nobody does: by --unsigned, or as there was no csc login for
 * this principal, which is said where there was one for another. Rejects as openSubmitter.
 */
export async function chooseSubmitter(
  options: SubmitterOptions,
  say: (line: string) => void = note,
): Promise<SubmissionSigner | undefined> {
  if (options.unsigned === true) return undefined;
  if (options.submitterKey === undefined && !hasSubmitters(process.env)) return undefined;
  // Whose certificate it is, is for the gate to say then, in its own words.
  const { uri } = readOwnIdentity(resolveGate(options, process.env).tls.cert, 'client');
  const place =
    options.submitterKey === undefined ? findSubmitter(uri, process.env) : { key_file: options.submitterKey };
  if (place !== undefined) return openSubmitter(uri, place);
  const others = Object.keys(readAll(process.env)).join(', ');
  say(
    plainLine(
      `csc: NOT SIGNED: the login here is of ${others}, and you are ${uri}: csc login for ${uri}, or --unsigned`,
    ),
  );
  return undefined;
}

/** Where the key is, for people. */
export function describePlace(place: KeyPlace): string {
  return 'key_file' in place ? place.key_file : `the SSH agent's key ${place.ssh_agent}`;
}

/** The path of this user's key, which is made where there is none. One a user: whom it signs for is in what it signs. */
export function makeDefaultKey(env: NodeJS.ProcessEnv): string {
  makeDirectory(configDirectory(env), { mode: 0o700 });
  const file = defaultKeyFile(env);
  makeKeyFile(file);
  return file;
}

const defaultKeyFile = (env: NodeJS.ProcessEnv): string => join(configDirectory(env), 'submitter.key');

/** Rejects with KEY_INVALID, FILE_UNREADABLE, CONFIG_INVALID. */
async function openSubmitter(principal: string, place: KeyPlace): Promise<SubmissionSigner> {
  if ('key_file' in place) return readOwnSigner(place.key_file, principal);
  return openSshAgentKey(principal, place.ssh_agent);
}

function readAll(env: NodeJS.ProcessEnv): Readonly<Record<string, KeyPlace>> {
  const file = fileIn(env);
  if (!hasSubmitters(env)) return {};
  const { bytes } = readBoundedFile(file, { maxBytes });
  return orThrow(
    parseArtifact(bytes, maxBytes, (it) => validate(fileSchema, it)),
    'CONFIG_INVALID',
    file,
  );
}
