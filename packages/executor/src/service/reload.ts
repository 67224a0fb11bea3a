import type { JsonLog } from '@csc-fleet/common/json-log';
import type { ReloadablePolicySet } from '@csc-fleet/common/policy';
import { needRestart } from '@csc-fleet/common/service';
import type { GateLink } from '../link/grpc-link.ts';
import { type ExecutorConfig, readExecutorConfig } from './config.ts';
import { readOwnersPolicies } from './owners-files.ts';

/** What a reload puts something else into. */
export interface Reloadable {
  readonly policies: ReloadablePolicySet;
  readonly link: Pick<GateLink, 'renew'>;
  readonly log: JsonLog;
}

/**
 * Reads config and policies once more, all of them before anything counts. What runs keeps the policy that it was granted
 * by; what comes is held against the new ones, and the gate is told anew which they are. Throws what readExecutorConfig
 * and readOwnersPolicies do.
 */
export function createReload(configPath: string, config: ExecutorConfig, parts: Reloadable): () => object {
  return () => {
    const next = readExecutorConfig(configPath);
    const policies = readOwnersPolicies(next.policies);
    const hashes = (): string => String(parts.policies.all().map((it) => it.sha256));
    const before = hashes();
    parts.policies.replace(policies);
    parts.log.setLevel(next.logLevel);
    if (hashes() !== before) parts.link.renew();
    return {
      policies: policies.all().map(({ policy }) => policy.name),
      needs_restart: needRestart(config, next, ['policies', 'logLevel'], { runLimits: 'limits' }),
    };
  };
}
