import { existsSync } from 'node:fs';
import { basename, join } from 'node:path';
import { findSilentRules } from '@csc-fleet/common/containment';
import { artifactBytes } from '@csc-fleet/common/encoding';
import { orThrow } from '@csc-fleet/common/errors';
import { readBoundedFile } from '@csc-fleet/common/files';
import { parseLog } from '@csc-fleet/common/owners';
import { exitCodes } from '../action/exit-codes.ts';
import { readPolicyInput } from '../check/decide.ts';
import { note, writeJson, writeOut } from '../terminal/streams.ts';
import { plainLine } from '../terminal/text.ts';
import { describeStrangeClaims } from './issuers.ts';
import { isFolder, profilesIn } from './profiles.ts';

/**
 * Names the rules of profiles, and of issuers.yaml and log.yaml beside them, that can never speak. Resolves to 0 where there are
 * none, else to 1. Throws POLICY_INVALID for a faulty file.
 */
export async function lintPolicies(
  paths: readonly string[],
  { json }: { readonly json?: true },
): Promise<number> {
  let count = 0;
  for (const file of new Set(paths.flatMap(filesBeside))) {
    const { bytes } = readBoundedFile(file, { maxBytes: artifactBytes.policy });
    for (const { message, ...about } of lintBeside(file)(bytes)) {
      count++;
      if (json === true) await writeJson({ file, ...about, message });
      else await writeOut(`${plainLine(`${file}: ${message}`)}\n`);
    }
  }
  const profiles = paths.filter((it) => !isBeside(it)).flatMap(profilesIn);
  for (const path of profiles) {
    const { policy } = await readPolicyInput(path);
    for (const { member, message } of findSilentRules(policy)) {
      count++;
      if (json === true) await writeJson({ file: path, profile: policy.name, member, message });
      else await writeOut(`${plainLine(`${path}: ${member}: ${message}`)}\n`);
    }
  }
  if (count > 0) return exitCodes.no;
  if (json === true) return exitCodes.ok;
  if (profiles.length > 0 || !paths.some(isFolder))
    note(`csc: ${plural(profiles.length)}: every rule can speak`);
  else
    note('csc: no profile is here, of which rules could be silent; a repository has its in targets/policies');
  return exitCodes.ok;
}

const plural = (count: number): string => (count === 1 ? '1 profile' : `${count} profiles`);

type Finding = { readonly issuer?: string; readonly message: string };

// A policy repository has them beside the folder of its profiles.
const besides: Readonly<Record<string, (bytes: Uint8Array) => readonly Finding[]>> = {
  'issuers.yaml': describeStrangeClaims,
  'log.yaml': describeIdleWitnesses,
};

const isBeside = (path: string): boolean => Object.hasOwn(besides, basename(path));

const lintBeside = (file: string) => besides[basename(file)] ?? (() => []);

function filesBeside(path: string): string[] {
  if (isBeside(path)) return [path];
  if (path === '-' || !isFolder(path)) return [];
  return Object.keys(besides)
    .map((name) => join(path, '..', name))
    .filter((it) => existsSync(it));
}

function describeIdleWitnesses(logYaml: Uint8Array): Finding[] {
  const { witnessVkeys, quorum } = orThrow(parseLog(logYaml), 'POLICY_INVALID', 'log.yaml');
  if (quorum > 0 || witnessVkeys.length === 0) return [];
  return [
    { message: `quorum: 0 demands no witness: a receipt counts without the ${witnessVkeys.length} named` },
  ];
}
