import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { isPemText } from '@csc-fleet/common/files';
import { requireHost } from '@csc-fleet/sandbox/doctor';
import { type HostFacts, type KeptPlace, userPlaces } from '@csc-fleet/sandbox/plan';
import { toProbe } from './compose.ts';
import type { ExecutorConfig } from './config.ts';

/** What the commands of an executor stand on. */
export interface OwnHost {
  readonly facts: HostFacts;
  /**
   * Has no command write, nor read where it is secret, what this config names either: it is believed from the reload that has
   * read it, or the next start. What the config of the start names stays, as some of it is in use until the end.
   */
  keepOf(config: ExecutorConfig): void;
}

/**
 * What commands stand on, none of which may write this executor's program, its config, or what that names, nor read its
 * keys. Throws SANDBOX_UNAVAILABLE with what to do.
 */
export async function requireOwnHost(configPath: string, config: ExecutorConfig): Promise<OwnHost> {
  const first = findKept(configPath, config);
  let kept: readonly KeptPlace[] = first;
  const host = await requireHost(toProbe(config));
  return {
    facts: {
      ...host,
      get kept() {
        return kept;
      },
    },
    keepOf(next) {
      kept = [...first, ...findKept(configPath, next)];
    },
  };
}

// What it believes at its next start or reload, and what is secret. Beside their modes, as jobs of an executor that is not
// root are its own user.
export function findKept(configPath: string, config: ExecutorConfig): KeptPlace[] {
  const { tls, secrets } = config;
  const named = {
    policies: config.policies,
    'policy_repository.root': config.policyRepository?.root,
    trusted_gate_keys: config.trustedGateKeys,
    'tls.ca': tls.ca,
    'tls.cert': tls.cert,
    receipt_certificate: config.receiptCertificate,
    seccomp_profile: config.seccompProfile,
  };
  const secret = { 'tls.key': tls.key, signing_key: config.signingKey, ...secrets?.places };
  return [
    // Beside the bundle lies all that it starts.
    { path: dirname(fileURLToPath(import.meta.url)), name: 'the program of this executor' },
    { path: process.execPath, name: 'the Node.js of this executor' },
    // `env` has values in it, and a key may stand in it as text.
    { path: configPath, name: 'the config of this executor', isSecret: true },
    ...toPlaces(named),
    ...toPlaces(secret).map((place) => ({ ...place, isSecret: true as const })),
    ...userPlaces(process.env),
  ];
}

function toPlaces(named: Readonly<Record<string, string | undefined>>): KeptPlace[] {
  return Object.entries(named).flatMap(([member, path]) =>
    path === undefined || isPemText(path) ? [] : [{ path, name: `${member} of this executor’s config` }],
  );
}
