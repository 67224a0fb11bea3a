import { CscError, isCscError, type Refusal } from '@csc-fleet/common/errors';
import type { ExpectedReceipt } from '@csc-fleet/common/evidence';
import type { ExecutionReceipt } from '@csc-fleet/common/receipt';
import { type Decision, type Execution, ExecutionState, GateService } from '@csc-fleet/common/rpc';
import type { SealKeys } from '@csc-fleet/common/seal';
import { parseSubmission, submissionSha256 } from '@csc-fleet/common/submission';
import { terminalRun } from '@csc-fleet/common/terminal';
import { cancel, checkDecided, rememberLost, type SubmitContext } from '../calls/calls.ts';
import {
  type ContractInput,
  defaultReceiptVersion,
  prepareSubmit,
  type SubmitOptions,
  type TerminalAsked,
  withKey,
} from '../calls/request.ts';
import type { SignedSubmission } from '../calls/signed.ts';
import { signRequest, waitsUntil } from '../calls/submitter.ts';
import { type CallerContext, inSpan, isTraced, type RunFacts } from '../connection/caller-trace.ts';
import type { Connection } from '../connection/connection.ts';
import type { ReconnectOptions } from '../connection/reconnect.ts';
import { concludeFrom, concludeWithout } from '../verify/conclusion.ts';
import type { KeySource } from '../verify/keys.ts';
import type { LogDemand, ProofWanted } from '../verify/log.ts';
import { type ExecutionResolution, type OwnersTrust, readResolution } from '../verify/resolution.ts';
import { verifyFromSource } from '../verify/verify-receipt.ts';
import { createBinder, tolerant } from './bind.ts';
import { followToEnd } from './follow.ts';
import { createReceiver, type Receiver, type RunHandlers } from './receiver.ts';
import { createInputKey, openTerminalInput, type TerminalInput } from './terminal.ts';

/** Who is told while an execution is followed, and what ends the following. */
export interface FollowOptions {
  /** Absent: nobody. */
  readonly handlers?: RunHandlers | undefined;
  /**
   * An abort ends what was asked for: `run` cancels the execution at the gate, also where that has not named it yet, and
   * `follow` leaves it as it is. The promise then rejects with CANCELLED: at once where nothing can have been handed in, and
   * else once the gate has been told, for which one that hangs is waited half a minute. The message says where it could not be.
   */
  readonly signal?: AbortSignal | undefined;
  /** Whether an abort cancels the execution. Absent: true for `run`, false for `follow`. */
  readonly cancelOnAbort?: boolean | undefined;
  /** Wait for somebody's approval too. Absent: false, so that a contract that needs one comes back at once. */
  readonly waitForApproval?: boolean | undefined;
}

/** What `run` may be told: how the contract is handed in, and how it is followed. */
export interface RunOptions extends Omit<SubmitOptions, 'terminal'>, FollowOptions {
  /**
   * Run it on a terminal, whose key is made here. `onInput` is called once it runs, with what types into it. Absent: it has
   * none.
   */
  readonly terminal?: (Omit<TerminalAsked, 'inputKey'> & { onInput(input: TerminalInput): void }) | undefined;
}

/** How an execution ended by its receipt, or that it waits for an approval. */
export interface RunResult {
  /** As the gate names it; the receipt is of this one. */
  readonly executionId: string;
  /** State, times, executor and error are the receipt's; the gate has no say in them. */
  readonly execution: Execution;
  /** As the gate says it. */
  readonly decision: Decision | undefined;
  /** Until when it can be agreed to, and be started. Absent: it was followed only, or the gate did not say. */
  readonly waitsUntil?: Date | undefined;
  /** Verified. Undefined while an approval is awaited, and where the executor was lost. */
  readonly receipt: ExecutionReceipt | undefined;
  /** The receipt as it was signed; empty where there is none. */
  readonly receiptJson: Buffer;
  /** Where that is v0.1: the v0.2 receipt that it is a projection of, verified; empty where there is none. */
  readonly originalJson: Buffer;
  /** What a process that stands for this run may end with, 0 after a success only: see `Conclusion.exitCode`. */
  readonly exitCode: number;
  /** Why nothing was let run although the policy allows it: see `Conclusion.refusal`. */
  readonly refusal: Refusal | undefined;
  /** What the gate said of the end, where the receipt says otherwise: show it, and do not trust that gate. */
  readonly contradiction: string | undefined;
  /**
   * Where the executor was lost and does not come back: the owners' word that nobody waits for it any more. It says nothing of
   * what ran. Undefined: they have said nothing.
   */
  readonly resolution: ExecutionResolution | undefined;
}

/** What running and following need of a client. */
export interface RunContext extends SubmitContext {
  readonly reconnect: ReconnectOptions;
  readonly keys: KeySource;
  /** Absent: resolutions are not verified, and say so. */
  readonly owners?: OwnersTrust | undefined;
  /** Opens what is sealed. Absent: it comes as it is. */
  readonly sealKeys?: SealKeys | undefined;
  /** Absent: no log is demanded. */
  readonly log?: LogDemand | undefined;
}

// The clocks of client and host may differ by so much. Whoever names a key of their own may be given an earlier run.
const clockToleranceMs = 5 * 60_000;

/** Submits and follows to the end, as a span of its caller's where that traces. See GateClient.run. */
export function run(context: RunContext, contract: ContractInput, options: RunOptions): Promise<RunResult> {
  if (!isTraced()) return runToEnd(context, contract, options);
  const within = (place: CallerContext): Promise<RunResult> =>
    runToEnd({ ...context, connection: context.connection.within(place) }, contract, options);
  return inSpan('csc.run', within, factsOf);
}

function factsOf({ executionId, execution, decision }: RunResult): RunFacts {
  const { executorId, policyProfile, state } = execution;
  const outcome =
    Object.entries(ExecutionState)
      .find(([, it]) => it === state)?.[0]
      .toLowerCase() ?? '';
  return {
    'csc.execution.id': executionId,
    'csc.executor.id': executorId,
    'csc.profile': policyProfile,
    'csc.outcome': outcome,
    'csc.reason': decision?.reasonCodes[0] ?? '',
  };
}

async function runToEnd(context: RunContext, contract: ContractInput, given: RunOptions): Promise<RunResult> {
  const { terminal: wanted, ...others } = given;
  const inputKey = wanted === undefined ? undefined : createInputKey();
  const options = {
    ...others,
    ...(wanted === undefined || inputKey === undefined
      ? {}
      : { terminal: { ...wanted, inputKey: inputKey.publicKey } }),
  };
  // What cannot be demanded is said before anything is handed in.
  const proofWanted = await (await context.log?.())?.wanted();
  const prepared = await signRequest(prepareSubmit(contract, options), context.submitter, options);
  const { request, contractSha256 } = prepared;
  const receiptVersion = options.receiptVersion ?? defaultReceiptVersion;
  const cancels = options.cancelOnAbort ?? true;
  let mayBeHandedIn = false;
  const stop = createStop(options.signal, cancels, () => mayBeHandedIn || context.connection.isConnected());
  let input: TerminalInput | undefined;
  const openInput = (executionId: string): void => {
    if (wanted === undefined || inputKey === undefined || input !== undefined) return;
    const run = terminalRun(prepared.submission?.nonce, contractSha256);
    input = openTerminalInput(context.connection, { executionId, run, seed: inputKey.seed });
    wanted.onInput(input);
  };
  const receiver = createReceiver(
    stop.listening(onceStarted(tellingUntil(options.handlers ?? {}, prepared.submission), openInput)),
    receiptVersion,
    undefined,
    // What nobody asked to be sealed is a job's own bytes, whatever they begin with.
    { keys: options.sealTo && context.sealKeys, isExpected: options.sealTo !== undefined },
  );
  const submissions = namesOf(request.submissionJson);
  const isOurs = options.idempotencyKey === undefined;
  const expected: ExpectedReceipt = {
    contractSha256,
    receiptVersion,
    commands: prepared.contract.commands,
    ...(isOurs
      ? {
          endedAfter: new Date(Date.now() - clockToleranceMs),
          ...(submissions.length > 0 ? { submissions } : {}),
        }
      : {}),
  };
  const { submitter } = context;
  const { submission } = prepared;
  let host = options.executorId;
  const binder = createBinder(context, submission, (bound, executorId) => {
    submissions.push(...namesOf(bound));
    host = executorId;
  });
  const bind = isOurs ? { bind: binder } : tolerant(binder);
  const onNamed = async (executionId: string): Promise<void> => {
    if (submission !== undefined) await submitter?.signed.keep({ ...submission, executionId });
  };
  const onBroken = (): void => {
    mayBeHandedIn ||= !context.connection.isUnconnected();
  };
  const waitForApproval = options.waitForApproval ?? false;
  const prove = proofWanted === undefined ? {} : { prove: proofWanted.request };
  try {
    await abortable(context, receiver, { signal: stop.signal, cancels }, () =>
      followToEnd(
        { ...context, signal: stop.signal, waitForApproval, ...bind, onNamed, onBroken, ...prove },
        receiver,
        {
          submit: request,
          ...prove,
        },
      ),
    ).finally(stop.release);
    checkDecided(receiver.decision(), contractSha256);
    if (submission !== undefined && isOurs && receiver.finished() !== undefined)
      await submitter?.signed.drop(submission.nonce);
    const result = await conclude(context, receiver, { ...expected, host }, proofWanted);
    checkSealed(result.receipt, options.sealTo);
    return { ...result, waitsUntil: waitsUntil(result.decision, submission?.submissionJson) };
  } catch (error) {
    if (receiver.executionId() === undefined) throw await rememberLost(error, prepared, submitter);
    throw withKey(error, request, { executionId: receiver.executionId() });
  } finally {
    input?.close();
  }
}

// Its host has verified what was signed: a receipt that says otherwise is of something else.
function checkSealed(receipt: ExecutionReceipt | undefined, sealTo: Uint8Array | undefined): void {
  if (sealTo === undefined || (receipt?.status !== 'success' && receipt?.status !== 'failed')) return;
  const said = receipt.receipt_version === 'csc.receipt.v0.2' ? receipt.sealed?.public_key : undefined;
  if (said === Buffer.from(sealTo).toString('base64')) return;
  throw new CscError(
    'RECEIPT_INVALID',
    'the output was to be sealed, and the receipt says that it was not, or to another key: whoever relayed it can have read it',
  );
}

function onceStarted(handlers: RunHandlers, open: (executionId: string) => void): RunHandlers {
  return {
    ...handlers,
    onEvent: (event) => {
      if (event.type === 'started') open(event.executionId);
      return handlers.onEvent?.(event);
    },
  };
}

// The gate says how long its decision stands; how long the submission does, is known here.
function tellingUntil(handlers: RunHandlers, submission: SignedSubmission | undefined): RunHandlers {
  return {
    ...handlers,
    onEvent: (event) =>
      handlers.onEvent?.(
        event.type === 'decided'
          ? { ...event, waitsUntil: waitsUntil(event.decision, submission?.submissionJson) }
          : event,
      ),
  };
}

// What receipts name a submission by; empty where nobody signed one.
function namesOf(submissionJson: Uint8Array): string[] {
  // To parse what is not there would be an error with its stack, at each run.
  const submission = submissionJson.length === 0 ? undefined : parseSubmission(submissionJson);
  return submission?.ok === true ? [submissionSha256(submission.value)] : [];
}

/** Takes up an execution that is there already, from its beginning. See GateClient.follow. */
export async function follow(
  context: RunContext,
  executionId: string,
  options: FollowOptions,
): Promise<RunResult> {
  const receiver = createReceiver(options.handlers ?? {}, '', executionId, {
    keys: context.sealKeys,
    isExpected: false,
  });
  const { signal, waitForApproval = false } = options;
  const proofWanted = await (await context.log?.())?.wanted();
  const submission = await context.submitter?.signed.ofExecution(executionId);
  let host: string | undefined;
  const binder = createBinder(context, submission, (_, executorId) => {
    host = executorId;
  });
  const bind = tolerant(binder);
  await abortable(context, receiver, { signal, cancels: options.cancelOnAbort ?? false }, () =>
    followToEnd(
      { ...context, signal, waitForApproval, ...bind, prove: proofWanted?.request },
      receiver,
      undefined,
    ),
  );
  if (submission !== undefined && receiver.finished() !== undefined)
    await context.submitter?.signed.drop(submission.nonce);
  return conclude(context, receiver, { host }, proofWanted);
}

// How long an abort waits for the gate to name what it may have been handed: without a name nothing can be cancelled.
const nameWithinMs = 30_000;

/** The caller's signal, held back while the gate has been sent a contract and has not said what it is called. */
interface Stop {
  readonly signal: AbortSignal | undefined;
  /** The same handlers, which let a signal that has waited for the name pass. */
  listening(handlers: RunHandlers): RunHandlers;
  release(): void;
}

function createStop(caller: AbortSignal | undefined, cancels: boolean, mayBeHandedIn: () => boolean): Stop {
  // What was aborted before anything was sent has nothing to wait for.
  if (caller === undefined || caller.aborted || !cancels)
    return { signal: caller, listening: (handlers) => handlers, release: () => {} };
  const own = new AbortController();
  let named = false;
  let patience: NodeJS.Timeout | undefined;
  const pass = (): void => own.abort(caller.reason);
  const onAbort = (): void => {
    if (named || !mayBeHandedIn()) pass();
    else patience = setTimeout(pass, nameWithinMs);
  };
  caller.addEventListener('abort', onAbort, { once: true });
  return {
    signal: own.signal,
    listening: (handlers) => ({
      ...handlers,
      onEvent: (event) => {
        named = true;
        if (caller.aborted) pass();
        return handlers.onEvent?.(event);
      },
    }),
    release: () => {
      clearTimeout(patience);
      caller.removeEventListener('abort', onAbort);
    },
  };
}

/** Runs `body` and, where its signal ends it and `cancels`, takes the execution down with it. */
async function abortable(
  context: RunContext,
  receiver: Receiver,
  { signal, cancels }: { readonly signal: AbortSignal | undefined; readonly cancels: boolean },
  body: () => Promise<void>,
): Promise<void> {
  try {
    await body();
  } catch (error) {
    const executionId = receiver.executionId();
    if (!isCscError(error, 'CANCELLED') || signal?.aborted !== true || executionId === undefined) throw error;
    const fate = cancels ? await askToEnd(context.connection, executionId) : 'goes on';
    const message = `the caller left; execution ${executionId} ${fate}`;
    throw new CscError('CANCELLED', message, { cause: error.cause, executionId });
  }
}

// The caller has left, whatever the gate answers.
async function askToEnd(connection: Connection, executionId: string): Promise<string> {
  try {
    await cancel(connection, executionId, {});
    return 'has been asked to end';
  } catch (error) {
    if (!isCscError(error)) throw error;
    return `may go on, as it could not be asked to end: ${error.message}`;
  }
}

const noReceipt = { receiptJson: Buffer.alloc(0), originalJson: Buffer.alloc(0), resolutionsJson: [] };

async function conclude(
  { connection, keys, owners, log }: RunContext,
  receiver: Receiver,
  expected: ExpectedReceipt,
  proofWanted?: ProofWanted,
): Promise<RunResult> {
  const finished = receiver.finished();
  const executionId = receiver.executionId() ?? '';
  const told = finished?.execution ?? (await fetchExecution(connection, executionId));
  const { receiptJson, originalJson, resolutionsJson } = finished ?? noReceipt;
  const common = { executionId, decision: receiver.decision(), receiptJson, originalJson };
  if (receiptJson.length === 0) {
    const { contractSha256 = told.contractSha256, endedAfter: askedAt } = expected;
    // The gate chooses what it calls an execution: another one's resolution must not do for it.
    const resolution = readResolution(resolutionsJson, owners, { executionId, contractSha256, askedAt });
    return { ...common, receipt: undefined, resolution, ...concludeWithout(told, resolution) };
  }
  const verified = await verifyFromSource(common, keys, { ...expected, executionId });
  receiver.outputCheck.verify(verified.receipt);
  const brought = proofWanted === undefined ? undefined : { wanted: proofWanted, answer: receiver.proof() };
  await (await log?.())?.check(connection, common, brought);
  const { receipt } = verified;
  return { ...common, receipt, resolution: undefined, ...concludeFrom(told, verified) };
}

async function fetchExecution(connection: Connection, executionId: string): Promise<Execution> {
  const { execution } = await connection.unary(GateService.getExecution, { executionId });
  if (execution === undefined)
    throw new CscError('EXECUTION_UNKNOWN', `there is no execution ${executionId}`);
  return execution;
}
