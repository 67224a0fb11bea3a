import { findSilentRules } from '@csc-fleet/common/containment';
import { exitCodes } from '../action/exit-codes.ts';
import { readPolicyInput } from '../check/decide.ts';
import { writeJson, writeOut } from '../terminal/streams.ts';
import { plainLine } from '../terminal/text.ts';
import { profilesIn } from './profiles.ts';

/** Names the rules of profiles that can never speak. Resolves to 0 where there are none, else to 1. */
export async function lintPolicies(
  paths: readonly string[],
  { json }: { readonly json?: true },
): Promise<number> {
  let count = 0;
  for (const path of paths.flatMap(profilesIn)) {
    const { policy } = await readPolicyInput(path);
    for (const { member, message } of findSilentRules(policy)) {
      count++;
      if (json === true) await writeJson({ file: path, profile: policy.name, member, message });
      else await writeOut(`${plainLine(`${path}: ${member}: ${message}`)}\n`);
    }
  }
  return count === 0 ? exitCodes.ok : exitCodes.no;
}
