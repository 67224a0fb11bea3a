import type { JsonLog } from '@csc-fleet/common/json-log';
import type { PolicySet, ReloadablePolicySet } from '@csc-fleet/common/policy';
import { needRestart } from '@csc-fleet/common/service';
import type { GateLink } from '../link/grpc-link.ts';
import { type ExecutorConfig, readExecutorConfig } from './config.ts';
import type { HostOwners } from './owners.ts';
import { readOwnersPolicies } from './owners-files.ts';

/** What a reload puts something else into. */
export interface Reloadable {
  /** Absent: there is a repository. */
  readonly policies?: ReloadablePolicySet;
  readonly owners: Pick<HostOwners, 'refresh'>;
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
    const replaced =
      next.policies === undefined ? {} : replacePolicies(readOwnersPolicies(next.policies), parts);
    parts.log.setLevel(next.logLevel);
    void parts.owners.refresh();
    return {
      ...replaced,
      needs_restart: needRestart(config, next, ['policies', 'logLevel'], { runLimits: 'limits' }),
    };
  };
}

function replacePolicies(
  next: PolicySet,
  { policies, link }: Pick<Reloadable, 'policies' | 'link'>,
): { readonly policies?: readonly string[] } {
  if (policies === undefined) return {};
  const hashes = (): string => String(policies.all().map((it) => it.sha256));
  const before = hashes();
  policies.replace(next);
  if (hashes() !== before) link.renew();
  return { policies: next.all().map(({ policy }) => policy.name) };
}
