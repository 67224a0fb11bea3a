import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { requireHost } from '@csc-fleet/sandbox/doctor';
import type { HostFacts, KeptPlace } from '@csc-fleet/sandbox/plan';
import { toProbe } from './compose.ts';
import type { ExecutorConfig } from './config.ts';

/**
 * What the commands of an executor stand on, none of which may write its program, its config, or what that names. Throws SANDBOX_UNAVAILABLE with what to do.
 */
export function requireOwnHost(configPath: string, config: ExecutorConfig): Promise<HostFacts> {
  return requireHost({ ...toProbe(config), kept: findKept(configPath, config) });
}

/** Has no command write either what its config names now: it is believed from the reload that has read it, or the next start. */
export function keepAlso({ kept }: HostFacts, configPath: string, config: ExecutorConfig): void {
  for (const place of findKept(configPath, config))
    if (!kept.some(({ path }) => path === place.path)) kept.push(place);
}

// What it believes at its next start or reload. Beside their modes, as jobs of an executor that is not root are its own user.
function findKept(configPath: string, config: ExecutorConfig): KeptPlace[] {
  const { tls } = config;
  const named = {
    policies: config.policies,
    'policy_repository.root': config.policyRepository?.root,
    trusted_gate_keys: config.trustedGateKeys,
    'tls.ca': tls.ca,
    'tls.cert': tls.cert,
    'tls.key': tls.key,
    signing_key: config.signingKey,
    receipt_certificate: config.receiptCertificate,
    seccomp_profile: config.seccompProfile,
  };
  return [
    // Beside the bundle lies all that it starts.
    { path: dirname(fileURLToPath(import.meta.url)), name: 'the program of this executor' },
    { path: process.execPath, name: 'the Node.js of this executor' },
    { path: configPath, name: 'the config of this executor' },
    ...Object.entries(named).flatMap(([member, path]) =>
      path === undefined ? [] : [{ path, name: `${member} of this executor’s config` }],
    ),
  ];
}
