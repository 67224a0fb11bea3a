import { availableParallelism } from 'node:os';
import { type DualControl, dualControls } from '@csc-fleet/common/approval';
import { camelKeys, pathIn, pemIn, readConfig, resolveFrom } from '@csc-fleet/common/config';
import { CscError } from '@csc-fleet/common/errors';
import { limitsSchema } from '@csc-fleet/common/limits';
import { labelName, labelValue } from '@csc-fleet/common/schema';
import type { LogLevel } from '@csc-fleet/common/service';
import { type TelemetryConfig, telemetrySchema } from '@csc-fleet/common/telemetry';
import type { Reserve } from '@csc-fleet/sandbox/cgroup';
import { isPool, type RunAs } from '@csc-fleet/sandbox/host';
import { defaultReserve, defaultRunLimits, type RunLimits } from '@csc-fleet/sandbox/plan';
import * as z from 'zod';
import type { HostCeiling } from '../admission/host-ceiling.ts';
import { ceilingConfig } from '../admission/host-ceiling.ts';
import type { SubmissionRules } from '../admission/submission.ts';
import type { ExecutionMode } from '../evidence/index.ts';
import { defaultOutputLimits, type OutputLimits } from '../output/limits.ts';
import { createSecretProvider, type SecretProvider, secretsConfig } from '../secrets/index.ts';
import type { RepositoryConfig } from './owners.ts';

/** An executor's config as it is used: paths absolute, defaults filled in. */
export interface ExecutorConfig {
  /** Absent: the certificate's name. */
  readonly executorId?: string;
  /** `HOST:PORT`. */
  readonly gateAddress: string;
  readonly tls: { readonly ca: string; readonly cert: string; readonly key: string };
  /** `HOST:PORT` of the fleet's CA, which renews the certificates. Absent: their owner does. */
  readonly caAddress?: string;
  /** A key ring file: the keys of the gates whose tickets count here. */
  readonly trustedGateKeys: string;
  /** The directory of the owner's policy files. Absent: there is a repository. */
  readonly policies?: string;
  /** Absent: there is a directory, and the gate is trusted to say who may use which policy. */
  readonly policyRepository?: RepositoryConfig;
  readonly submissions: SubmissionRules;
  readonly stateDir: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly slots: number;
  readonly runAs?: RunAs;
  /** Values of the variables that a contract's env_allow may name. */
  readonly env: Readonly<Record<string, string>>;
  readonly limits: OutputLimits;
  readonly runLimits: RunLimits;
  /** What all jobs together leave to the executor and the rest of the host. */
  readonly reserve: Reserve;
  /** Whether jobs may run where this host has no cgroups to offer. */
  readonly acceptRlimitsOnly: boolean;
  /** A file with a further system call filter. */
  readonly seccompProfile?: string;
  readonly ceiling: HostCeiling;
  /** Makes the provider of secrets; absent where there are none. */
  readonly secrets?: SecretProvider;
  readonly acceptUnsignedApprovals: boolean;
  /** What a contract's dual_control_required comes to. */
  readonly dualControl: DualControl;
  readonly executionMode: ExecutionMode;
  /** A PEM file: the certificate of the receipt key. Absent: who verifies must know the key, or ask a gate. */
  readonly receiptCertificate?: string;
  /** Whether the receipt of everything that runs is attested, whoever asks. */
  readonly attestReceipts: boolean;
  /** Days that receipts are kept in the state directory. */
  readonly receiptRetentionDays: number;
  /** Absent: all of those days, however many bytes. */
  readonly receiptRetentionBytes?: number;
  /** What is less serious is not logged. */
  readonly logLevel: LogLevel;
  /** Absent: neither metrics nor traces. */
  readonly telemetry?: TelemetryConfig;
  /** A private key file. Absent: a key that is made in the state directory. */
  readonly signingKey?: string;
}

const bytes = z.int().min(0);
// user_namespaces(7): 2^32 - 1 means "no id".
const id = z.int().min(1).max(4_294_967_294);
/** An account's or a group's name, or an id, which needs neither. */
const nameOrId = z.union([z.string().min(1), id]);
const maxSlots = 1024;
const variable = z
  .string()
  .regex(/^[A-Za-z_][A-Za-z0-9_]*$/, 'must be a variable name: letters, digits and _');

const least = (min: number) => z.int().min(min);
const runDefaults = defaultRunLimits();
const limitMembers = limitsSchema.required().shape;
const runLimitMembers = {
  memory_bytes: limitMembers.memory_bytes.default(runDefaults.memory_bytes),
  processes: limitMembers.processes.default(runDefaults.processes),
  cpu_millis: limitMembers.cpu_millis.default(runDefaults.cpu_millis),
  open_files: limitMembers.open_files.default(runDefaults.open_files),
  file_bytes: limitMembers.file_bytes.default(runDefaults.file_bytes),
  tmp_bytes: limitMembers.tmp_bytes.default(runDefaults.tmp_bytes),
  write_bytes: limitMembers.write_bytes.default(runDefaults.write_bytes),
  write_files: limitMembers.write_files.default(runDefaults.write_files),
  artifact_bytes: limitMembers.artifact_bytes.default(runDefaults.artifact_bytes),
  artifact_sec: limitMembers.artifact_sec.default(runDefaults.artifact_sec),
};

/** What an executor's config file may say. */
function executorFile(file: string) {
  const path = pathIn(file);
  const pem = pemIn(file);
  return z.strictObject({
    executor_id: z.string().min(1).exactOptional(),
    gate: z.strictObject({ address: z.string().regex(/^.+:\d{1,5}$/, 'must be HOST:PORT') }),
    tls: z.strictObject({ ca: pem, cert: pem, key: pem }),
    ca: z.strictObject({ address: z.string().regex(/^.+:\d{1,5}$/, 'must be HOST:PORT') }).exactOptional(),
    trusted_gate_keys: path,
    policies: path.exactOptional(),
    policy_repository: z
      .strictObject({
        root: path,
        from: z
          .string()
          .min(1)
          .transform((from) => (from === 'gate' ? from : resolveFrom(file, from))),
        max_staleness_sec: z
          .int()
          .min(10)
          .default(24 * 3600),
        max_owners_age_sec: z.int().min(10).exactOptional(),
        refresh_sec: z.int().min(1).default(60),
      })
      .transform(camelKeys)
      .exactOptional(),
    require_signed_submissions: z.boolean().exactOptional(),
    enforce: z.enum(['enforce', 'warn']).default('enforce'),
    state_dir: path,
    labels: z.record(labelName, labelValue).default({}),
    slots: z.int().min(1).max(maxSlots).exactOptional(),
    run_as: z
      .union([
        z.literal('auto').transform(() => ({ auto: true }) as const),
        z.strictObject({ user: z.string().min(1) }).transform(({ user }) => user),
        z.strictObject({ uid: id, gid: id }),
        z.strictObject({ pool: z.array(nameOrId).min(1).max(maxSlots), group: nameOrId }),
      ])
      .exactOptional(),
    env: z.record(variable, z.string()).default({}),
    limits: z
      .strictObject({
        stdout_bytes: bytes.default(defaultOutputLimits.stdoutBytes),
        stderr_bytes: bytes.default(defaultOutputLimits.stderrBytes),
        spool_bytes: bytes.default(defaultOutputLimits.spoolBytes),
        ...runLimitMembers,
      })
      .prefault({}),
    reserve: z
      .strictObject({
        memory_bytes: bytes.default(defaultReserve.memory_bytes),
        cpu_millis: least(0).default(defaultReserve.cpu_millis),
      })
      .prefault({}),
    accept_rlimits_only: z.boolean().default(false),
    seccomp_profile: path.exactOptional(),
    ceiling: ceilingConfig,
    secrets: secretsConfig
      .transform((secrets) => createSecretProvider(secrets, (it) => resolveFrom(file, it)))
      .exactOptional(),
    accept_unsigned_approvals: z.boolean().default(false),
    dual_control: z.enum(dualControls).default('refuse'),
    execution_mode: z.enum(['hardened', 'local']).default('hardened'),
    signing_key: pem.exactOptional(),
    receipt_certificate: pem.exactOptional(),
    attest_receipts: z.boolean().default(false),
    receipt_retention_days: z.int().min(1).max(36_500).default(400),
    receipt_retention_bytes: z
      .int()
      .min(1024 * 1024)
      .exactOptional(),
    log_level: z.enum(['error', 'warn', 'info']).default('info'),
    telemetry: telemetrySchema('loopback').exactOptional(),
  });
}

/** Reads an executor's config file. Throws FILE_UNREADABLE, or CONFIG_INVALID with every fault. */
export function readExecutorConfig(file: string): ExecutorConfig {
  return readConfig(
    file,
    executorFile(file)
      .superRefine(checkPolicySource, { when: () => true })
      .transform(toExecutorConfig),
    'executor',
  );
}

/**
 * Throws CONFIG_INVALID where a root executor is not told whom its jobs run as: an account that was chosen for it may
 * own files of others, as nobody's often are.
 */
export function checkRunAs(
  { runAs, executionMode }: Pick<ExecutorConfig, 'runAs' | 'executionMode'>,
  uid = process.geteuid?.(),
): void {
  if (uid !== 0 || runAs !== undefined || executionMode === 'local') return;
  const message =
    'run_as is missing, and this executor is root: name the account that jobs run as (run_as: { user: csc-job }), or say run_as: auto, which takes csc-job where there is such an account, else nobody';
  throw new CscError('CONFIG_INVALID', message);
}

function toExecutorConfig(
  config: z.output<ReturnType<typeof executorFile>>,
  context: z.core.$RefinementCtx,
): ExecutorConfig {
  const { gate, ca, limits, slots, enforce, requireSignedSubmissions, ...rest } = camelKeys(config);
  const {
    stdout_bytes: stdoutBytes,
    stderr_bytes: stderrBytes,
    spool_bytes: spoolBytes,
    ...runLimits
  } = limits;
  const { maxOwnersAgeSec } = rest.policyRepository ?? {};
  return {
    ...rest,
    gateAddress: gate.address,
    ...(ca === undefined ? {} : { caAddress: ca.address }),
    submissions: {
      required: requireSignedSubmissions ?? rest.policyRepository !== undefined,
      enforce,
      maxStalenessMs: (rest.policyRepository?.maxStalenessSec ?? 0) * 1000,
      ...(maxOwnersAgeSec === undefined ? {} : { maxOwnersAgeMs: maxOwnersAgeSec * 1000 }),
    },
    slots: toSlots(slots, rest.runAs, context),
    limits: { stdoutBytes, stderrBytes, spoolBytes },
    runLimits,
  };
}

// Beside the other faults, so that all come at once: the value may be anything.
function checkPolicySource(value: unknown, context: z.core.$RefinementCtx): void {
  const file: Record<string, unknown> = { ...(typeof value === 'object' ? value : {}) };
  const fault = (path: string, message: string): void =>
    context.addIssue({ code: 'custom', path: [path], message });
  const [isPlain, isSigned] = [file['policies'] !== undefined, file['policy_repository'] !== undefined];
  if (!isPlain && !isSigned)
    fault('policies', 'is required; or, instead of it, the owners’ policy_repository');
  if (isPlain && isSigned) fault('policies', 'must not stand beside policy_repository: leave it out');
  if (isPlain && file['require_signed_submissions'] === true) {
    const message = 'takes a policy_repository, whose bindings say which keys sign for whom';
    fault('require_signed_submissions', message);
  }
}

// A slot without a user would never be used; it is the operator's to say which of the two numbers is meant.
function toSlots(
  slots: number | undefined,
  runAs: RunAs | undefined,
  context: z.core.$RefinementCtx,
): number {
  const users = isPool(runAs) ? runAs.pool.length : Number.POSITIVE_INFINITY;
  if (slots === undefined) return Math.min(availableParallelism(), users);
  if (slots <= users) return slots;
  const message = `is ${slots}, and run_as.pool has ${users} users: each slot needs one`;
  context.addIssue({ code: 'custom', path: ['slots'], message });
  return z.NEVER;
}
