import { statSync } from 'node:fs';
import { basename } from 'node:path';
import { CscError } from '@csc-fleet/common/errors';
import { explainFileError } from '@csc-fleet/common/files';
import type { PolicyDocument } from '@csc-fleet/common/policy';
import { listProfiles } from '@csc-fleet/common/policy-directory';
import { isOwnersFile } from '@csc-fleet/common/policy-repository';
import { readPolicyInput } from '../check/decide.ts';

/** Throws FILE_UNREADABLE for what is not there. `-` is standard input, and no folder. */
export function isFolder(path: string): boolean {
  if (path === '-') return false;
  try {
    return statSync(path).isDirectory();
  } catch (cause) {
    throw new CscError('FILE_UNREADABLE', `failed to read ${path}: ${explainFileError(cause)}`, { cause });
  }
}

/** The profiles of a folder, in which the owners' other files may lie too, or the file itself. Throws FILE_UNREADABLE. */
export function profilesIn(path: string): string[] {
  if (isFolder(path)) return listProfiles(path).filter((it) => !isOwnersFile(basename(it)));
  if (!isOwnersFile(basename(path))) return [path];
  const message = `${path} is no profile: csc validate and csc policy add say what is wrong with it`;
  throw new CscError('CONFIG_INVALID', message);
}

/** One profile, of a file that somebody named. Throws CONFIG_INVALID for a folder, FILE_UNREADABLE, POLICY_INVALID. */
export async function readProfile(path: string): Promise<PolicyDocument> {
  if (isFolder(path))
    throw new CscError('CONFIG_INVALID', `${path} is a folder: name the file of one profile in it`);
  return readPolicyInput(path);
}
