import type { ExpectedReceipt } from '@csc-fleet/common/evidence';
import { ExecutionState } from '@csc-fleet/common/rpc';
import type { SealKeys } from '@csc-fleet/common/seal';
import { parseSubmission, submissionSha256 } from '@csc-fleet/common/submission';
import { terminalRun } from '@csc-fleet/common/terminal';
import { checkDecided, rememberLost, type SubmitContext } from '../calls/calls.ts';
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
import type { ReconnectOptions } from '../connection/reconnect.ts';
import { abortable, createStop } from './abort.ts';
import { createBinder, tolerant } from './bind.ts';
import { checkSealed, conclude, type RunResult, type Verifying } from './conclude.ts';
import { followToEnd } from './follow.ts';
import { createReceiver, type RunHandlers } from './receiver.ts';
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

/** What running and following need of a client. */
export interface RunContext extends SubmitContext, Verifying {
  readonly reconnect: ReconnectOptions;
  /** Opens what is sealed. Absent: it comes as it is. */
  readonly sealKeys?: SealKeys | undefined;
}

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
  const { request, contractSha256, submission } = prepared;
  const { submitter } = context;
  const receiptVersion = options.receiptVersion ?? defaultReceiptVersion;
  const cancels = options.cancelOnAbort ?? true;
  let mayBeHandedIn = false;
  const stop = createStop(options.signal, cancels, () => mayBeHandedIn || context.connection.isConnected());
  let input: TerminalInput | undefined;
  const openInput = (executionId: string): void => {
    if (wanted === undefined || inputKey === undefined || input !== undefined) return;
    const run = terminalRun(submission?.nonce, contractSha256);
    input = openTerminalInput(context.connection, { executionId, run, seed: inputKey.seed });
    wanted.onInput(input);
  };
  const receiver = createReceiver(
    stop.listening(onceStarted(tellingUntil(options.handlers ?? {}, submission), openInput)),
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
    ...(isOurs ? expectedOfOurs(submissions) : {}),
  };
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
    await abortable(context.connection, receiver, { signal: stop.signal, cancels }, () =>
      followToEnd(
        { ...context, signal: stop.signal, waitForApproval, ...bind, onNamed, onBroken, ...prove },
        receiver,
        { submit: request, ...prove },
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

// The clocks of client and host may differ by so much.
const clockToleranceMs = 5 * 60_000;

// Of a run that begins with this call; whoever names an idempotency key of their own may be given an earlier one.
function expectedOfOurs(submissions: string[]): Pick<ExpectedReceipt, 'endedAfter' | 'submissions'> {
  return {
    endedAfter: new Date(Date.now() - clockToleranceMs),
    ...(submissions.length > 0 ? { submissions } : {}),
  };
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
  await abortable(context.connection, receiver, { signal, cancels: options.cancelOnAbort ?? false }, () =>
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
