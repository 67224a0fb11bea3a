import { probeHost } from '@csc-fleet/sandbox/doctor';
import type { HostFacts } from '@csc-fleet/sandbox/plan';
import { cacheDirectory, configDirectory, defaultStateDir } from '../files/write-file.ts';

/**
 * As `probeHost`, for whoever runs one contract on this host: what can be found out anew is kept for the next, and no job
 * may write that, nor what this user's csc remembers (executors' keys, logs of receipts, used approvals) or is set up with.
 */
export function probeOwnHost(acceptRlimitsOnly: boolean): Promise<HostFacts> {
  const { env } = process;
  return probeHost({
    acceptRlimitsOnly,
    opensCgroups: true,
    keptIn: cacheDirectory(env),
    kept: [
      { path: defaultStateDir(env), name: 'the state directory of csc (below XDG_STATE_HOME)' },
      { path: configDirectory(env), name: 'the config directory of csc (below XDG_CONFIG_HOME)' },
    ],
  });
}
