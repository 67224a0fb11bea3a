import { CscError, isCscError } from '@csc-fleet/common/errors';
import type { ExpectedReceipt } from '@csc-fleet/common/evidence';
import type { ExecutionReceipt } from '@csc-fleet/common/receipt';
import { type Decision, type Execution, GateService } from '@csc-fleet/common/rpc';
import { parseSubmission, submissionSha256 } from '@csc-fleet/common/submission';
import { cancel, checkDecided, type SubmitContext } from '../calls/calls.ts';
import {
  type ContractInput,
  defaultReceiptVersion,
  prepareSubmit,
  type SubmitOptions,
  withKey,
} from '../calls/request.ts';
import { bindTo, signRequest } from '../calls/submitter.ts';
import type { Connection } from '../connection/connection.ts';
import type { ReconnectOptions } from '../connection/reconnect.ts';
import { concludeFrom, concludeWithout } from '../verify/conclusion.ts';
import type { KeySource } from '../verify/keys.ts';
import { verifyFromSource } from '../verify/verify-receipt.ts';
import { followToEnd } from './follow.ts';
import { createReceiver, type Receiver, type RunHandlers } from './receiver.ts';

/** Who is told while an execution is followed, and what ends the following. */
export interface FollowOptions {
  /** Absent: nobody. */
  readonly handlers?: RunHandlers | undefined;
  /** Ends the following, not the run, unless `cancelOnAbort`. The promise then rejects with CANCELLED. */
  readonly signal?: AbortSignal | undefined;
  /** An abort also asks the gate to end the run. Absent: false. */
  readonly cancelOnAbort?: boolean | undefined;
  /** Wait for somebody's approval too. Absent: false, so that a contract that needs one comes back at once. */
  readonly waitForApproval?: boolean | undefined;
}

/** What `run` may be told: how the contract is handed in, and how it is followed. */
export interface RunOptions extends SubmitOptions, FollowOptions {}

/** How an execution ended by its receipt, or that it waits for an approval. */
export interface RunResult {
  /** As the gate names it; the receipt is of this one. */
  readonly executionId: string;
  /** State, times, executor and error are the receipt's; the gate has no say in them. */
  readonly execution: Execution;
  /** As the gate says it. */
  readonly decision: Decision | undefined;
  /** Verified. Undefined while an approval is awaited, and where the executor was lost. */
  readonly receipt: ExecutionReceipt | undefined;
  /** The receipt as it was signed; empty where there is none. */
  readonly receiptJson: Buffer;
  /** Where that is v0.1: the v0.2 receipt that it is a projection of, verified; empty where there is none. */
  readonly originalJson: Buffer;
  /** Of the failed command, or of the last one; undefined where nothing ran. */
  readonly exitCode: number | undefined;
  /** What the gate said of the end, where the receipt says otherwise: show it, and do not trust that gate. */
  readonly contradiction: string | undefined;
}

/** What running and following need of a client. */
export interface RunContext extends SubmitContext {
  readonly reconnect: ReconnectOptions;
  readonly keys: KeySource;
}

// The clocks of client and host may differ by so much. Whoever names a key of their own may be given an earlier run.
const clockToleranceMs = 5 * 60_000;

/** Submits and follows to the end. See GateClient.run. */
export async function run(
  context: RunContext,
  contract: ContractInput,
  options: RunOptions,
): Promise<RunResult> {
  const prepared = await signRequest(prepareSubmit(contract, options), context.submitter, options);
  const { request, contractSha256 } = prepared;
  const receiptVersion = options.receiptVersion ?? defaultReceiptVersion;
  const receiver = createReceiver(options.handlers ?? {}, receiptVersion);
  const submissions = namesOf(request.submissionJson);
  const expected: ExpectedReceipt = {
    contractSha256,
    receiptVersion,
    commands: prepared.contract.commands,
    ...(options.idempotencyKey === undefined
      ? {
          endedAfter: new Date(Date.now() - clockToleranceMs),
          ...(submissions.length > 0 ? { submissions } : {}),
        }
      : {}),
  };
  const { submitter, connection } = context;
  const bind = async (executionId: string, executorId: string, signal?: AbortSignal): Promise<void> => {
    if (submitter === undefined) return;
    const submissionJson = await bindTo(executorId, request, submitter);
    submissions.push(...namesOf(submissionJson));
    await connection.unary(GateService.bind, { executionId, submissionJson }, signal);
  };
  const waitForApproval = options.waitForApproval ?? false;
  await abortable(context, receiver, options, (signal) =>
    followToEnd({ ...context, signal, waitForApproval, bind }, receiver, request),
  ).catch((error: unknown) => {
    throw receiver.executionId() === undefined ? withKey(error, request) : error;
  });
  checkDecided(receiver.decision(), contractSha256);
  return conclude(context, receiver, expected);
}

// What receipts name a submission by; empty where nobody signed one.
function namesOf(submissionJson: Uint8Array): string[] {
  const submission = parseSubmission(submissionJson);
  return submission.ok ? [submissionSha256(submission.value)] : [];
}

/** Takes up an execution that is there already, from its beginning. See GateClient.follow. */
export async function follow(
  context: RunContext,
  executionId: string,
  options: FollowOptions,
): Promise<RunResult> {
  const receiver = createReceiver(options.handlers ?? {}, '', executionId);
  await abortable(context, receiver, options, (signal) =>
    followToEnd(
      { ...context, signal, waitForApproval: options.waitForApproval ?? false },
      receiver,
      undefined,
    ),
  );
  return conclude(context, receiver, {});
}

/** Runs `body` under the caller's signal and, where the caller wants that, takes the execution down with it. */
async function abortable(
  context: RunContext,
  receiver: Receiver,
  options: FollowOptions,
  body: (signal: AbortSignal | undefined) => Promise<void>,
): Promise<void> {
  try {
    await body(options.signal);
  } catch (error) {
    const executionId = receiver.executionId();
    if (!isCscError(error, 'CANCELLED') || executionId === undefined) throw error;
    if (options.cancelOnAbort === true) await cancel(context.connection, executionId, {});
    const fate = options.cancelOnAbort === true ? 'has been asked to end' : 'goes on';
    throw new CscError('CANCELLED', `the caller left; execution ${executionId} ${fate}`, {
      cause: error.cause,
    });
  }
}

const noReceipt = { receiptJson: Buffer.alloc(0), originalJson: Buffer.alloc(0) };

async function conclude(
  { connection, keys }: RunContext,
  receiver: Receiver,
  expected: ExpectedReceipt,
): Promise<RunResult> {
  const finished = receiver.finished();
  const executionId = receiver.executionId() ?? '';
  const told = finished?.execution ?? (await fetchExecution(connection, executionId));
  const { receiptJson, originalJson } = finished ?? noReceipt;
  const common = { executionId, decision: receiver.decision(), receiptJson, originalJson };
  if (receiptJson.length === 0) return { ...common, receipt: undefined, ...concludeWithout(told) };
  const verified = await verifyFromSource(common, keys, { ...expected, executionId });
  receiver.outputCheck.verify(verified.receipt);
  return { ...common, receipt: verified.receipt, ...concludeFrom(told, verified) };
}

async function fetchExecution(connection: Connection, executionId: string): Promise<Execution> {
  const { execution } = await connection.unary(GateService.getExecution, { executionId });
  if (execution === undefined)
    throw new CscError('EXECUTION_UNKNOWN', `there is no execution ${executionId}`);
  return execution;
}
