import { availableParallelism } from 'node:os';
import { readConfig, resolveFrom } from '@csc-fleet/common/config';
import * as z from 'zod';
import { defaultLimits, type ExecutionMode, type ExecutorLimits } from './limits.ts';
import type { RunAs } from './sandbox/index.ts';

/** An executor's config as it is used: paths absolute, defaults filled in. */
export interface ExecutorConfig {
  /** Absent: the certificate's name. */
  readonly executorId?: string;
  /** `HOST:PORT`. */
  readonly gateAddress: string;
  readonly tls: { readonly ca: string; readonly cert: string; readonly key: string };
  /** A key ring file: the keys of the gates whose tickets count here. */
  readonly trustedGateKeys: string;
  /** The directory of the owner's policy files. */
  readonly policies: string;
  readonly stateDir: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly slots: number;
  readonly runAs?: RunAs;
  /** Values of the variables that a contract's env_allow may name. */
  readonly env: Readonly<Record<string, string>>;
  readonly limits: ExecutorLimits;
  readonly acceptUnsignedApprovals: boolean;
  readonly executionMode: ExecutionMode;
  /** A private key file. Absent: a key that is made in the state directory. */
  readonly signingKey?: string;
}

const path = z.string().min(1);
const bytes = z.int().min(0);
// user_namespaces(7): 2^32 - 1 means "no id".
const id = z.int().min(1).max(4_294_967_294);
const variable = z
  .string()
  .regex(/^[A-Za-z_][A-Za-z0-9_]*$/, 'must be a variable name: letters, digits and _');

const schema = z.strictObject({
  executor_id: z.string().min(1).optional(),
  gate: z.strictObject({ address: z.string().regex(/^.+:\d{1,5}$/, 'must be HOST:PORT') }),
  tls: z.strictObject({ ca: path, cert: path, key: path }),
  trusted_gate_keys: path,
  policies: path,
  state_dir: path,
  labels: z.record(z.string().min(1).max(63), z.string().max(255)).default({}),
  slots: z.int().min(1).max(1024).optional(),
  run_as: z
    .union([z.strictObject({ user: z.string().min(1) }), z.strictObject({ uid: id, gid: id })])
    .optional(),
  env: z.record(variable, z.string()).default({}),
  limits: z
    .strictObject({
      stdout_bytes: bytes.default(defaultLimits.stdoutBytes),
      stderr_bytes: bytes.default(defaultLimits.stderrBytes),
      spool_bytes: bytes.default(defaultLimits.spoolBytes),
      artifact_bytes: bytes.default(defaultLimits.artifactBytes),
    })
    .prefault({}),
  accept_unsigned_approvals: z.boolean().default(false),
  execution_mode: z.enum(['hardened', 'local']).default('hardened'),
  signing_key: path.optional(),
});

/** Reads an executor's config file. Throws FILE_UNREADABLE, or CONFIG_INVALID with every fault. */
export function readExecutorConfig(file: string): ExecutorConfig {
  const config = readConfig(file, schema);
  const from = (relative: string) => resolveFrom(file, relative);
  const { executor_id, signing_key, run_as, limits } = config;
  return {
    ...(executor_id === undefined ? {} : { executorId: executor_id }),
    gateAddress: config.gate.address,
    tls: { ca: from(config.tls.ca), cert: from(config.tls.cert), key: from(config.tls.key) },
    trustedGateKeys: from(config.trusted_gate_keys),
    policies: from(config.policies),
    stateDir: from(config.state_dir),
    labels: config.labels,
    slots: config.slots ?? availableParallelism(),
    ...(run_as === undefined ? {} : { runAs: 'user' in run_as ? run_as.user : run_as }),
    env: config.env,
    limits: {
      stdoutBytes: limits.stdout_bytes,
      stderrBytes: limits.stderr_bytes,
      spoolBytes: limits.spool_bytes,
      artifactBytes: limits.artifact_bytes,
    },
    acceptUnsignedApprovals: config.accept_unsigned_approvals,
    executionMode: config.execution_mode,
    ...(signing_key === undefined ? {} : { signingKey: from(signing_key) }),
  };
}
