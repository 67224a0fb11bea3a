import { existsSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { openSshAgentKey, type SubmissionSigner } from '@csc-fleet/client';
import { readOwnSigner } from '@csc-fleet/common/crypto';
import { orThrow } from '@csc-fleet/common/errors';
import { readBoundedFile } from '@csc-fleet/common/files';
import { parseArtifact, validate } from '@csc-fleet/common/schema';
import * as z from 'zod';
import { writeFileWhole } from '../files/write-file.ts';

/** Where a principal's submission key is: a private key file, or an SSH agent. */
const placeSchema = z.union([
  z.strictObject({ key_file: z.string().min(1) }),
  z.strictObject({ ssh_agent: z.string().min(1) }),
]);
const fileSchema = z.record(z.string(), placeSchema);

export type KeyPlace = z.infer<typeof placeSchema>;

const maxBytes = 1024 * 1024;

/** The folder of what a user keeps: XDG_CONFIG_HOME, by default ~/.config, as the XDG Base Directory Specification says. */
export function configDirectory(env: NodeJS.ProcessEnv): string {
  return join(env['XDG_CONFIG_HOME'] || join(homedir(), '.config'), 'csc');
}

const fileIn = (env: NodeJS.ProcessEnv): string => join(configDirectory(env), 'submitters.json');

/** Remembers with which key `csc submit` signs for a principal. Throws FILE_UNWRITABLE. */
export function rememberSubmitter(principal: string, place: KeyPlace, env: NodeJS.ProcessEnv): void {
  const all = { ...readAll(env), [principal]: place };
  writeFileWhole(fileIn(env), `${JSON.stringify(all, undefined, 2)}\n`, 0o600);
}

/** Whether anybody has ever used csc login here. */
export function hasSubmitters(env: NodeJS.ProcessEnv): boolean {
  return existsSync(fileIn(env));
}

/** Undefined where there was no csc login for this principal. Throws CONFIG_INVALID. */
export function findSubmitter(principal: string, env: NodeJS.ProcessEnv): KeyPlace | undefined {
  return readAll(env)[principal];
}

/** Rejects with KEY_INVALID, FILE_UNREADABLE, CONFIG_INVALID. */
export async function openSubmitter(principal: string, place: KeyPlace): Promise<SubmissionSigner> {
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
