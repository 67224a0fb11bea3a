import { type KeyEntry, parsePublicKey } from '@csc-fleet/common/crypto';
import { CscError, orThrow } from '@csc-fleet/common/errors';
import {
  type Absence,
  type AuditRecord,
  CheckRequest,
  type Decision,
  type Execution,
  type ExecutionState,
  type ExecutorStatus,
  encoderOf,
  FleetService,
  GateService,
  type GetStatusResponse,
  type Profile,
  type PruneResponse,
  type PublicKey,
  parseIdentity,
  type ResolveResponse,
  type Reviewed,
  type SubmitResponse,
} from '@csc-fleet/common/rpc';
import type { Connection } from '../connection/connection.ts';
import { type ReconnectOptions, resuming } from '../connection/reconnect.ts';
import {
  type ContractInput,
  isFateUnknown,
  prepareSubmit,
  type SubmitOptions,
  toDuration,
  toJsonBytes,
  withKey,
} from './request.ts';
import { type SignedSubmit, type Submitter, signRequest, waitsUntil } from './submitter.ts';

/** What every call may be told. */
export interface CallOptions {
  /** Ends the call, which then rejects with CANCELLED. Absent: only its time-out ends it. */
  readonly signal?: AbortSignal | undefined;
}

/** What `check` may be told. */
export interface CheckOptions extends CallOptions {
  /** Which of the profiles bound to the caller decides. Absent: the first. */
  readonly policyProfile?: string | undefined;
  /** As it would be decided on a terminal. Absent: without one. */
  readonly terminal?: boolean | undefined;
}

/** What `cancel` may be told. */
export interface CancelOptions extends CallOptions {
  /** Milliseconds between SIGTERM and SIGKILL. Absent: the gate's 5 seconds. */
  readonly gracePeriodMs?: number | undefined;
}

/** What `list` may be told. */
export interface ListOptions extends CallOptions {
  /** Only executions in one of these states. Absent: all. */
  readonly states?: readonly ExecutionState[] | undefined;
  /** How many the gate gives at a time. Absent: 50. */
  readonly pageSize?: number | undefined;
  /** Those of all principals, for an admin. Absent: the caller's own. */
  readonly allPrincipals?: boolean | undefined;
}

/** What `prune` may be told. */
export interface PruneOptions extends CallOptions {
  /** Forget nothing, and say what would be. Absent: false. */
  readonly dryRun?: boolean | undefined;
}

/** Which audit records are read. Absent members: all, from the oldest that is kept. */
export interface AuditOptions extends CallOptions {
  /** The number of the first record wanted, from 1: AUDIT_TRIMMED where that is not kept any more. */
  readonly fromSequence?: number | undefined;
  /** Go on with what comes, until `signal` ends it. Absent: false. */
  readonly follow?: boolean | undefined;
  /** Of executions of this identity, a SPIFFE id. */
  readonly principal?: string | undefined;
  /** The NAME in its SPIFFE id. */
  readonly executorId?: string | undefined;
  readonly policyProfile?: string | undefined;
  readonly outcome?: string | undefined;
  readonly since?: Date | undefined;
  readonly until?: Date | undefined;
}

/** What handing in needs of a client. */
export interface SubmitContext {
  readonly connection: Connection;
  /** Undefined: nobody signs. */
  readonly submitter: Submitter | undefined;
}

/** See GateClient.submit. */
export async function submit(
  { connection, submitter }: SubmitContext,
  contract: ContractInput,
  options: SubmitOptions & CallOptions,
): Promise<Submitted> {
  const prepared = prepareSubmit(contract, options);
  const signed = await signRequest(prepared, submitter, options);
  const { request, contractSha256, submission } = signed;
  const answer = await connection
    .unary(GateService.submit, request, options.signal)
    .catch(async (error: unknown) => {
      throw await rememberLost(error, signed, submitter);
    });
  try {
    checkDecided(answer.decision, contractSha256);
  } catch (error) {
    throw withKey(error, request);
  }
  if (submission !== undefined && answer.mustNameHost)
    await submitter?.signed.keep({ ...submission, executionId: answer.executionId });
  return { ...answer, waitsUntil: waitsUntil(answer.decision, submission?.submissionJson) };
}

/** What a gate says of what was handed in, and until when it can be agreed to, and be started. */
export type Submitted = SubmitResponse & { readonly waitsUntil: Date | undefined };

/**
 * The error of handing a request in. Where the gate may have taken it, the submission is remembered: under the key that
 * the error names, it can be handed in again.
 */
export async function rememberLost(
  error: unknown,
  { request, submission }: SignedSubmit,
  submitter: Submitter | undefined,
): Promise<unknown> {
  if (!isFateUnknown(error)) return withKey(error, request);
  if (submission !== undefined) await submitter?.signed.keep(submission);
  const hint = ` (handed in under the idempotency key ${request.idempotencyKey})`;
  return withKey(error, request, { hint });
}

/**
 * A decision of another contract is none of this one: people approve what its hash names. Throws
 * CONTRACT_HASH_MISMATCH.
 */
export function checkDecided(decision: Decision | undefined, contractSha256: string): void {
  if (decision === undefined || decision.contractSha256 === contractSha256) return;
  throw new CscError('CONTRACT_HASH_MISMATCH', 'the gate has decided on another contract than was handed in');
}

const checkMethod = { ...GateService.check, requestSerialize: encoderOf(CheckRequest) };

/** See GateClient.check. */
export async function check(
  connection: Connection,
  contract: ContractInput,
  options: CheckOptions,
): Promise<Decision> {
  const { decision } = await connection.unary(
    checkMethod,
    {
      contract: { $case: 'contractJson', value: toJsonBytes(contract) },
      policyProfile: options.policyProfile ?? '',
      terminal: options.terminal ?? false,
    },
    options.signal,
  );
  return orMissing(decision, 'decision');
}

/** See GateClient.cancel. */
export async function cancel(
  connection: Connection,
  executionId: string,
  { gracePeriodMs, signal }: CancelOptions,
): Promise<Execution> {
  const gracePeriod = gracePeriodMs === undefined ? undefined : toDuration(gracePeriodMs);
  const { execution } = await connection.unary(GateService.cancel, { executionId, gracePeriod }, signal);
  return orMissing(execution, 'execution');
}

/** See GateClient.getExecution. */
export async function getExecution(
  connection: Connection,
  executionId: string,
  options: CallOptions,
): Promise<{
  execution: Execution;
  decision: Decision | undefined;
  resolutionsJson: readonly Buffer[];
  absence: Absence | undefined;
  reviews: Reviewed[];
  approvalMissing: string;
}> {
  const answer = await connection.unary(GateService.getExecution, { executionId }, options.signal);
  const { execution, ...told } = answer;
  return { ...told, execution: orMissing(execution, 'execution') };
}

/** See GateClient.list. */
export async function* listExecutions(
  connection: Connection,
  options: ListOptions,
): AsyncGenerator<Execution, void> {
  let pageToken = '';
  do {
    const request = {
      states: [...(options.states ?? [])],
      pageSize: options.pageSize ?? 0,
      pageToken,
      allPrincipals: options.allPrincipals ?? false,
    };
    const page = await connection.unary(GateService.listExecutions, request, options.signal);
    yield* page.executions;
    pageToken = page.nextPageToken;
  } while (pageToken !== '');
}

/** See GateClient.profiles. */
export async function listProfiles(connection: Connection, { signal }: CallOptions): Promise<Profile[]> {
  return (await connection.unary(GateService.listProfiles, {}, signal)).profiles;
}

/** See GateClient.principal. */
export async function whoAmI(connection: Connection, { signal }: CallOptions): Promise<string> {
  const { principal = '' } = await connection.unary(GateService.listProfiles, {}, signal);
  if (parseIdentity(principal)?.role === 'client') return principal;
  throw new CscError(
    'CREDENTIALS_INVALID',
    'this gate does not tell whom it takes its caller for: it is an older one',
  );
}

/** See GateClient.status. */
export function getStatus(connection: Connection, { signal }: CallOptions): Promise<GetStatusResponse> {
  return connection.unary(GateService.getStatus, {}, signal);
}

/** See GateClient.executors. */
export async function listExecutors(
  connection: Connection,
  { signal }: CallOptions,
): Promise<ExecutorStatus[]> {
  return (await connection.unary(FleetService.listExecutors, {}, signal)).executors;
}

/** See GateClient.prune. */
export function prune(
  connection: Connection,
  { dryRun = false, signal }: PruneOptions,
): Promise<PruneResponse> {
  return connection.unary(FleetService.prune, { dryRun }, signal);
}

/** See GateClient.audit. */
export async function* readAudit(
  connection: Connection,
  reconnect: ReconnectOptions,
  { fromSequence = 0, follow = false, signal, ...rest }: AuditOptions,
): AsyncGenerator<AuditRecord, void> {
  const { principal = '', executorId = '', policyProfile = '', outcome = '', since, until } = rest;
  const filters = { principal, executorId, policyProfile, outcome, since, until };
  let from = fromSequence;
  const open = (bounded?: AbortSignal) =>
    connection.stream(FleetService.audit, { fromSequence: from, follow, ...filters }, bounded, 'quietly');
  for await (const { record, lookedUpTo } of resuming(open, reconnect, signal)) {
    const isNew = record !== undefined && record.sequence >= from;
    from = Math.max(from, lookedUpTo + 1);
    if (isNew) yield record;
  }
}

/** See GateClient.readLogFile. */
export async function readLogFile(
  connection: Connection,
  path: string,
  { signal }: CallOptions,
): Promise<Buffer | undefined> {
  const { found, content } = await connection.unary(FleetService.readLogTile, { path }, signal);
  return found ? content : undefined;
}

/** See GateClient.resolve. */
export function resolve(
  connection: Connection,
  executionId: string,
  resolutions: readonly (string | Uint8Array)[],
  { signal }: CallOptions,
): Promise<ResolveResponse> {
  const resolutionsJson = resolutions.map((it) => Buffer.from(it));
  return connection.unary(FleetService.resolve, { executionId, resolutionsJson }, signal);
}

/** The public keys with these ids; all keys for none. Throws KEY_INVALID where the gate names one that is none. */
export async function getKeys(
  connection: Connection,
  keyIds: readonly string[],
  signal?: AbortSignal,
): Promise<KeyEntry[]> {
  const { keys } = await connection.unary(GateService.getKeys, { keyIds: [...keyIds] }, signal);
  return keys.map(toKeyEntry);
}

function toKeyEntry(key: PublicKey): KeyEntry {
  return {
    keyId: key.keyId,
    publicKey: orThrow(parsePublicKey(key.publicKey), 'KEY_INVALID', `the key ${JSON.stringify(key.keyId)}`),
    ...(key.owner === '' ? {} : { owner: key.owner }),
    ...(key.notBefore === undefined ? {} : { notBefore: key.notBefore }),
    ...(key.notAfter === undefined ? {} : { notAfter: key.notAfter }),
    ...(key.revokedAt === undefined ? {} : { revokedAt: key.revokedAt }),
  };
}

function orMissing<T>(value: T | undefined, what: string): T {
  if (value !== undefined) return value;
  throw new CscError('INTERNAL', `the gate's answer has no ${what}`);
}
