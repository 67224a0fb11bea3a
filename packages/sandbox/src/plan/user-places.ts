import { userDirectories } from '@csc-fleet/common/files';
import type { KeptPlace } from './facts.ts';

/**
 * What this process's user has of csc: what it remembers (executors' keys, logs of receipts, used approvals), what it is set
 * up with, its keys among it, and what it has found out, which is no secret. Where the environment has it, and where a csc
 * without these variables would.
 */
export function userPlaces(env: NodeJS.ProcessEnv): KeptPlace[] {
  const { state, config, cache } = userDirectories(env);
  const toPlaces = (paths: readonly string[], name: string): KeptPlace[] =>
    paths.map((path) => ({ path, name }));
  const secret = [
    ...toPlaces(state, 'the state directory of csc (below XDG_STATE_HOME)'),
    ...toPlaces(config, 'the config directory of csc (below XDG_CONFIG_HOME)'),
  ];
  return [
    ...secret.map((place) => ({ ...place, isSecret: true as const })),
    ...toPlaces(cache, 'the cache directory of csc (below XDG_CACHE_HOME)'),
  ];
}
