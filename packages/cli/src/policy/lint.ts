import { existsSync } from 'node:fs';
import { basename, join } from 'node:path';
import { findSilentRules } from '@csc-fleet/common/containment';
import { artifactBytes } from '@csc-fleet/common/encoding';
import { readBoundedFile } from '@csc-fleet/common/files';
import { exitCodes } from '../action/exit-codes.ts';
import { readPolicyInput } from '../check/decide.ts';
import { writeJson, writeOut } from '../terminal/streams.ts';
import { plainLine } from '../terminal/text.ts';
import { describeStrangeClaims } from './issuers.ts';
import { isFolder, profilesIn } from './profiles.ts';

/** Names the rules of profiles, and of issuers.yaml beside them, that can never speak. Resolves to 0 where there are none, else to 1. */
export async function lintPolicies(
  paths: readonly string[],
  { json }: { readonly json?: true },
): Promise<number> {
  let count = 0;
  for (const file of new Set(paths.flatMap(issuersBeside))) {
    const { bytes } = readBoundedFile(file, { maxBytes: artifactBytes.policy });
    for (const { issuer, message } of describeStrangeClaims(bytes)) {
      count++;
      if (json === true) await writeJson({ file, issuer, message });
      else await writeOut(`${plainLine(`${file}: ${message}`)}\n`);
    }
  }
  for (const path of paths.filter((it) => !isIssuers(it)).flatMap(profilesIn)) {
    const { policy } = await readPolicyInput(path);
    for (const { member, message } of findSilentRules(policy)) {
      count++;
      if (json === true) await writeJson({ file: path, profile: policy.name, member, message });
      else await writeOut(`${plainLine(`${path}: ${member}: ${message}`)}\n`);
    }
  }
  return count === 0 ? exitCodes.ok : exitCodes.no;
}

const isIssuers = (path: string): boolean => basename(path) === 'issuers.yaml';

// A policy repository has it beside the folder of its profiles.
function issuersBeside(path: string): string[] {
  if (isIssuers(path)) return [path];
  const beside = join(path, '..', 'issuers.yaml');
  return path !== '-' && isFolder(path) && existsSync(beside) ? [beside] : [];
}
