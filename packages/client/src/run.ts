import { CscError, isCscError } from '@csc-fleet/common/errors';
import type { ExecutionReceipt } from '@csc-fleet/common/receipt';
import { type Decision, type Execution, GateService } from '@csc-fleet/common/rpc';
import { cancel } from './calls.ts';
import type { Connection } from './connection.ts';
import { followToEnd } from './follow.ts';
import type { KeySource } from './keys.ts';
import { type ContractInput, prepareSubmit, type SubmitOptions } from './request.ts';
import type { ReconnectOptions } from './resume.ts';
import { createSession, type RunHandlers, type Session } from './session.ts';
import { verifyFromSource } from './verify-receipt.ts';

export interface FollowOptions {
  readonly handlers?: RunHandlers | undefined;
  /** Ends the following, not the run, unless `cancelOnAbort`. The promise then rejects with CANCELLED. */
  readonly signal?: AbortSignal | undefined;
  /** An abort also asks the gate to end the run. Absent: false. */
  readonly cancelOnAbort?: boolean | undefined;
  /** Wait for somebody's approval too. Absent: false, so that a contract that needs one comes back at once. */
  readonly waitForApproval?: boolean | undefined;
}

export interface RunOptions extends SubmitOptions, FollowOptions {}

/** How an execution ended, or that it waits for an approval. */
export interface RunResult {
  readonly executionId: string;
  readonly execution: Execution;
  readonly decision: Decision | undefined;
  /** Verified. Undefined while an approval is awaited, and where the executor was lost. */
  readonly receipt: ExecutionReceipt | undefined;
  /** The receipt as it was signed; empty where there is none. */
  readonly receiptJson: Buffer;
  /** Of the failed command, or of the last one; undefined where nothing ran. */
  readonly exitCode: number | undefined;
}

/** What running and following need of a client. */
export interface RunContext {
  readonly connection: Connection;
  readonly reconnect: ReconnectOptions;
  readonly keys: KeySource;
}

/** Submits and follows to the end. See GateClient.run. */
export async function run(
  context: RunContext,
  contract: ContractInput,
  options: RunOptions,
): Promise<RunResult> {
  const { request, contractSha256 } = prepareSubmit(contract, options);
  const session = createSession(options.handlers ?? {}, options.receiptVersion ?? '');
  await abortable(context, session, options, (signal) =>
    followToEnd({ ...context, signal, waitForApproval: options.waitForApproval ?? false }, session, request),
  );
  return conclude(context, session, contractSha256);
}

/** Takes up an execution that is there already, from its beginning. See GateClient.follow. */
export async function follow(
  context: RunContext,
  executionId: string,
  options: FollowOptions,
): Promise<RunResult> {
  const session = createSession(options.handlers ?? {}, '', executionId);
  await abortable(context, session, options, (signal) =>
    followToEnd(
      { ...context, signal, waitForApproval: options.waitForApproval ?? false },
      session,
      undefined,
    ),
  );
  return conclude(context, session, undefined);
}

/** Runs `body` under the caller's signal and, where the caller wants that, takes the execution down with it. */
async function abortable(
  context: RunContext,
  session: Session,
  options: FollowOptions,
  body: (signal: AbortSignal | undefined) => Promise<void>,
): Promise<void> {
  try {
    await body(options.signal);
  } catch (error) {
    const executionId = session.executionId();
    if (!isCscError(error, 'CANCELLED') || executionId === undefined) throw error;
    if (options.cancelOnAbort === true) await cancel(context.connection, executionId, {});
    const fate = options.cancelOnAbort === true ? 'has been asked to end' : 'goes on';
    throw new CscError('CANCELLED', `the caller left; execution ${executionId} ${fate}`, {
      cause: error.cause,
    });
  }
}

async function conclude(
  context: RunContext,
  session: Session,
  contractSha256: string | undefined,
): Promise<RunResult> {
  const finished = session.finished();
  const executionId = session.executionId() ?? '';
  const execution = finished?.execution ?? (await fetchExecution(context.connection, executionId));
  const receiptJson = finished?.receiptJson ?? Buffer.alloc(0);
  const receipt =
    receiptJson.length === 0
      ? undefined
      : await verifyFromSource(receiptJson, context.keys, { contractSha256, executionId });
  if (receipt !== undefined) session.outputCheck.verify(receipt);
  const exitCode = receipt?.exit_code ?? execution.exitCode;
  return { executionId, execution, decision: session.decision(), receipt, receiptJson, exitCode };
}

async function fetchExecution(connection: Connection, executionId: string): Promise<Execution> {
  const { execution } = await connection.unary(GateService.getExecution, { executionId });
  if (execution === undefined)
    throw new CscError('EXECUTION_UNKNOWN', `there is no execution ${executionId}`);
  return execution;
}
