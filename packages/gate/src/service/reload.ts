import { artifactBytes } from '@csc-fleet/common/encoding';
import { orThrow } from '@csc-fleet/common/errors';
import { readBoundedFile } from '@csc-fleet/common/files';
import type { JsonLog } from '@csc-fleet/common/json-log';
import {
  type Bindings,
  checkBindings,
  type PolicySet,
  parseBindings,
  type ReloadableBindings,
  type ReloadablePolicySet,
} from '@csc-fleet/common/policy';
import { readPolicyDirectory } from '@csc-fleet/common/policy-directory';
import { needRestart } from '@csc-fleet/common/service';
import { type GateConfig, readGateConfig } from './config.ts';

/** The policies and bindings that a config names, held against each other. Throws FILE_UNREADABLE, POLICY_INVALID. */
export function readPolicies(config: GateConfig): { policies: PolicySet; bindings: Bindings } {
  const policies = readPolicyDirectory(config.policies);
  const { bytes } = readBoundedFile(config.bindings, { maxBytes: artifactBytes.policy });
  const bindings = orThrow(parseBindings(bytes), 'POLICY_INVALID', config.bindings);
  checkBindings(bindings, policies);
  return { policies, bindings };
}

/** What a reload puts something else into. */
export interface Reloadable {
  readonly policies: ReloadablePolicySet;
  readonly bindings: ReloadableBindings;
  readonly log: Pick<JsonLog, 'setLevel'>;
}

/** Reads config, policies and bindings once more, all of them before anything counts. Throws what they throw. */
export function createReload(configFile: string, config: GateConfig, parts: Reloadable): () => object {
  return () => {
    const next = readGateConfig(configFile);
    const { policies, bindings } = readPolicies(next);
    parts.policies.replace(policies);
    parts.bindings.replace(bindings);
    parts.log.setLevel(next.logLevel);
    return {
      policies: policies.all().map(({ policy }) => policy.name),
      needs_restart: needRestart(config, next, ['policies', 'bindings', 'logLevel']),
    };
  };
}
