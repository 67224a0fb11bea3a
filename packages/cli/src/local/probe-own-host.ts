import { isPemText, userDirectories } from '@csc-fleet/common/files';
import { probeHost } from '@csc-fleet/sandbox/doctor';
import { type HostFacts, type KeptPlace, userPlaces } from '@csc-fleet/sandbox/plan';
import { isStdin } from '../files/read-input.ts';

/**
 * As `probeHost`, for whoever runs one contract on this host: what can be found out anew is kept for the next, and no job
 * may write that, nor what this user's csc remembers or is set up with, nor read what of it is secret.
 * @param signingKey the file of the key that signs the receipt. Absent, the key itself or standard input: there is no such file
 */
export function probeOwnHost(acceptRlimitsOnly: boolean, signingKey?: string): Promise<HostFacts> {
  const { env } = process;
  const [cache] = userDirectories(env).cache;
  const key: KeptPlace[] =
    signingKey === undefined || isPemText(signingKey) || isStdin(signingKey)
      ? []
      : [{ path: signingKey, name: 'the key that signs the receipt (--signing-key)', isSecret: true }];
  return probeHost({
    acceptRlimitsOnly,
    opensCgroups: true,
    ...(cache === undefined ? {} : { keptIn: cache }),
    kept: [...userPlaces(env), ...key],
  });
}
