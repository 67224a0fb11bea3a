import { type DualControl, dualControls } from '@csc-fleet/common/approval';
import { camelKeys, pathIn, pemIn, readConfig } from '@csc-fleet/common/config';
import type { LogLevel } from '@csc-fleet/common/service';
import { type TelemetryConfig, telemetrySchema } from '@csc-fleet/common/telemetry';
import * as z from 'zod';
import type { StreamLimits } from '../output/grant.ts';
import type { RetentionLimits } from '../retention/retention.ts';
import type { CallRate, TrafficLimits } from '../traffic/limits.ts';
import { type WebhookEntry, webhooksSchema } from '../webhooks/config.ts';

/** The call rates are of each client identity. */
export interface GateLimits extends CallRate {
  /** The largest request of a client, in bytes. */
  readonly maxMessageBytes: number;
  readonly traffic: TrafficLimits;
  /** Executions that wait, of all principals together. */
  readonly maxQueued: number;
  /** The longest that an execution may wait for an executor. */
  readonly queueTimeoutSec: number;
  /** Bytes that are stored for one principal in a day (UTC): contracts, decisions, receipts of the gate. */
  readonly storedBytesPerDay: number;
  readonly output: StreamLimits;
  /** Receipt keys that one executor may ever have. */
  readonly executorKeys: number;
  /** For an executor's answer to an offer; the tickets of offers live twice as long. */
  readonly offerDeadlineSec: number;
}

/** Where a gate has the owners' policy repository from. */
export interface GateRepositoryConfig {
  /** The owners' folder, or a copy of it: what lies in `published` is served to executors. */
  readonly directory: string;
  /** The root.json that the gate's owner has pinned. */
  readonly root: string;
  /** The private key that refreshes what is published. Absent: somebody else does. */
  readonly onlineKey?: string;
  /** How often it signs with it that there is nothing newer. Absent: every 5 minutes. */
  readonly resignSec?: number;
  /** How often something newer is looked for. */
  readonly refreshSec: number;
}

/** A gate's config as it is used: paths absolute, defaults filled in. */
export interface GateConfig {
  readonly gateId: string;
  /** `HOST:PORT`. */
  readonly listen: string;
  readonly dataDir: string;
  /** Absent: a development PKI in `dataDir/pki`. */
  readonly tls?: { readonly ca: string; readonly cert: string; readonly key: string };
  /** The fleet's CA, `HOST:PORT`, which renews the certificate. Absent: its owner does. */
  readonly ca?: { readonly address: string };
  /** A folder of policy files; with it comes `bindings`. Absent: there is a repository. */
  readonly policies?: string;
  readonly bindings?: string;
  /** Absent: there are `policies` and `bindings`. */
  readonly policyRepository?: GateRepositoryConfig;
  /** A private key file. Absent: one that is made in the data directory. */
  readonly signingKey?: string;
  readonly limits: GateLimits;
  readonly retention: RetentionLimits;
  readonly acceptUnsignedApprovals: boolean;
  readonly keepDeniedContracts: boolean;
  /** Whether a request without a signed submission is refused here, whatever hosts ask for. */
  readonly requireSignedSubmissions: boolean;
  /** Whether clients may come with an OIDC token instead of a certificate of the CA. */
  readonly acceptTokens: boolean;
  /** What a contract's dual_control_required comes to. */
  readonly dualControl: DualControl;
  /** How long an executor may be away before what it had is LOST. */
  readonly executorLostAfterSec: number;
  readonly heartbeatIntervalSec: number;
  /** How long a decision stands, and an execution waits for its approval. */
  readonly decisionTtlSec: number;
  /** Who is told of approvals. Empty: nobody. */
  readonly webhooks: readonly WebhookEntry[];
  /** What is less serious is not logged. */
  readonly logLevel: LogLevel;
  /** Who is asked to cosign the log of receipts. Absent: nobody. */
  readonly witnesses?: readonly { readonly url: string; readonly vkey: string }[];
  /** Absent: neither metrics nor traces. */
  readonly telemetry?: TelemetryConfig;
}

const positive = z.int().min(1);
// More than any host captures by default: the host's own limit counts unless the owner says otherwise here. A host that
// is taken over can fill as much of the gate's disk with one execution.
const defaultOutputBytes = 4 * 1024 ** 3;

const outputSchema = z.strictObject({
  stdout_bytes: z.int().min(0).default(defaultOutputBytes),
  stderr_bytes: z.int().min(0).default(defaultOutputBytes),
});

const executorSchema = z
  .strictObject({
    requests_per_sec: positive.default(1000),
    burst: positive.default(2000),
    concurrent_calls: positive.default(1000),
  })
  .prefault({})
  .transform(camelKeys);

const connectionsSchema = z
  .strictObject({
    total: positive.default(10_000),
    per_address: positive.default(4096),
    per_identity: positive.default(256),
    silent_per_address: positive.default(256),
    handshakes_per_sec: positive.default(100),
    handshake_timeout_sec: positive.max(120).default(5),
  })
  .prefault({})
  .transform(camelKeys);

const limitsInFile = z
  .strictObject({
    max_message_bytes: positive.min(64 * 1024).default(4 * 1024 * 1024),
    requests_per_sec: positive.default(100),
    burst: positive.default(200),
    concurrent_calls: positive.default(100),
    executor: executorSchema,
    message_timeout_sec: positive.max(600).default(10),
    bytes_in_flight: positive.min(8 * 1024 * 1024).default(16 * 1024 * 1024),
    total_bytes_in_flight: positive.min(8 * 1024 * 1024).default(64 * 1024 * 1024),
    connections: connectionsSchema,
    max_queued: positive.default(10_000),
    queue_timeout_sec: positive.default(3600),
    stored_bytes_per_day: positive.default(1024 * 1024 * 1024),
    output: outputSchema.prefault({}),
    executor_keys: positive.max(100).default(4),
    // Twice as long is at most a minute.
    offer_deadline_sec: positive.max(30).default(5),
  })
  .prefault({});

const retentionSchema = z
  .strictObject({
    max_age_days: positive.max(36_500).default(30),
    max_bytes: positive.min(64 * 1024 * 1024).default(10 * 1024 ** 3),
    receipts_days: positive.max(36_500).default(365),
  })
  .refine((it) => it.receipts_days >= it.max_age_days, {
    path: ['receipts_days'],
    error: 'must be max_age_days at least: receipts are kept longest',
  })
  .prefault({})
  .transform(camelKeys);

const witnessSchema = z
  .strictObject({
    url: z.url({ protocol: /^https?$/, error: 'must be the http or https URL of a witness' }).max(512),
    vkey: z.string().max(512),
  })
  .readonly();

const limitsSchema = limitsInFile.transform(toLimits);

/** What a gate's config file may say, and what it comes to. */
function gateSchema(file: string) {
  const path = pathIn(file);
  const pem = pemIn(file);
  return z
    .strictObject({
      gate_id: z
        .string()
        .regex(/^[A-Za-z0-9._-]{1,64}$/, 'must be 1 to 64 letters, digits, dots, dashes or underscores')
        .default('gate'),
      listen: z
        .string()
        .regex(/^.+:\d{1,5}$/, 'must be HOST:PORT')
        .refine((it) => !(Number(it.slice(it.lastIndexOf(':') + 1)) > 65_535), 'has a port above 65535')
        .default('127.0.0.1:7443'),
      data_dir: path,
      tls: z.strictObject({ ca: pem, cert: pem, key: pem }).exactOptional(),
      ca: z.strictObject({ address: z.string().regex(/^.+:\d{1,5}$/, 'must be HOST:PORT') }).exactOptional(),
      policies: path.exactOptional(),
      bindings: path.exactOptional(),
      policy_repository: z
        .strictObject({
          directory: path,
          root: path,
          online_key: pem.exactOptional(),
          resign_sec: positive.max(24 * 3600).exactOptional(),
          refresh_sec: positive.max(3600).default(10),
        })
        .transform(camelKeys)
        .exactOptional(),
      signing_key: pem.exactOptional(),
      limits: limitsSchema,
      retention: retentionSchema,
      accept_unsigned_approvals: z.boolean().default(false),
      keep_denied_contracts: z.boolean().default(false),
      require_signed_submissions: z.boolean().default(false),
      accept_tokens: z.boolean().default(false),
      dual_control: z.enum(dualControls).default('refuse'),
      executor_lost_after_sec: positive.default(300),
      heartbeat_interval_sec: positive.max(300).default(10),
      decision_ttl_sec: positive.default(24 * 3600),
      webhooks: webhooksSchema(file).default([]),
      log_level: z.enum(['error', 'warn', 'info']).default('info'),
      witnesses: z.array(witnessSchema).max(16).exactOptional(),
      telemetry: telemetrySchema('network').exactOptional(),
    })
    .superRefine(checkOneSource, { when: () => true })
    .transform(camelKeys);
}

/** Reads a gate's config file. Throws FILE_UNREADABLE, or CONFIG_INVALID with every fault. */
export function readGateConfig(file: string): GateConfig {
  return readConfig(file, gateSchema(file), 'gate');
}

// Beside the other faults, so that all come at once: the value may be anything.
function checkOneSource(value: unknown, context: z.core.$RefinementCtx): void {
  const file: Record<string, unknown> = { ...(typeof value === 'object' ? value : {}) };
  const missing = (name: string): boolean => file[name] === undefined;
  const fault = (path: string, message: string): void =>
    context.addIssue({ code: 'custom', path: [path], message });
  if (file['accept_tokens'] === true && missing('policy_repository'))
    fault('accept_tokens', 'needs a policy_repository, whose issuers.yaml says what a token means');
  if (missing('policy_repository')) {
    if (missing('policies'))
      fault('policies', 'is required, as is bindings; or, instead of both, the owners’ policy_repository');
    if (missing('bindings'))
      fault('bindings', 'is required, as is policies; or, instead of both, the owners’ policy_repository');
    return;
  }
  for (const name of ['policies', 'bindings'])
    if (!missing(name))
      fault(name, 'must not stand beside policy_repository, which brings its own: leave it out');
}

/** What a gate keeps whose config does not say. */
export function defaultRetention(): RetentionLimits {
  return retentionSchema.parse({});
}

/** The limits of a gate whose config names none. */
export function defaultGateLimits(): GateLimits {
  return limitsSchema.parse({});
}

// What is counted before it is known who calls stands apart from the rest.
function toLimits(limits: z.output<typeof limitsInFile>): GateLimits {
  const { executor, connections, messageTimeoutSec, bytesInFlight, totalBytesInFlight, ...rest } =
    camelKeys(limits);
  return {
    ...rest,
    traffic: { executor, connections, messageTimeoutSec, bytesInFlight, totalBytesInFlight },
  };
}
