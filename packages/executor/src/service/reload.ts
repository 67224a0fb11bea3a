import type { JsonLog } from '@csc-fleet/common/json-log';
import type { PolicySet, ReloadablePolicySet } from '@csc-fleet/common/policy';
import { type LogFields, needRestart } from '@csc-fleet/common/service';
import type { GateLink } from '../link/grpc-link.ts';
import { type ExecutorConfig, readExecutorConfig } from './config.ts';
import type { OwnHost } from './own-host.ts';
import type { HostOwners } from './owners.ts';
import { readOwnersPolicies } from './owners-files.ts';
import type { ReloadableSecrets } from './renewables.ts';

/** What a reload puts something else into. */
export interface Reloadable {
  /** Absent: there is a repository. */
  readonly policies?: ReloadablePolicySet;
  readonly owners: Pick<HostOwners, 'refresh'>;
  readonly link: Pick<GateLink, 'renew'>;
  readonly secrets: Pick<ReloadableSecrets, 'replace'>;
  readonly log: JsonLog;
  /** What commands stand on. Absent: they have no sandbox. */
  readonly host?: Pick<OwnHost, 'keepOf'>;
}

/**
 * Reads config and policies once more. Gives what puts them into place, and then what to log of it. What runs keeps the
 * policy that it was granted by; what comes is held against the new ones, and the gate is told anew which they are. Throws
 * what readExecutorConfig and readOwnersPolicies do, and where the secrets' place cannot be used.
 */
export function createReload(
  configPath: string,
  config: ExecutorConfig,
  parts: Reloadable,
): () => () => LogFields {
  return () => {
    const next = readExecutorConfig(configPath);
    const policies = next.policies === undefined ? undefined : readOwnersPolicies(next.policies);
    next.secrets?.check?.();
    return () => {
      parts.host?.keepOf(next);
      const replaced = policies === undefined ? {} : replacePolicies(policies, parts);
      parts.secrets.replace(next.secrets);
      parts.log.setLevel(next.logLevel);
      void parts.owners.refresh();
      const reloaded = ['policies', 'logLevel', 'secrets'] as const;
      return {
        ...replaced,
        needs_restart: needRestart(config, next, reloaded, { runLimits: 'limits', caAddress: 'ca' }),
      };
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
