import { pathIn, readConfig } from '@csc-fleet/common/config';
import type { LogLevel } from '@csc-fleet/common/service';
import * as z from 'zod';

/** A CA's config as it is used: paths absolute, defaults filled in. */
export interface CaConfig {
  /** Where it stands. */
  readonly file: string;
  /** `HOST:PORT`; port 0 takes a free one. */
  readonly listen: string;
  /** DNS names and addresses that it is dialled by: of its TLS certificate. */
  readonly hosts: readonly string[];
  readonly trustDomain: string;
  /** PEM: the root's certificate. Its key is not needed here, and is better kept elsewhere. */
  readonly root: string;
  readonly issuing: { readonly certificate: string; readonly key: string; readonly passphraseFile?: string };
  readonly stateDir: string;
  /** How long certificates count, in milliseconds. */
  readonly lifeMs: number;
  /** What those who join are given of the fleet, as it stands in `file` when somebody joins. */
  readonly fleet: { readonly gate?: string; readonly gateKeys?: string; readonly policyRoot?: string };
  readonly logLevel: LogLevel;
}

/** The bounds of a certificate's life: shorter is renewed all the time; longer, and nobody misses what is revoked. */
export const lifeBounds = { least: 20, most: 7 * 24 * 3600, otherwise: 24 * 3600 };

/** Reads a CA's config file. Throws FILE_UNREADABLE, or CONFIG_INVALID with every fault. */
export function readCaConfig(file: string): CaConfig {
  const path = pathIn(file);
  const schema = z
    .strictObject({
      listen: z.string().regex(/^.+:\d{1,5}$/, 'must be HOST:PORT'),
      hosts: z.array(z.string().min(1)).min(1),
      trust_domain: z
        .string()
        .regex(/^[a-z0-9._-]{1,255}$/, 'takes lower-case letters, digits, ".", "_" and "-"'),
      root: path,
      issuing: z.strictObject({
        certificate: path,
        key: path,
        passphrase_file: path.exactOptional(),
      }),
      state_dir: path,
      life_sec: z.int().min(lifeBounds.least).max(lifeBounds.most).default(lifeBounds.otherwise),
      fleet: z
        .strictObject({
          gate: z
            .string()
            .regex(/^.+:\d{1,5}$/, 'must be HOST:PORT')
            .exactOptional(),
          gate_keys: path.exactOptional(),
          policy_root: path.exactOptional(),
        })
        .prefault({}),
      log_level: z.enum(['error', 'warn', 'info']).default('info'),
    })
    .transform((it): CaConfig => {
      const { gate, gate_keys: gateKeys, policy_root: policyRoot } = it.fleet;
      const { certificate, key, passphrase_file: passphraseFile } = it.issuing;
      return {
        file,
        listen: it.listen,
        hosts: it.hosts,
        trustDomain: it.trust_domain,
        root: it.root,
        issuing: { certificate, key, ...(passphraseFile === undefined ? {} : { passphraseFile }) },
        stateDir: it.state_dir,
        lifeMs: it.life_sec * 1000,
        fleet: {
          ...(gate === undefined ? {} : { gate }),
          ...(gateKeys === undefined ? {} : { gateKeys }),
          ...(policyRoot === undefined ? {} : { policyRoot }),
        },
        logLevel: it.log_level,
      };
    });
  return readConfig(file, schema);
}
