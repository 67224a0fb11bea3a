import { join } from 'node:path';
import type { DualControl } from '@csc-fleet/common/approval';
import type { Signer } from '@csc-fleet/common/crypto';
import { type Clock, systemClock, toTimestamp } from '@csc-fleet/common/encoding';
import { CscError } from '@csc-fleet/common/errors';
import {
  type CancelRequest,
  type CancelResponse,
  type CheckRequest,
  type CheckResponse,
  type ConnectResponse,
  type ExecutionEvent,
  ExecutionState,
  type GetExecutionRequest,
  type GetExecutionResponse,
  type GetKeysRequest,
  type GetKeysResponse,
  type GetReceiptRequest,
  type GetReceiptResponse,
  type ListExecutionsRequest,
  type ListExecutionsResponse,
  type ReadOutputRequest,
  type SubmitRequest,
  type SubmitResponse,
  type WatchRequest,
} from '@csc-fleet/common/messages';
import { type Bindings, checkBindings, type PolicySet } from '@csc-fleet/common/policy';
import type { Identity } from '@csc-fleet/common/rpc';
import { boundedGate } from '../bounds/index.ts';
import { Ending } from '../execution/ending.ts';
import { Executions } from '../execution/executions.ts';
import { toDecision } from '../execution/to-message.ts';
import { ExecutorKeys } from '../link/executor-keys.ts';
import { type LinkSession, Session } from '../link/session.ts';
import { outputLimitsOf } from '../output/grant.ts';
import type { OutputLog } from '../output/output-log.ts';
import { OutputStore } from '../output/output-store.ts';
import { type EncodedOutput, readOutput } from '../output/reader.ts';
import { getExecution, getKeys, getReceipt, listExecutions } from '../read/look-up.ts';
import { run, type Write } from '../read/run.ts';
import { watch } from '../read/watch.ts';
import { cancel } from '../schedule/cancel.ts';
import { Scheduler } from '../schedule/scheduler.ts';
import { sweep } from '../schedule/sweep.ts';
import { openStore } from '../store/store.ts';
import { check } from '../submit/check.ts';
import { submit } from '../submit.ts';
import type { GateLimits } from './config.ts';
import type { GateContext } from './context.ts';

export interface GateOptions {
  readonly gateId: string;
  /** The whole SPIFFE id of the gate's certificate: whose key `signer` is. */
  readonly identity: string;
  readonly dataDir: string;
  /** Signs tickets, decisions and the receipts of what never ran. */
  readonly signer: Signer;
  readonly policies: PolicySet;
  readonly bindings: Bindings;
  readonly limits: GateLimits;
  readonly acceptUnsignedApprovals: boolean;
  readonly keepDeniedContracts: boolean;
  /** What a contract's dual_control_required comes to. */
  readonly dualControl: DualControl;
  readonly executorLostAfterSec: number;
  readonly heartbeatIntervalSec: number;
  readonly decisionTtlSec: number;
}

export interface GateDependencies {
  readonly clock?: Clock;
  /** Milliseconds of a clock that never jumps. Default: the system's. */
  readonly monotonicMs?: () => number;
  /** Told of errors that no caller waits for; may hold what a caller must not see. Default: they are dropped. */
  readonly onError?: (error: unknown) => void;
  /**
   * Told where the store has failed in a way that no later write gets over; a full disk is none. End the process: what
   * was open goes on from the disk when it is started again. Default: nothing.
   */
  readonly onStoreLost?: (error: CscError) => void;
  /** Told of what an operator may want to know. Default: dropped. */
  readonly onNotice?: (message: string, details: Record<string, unknown>) => void;
}

/**
 * A gate without a network: every operation for a principal (its identity's URI), and the two doors that executors
 * use. server.ts puts gRPC around it, `csc run` an executor in the same process. Errors are CscErrors as docs/errors.md
 * has them; anything else is a fault of ours.
 */
export interface Gate {
  submit(principal: string, request: SubmitRequest): Promise<SubmitResponse>;
  run(principal: string, request: SubmitRequest, write: Write, abort: AbortSignal): Promise<void>;
  check(principal: string, request: CheckRequest): CheckResponse;
  watch(principal: string, request: WatchRequest, abort?: AbortSignal): AsyncGenerator<ExecutionEvent>;
  /** Encoded ReadOutputResponses. */
  readOutput(
    principal: string,
    request: ReadOutputRequest,
    write: (item: EncodedOutput) => Promise<void>,
    abort?: AbortSignal,
  ): Promise<void>;
  cancel(principal: string, request: CancelRequest): Promise<CancelResponse>;
  getExecution(principal: string, request: GetExecutionRequest): Promise<GetExecutionResponse>;
  listExecutions(principal: string, request: ListExecutionsRequest): Promise<ListExecutionsResponse>;
  getReceipt(principal: string, request: GetReceiptRequest): Promise<GetReceiptResponse>;
  getKeys(request: GetKeysRequest): Promise<GetKeysResponse>;
  readonly link: {
    /**
     * One session a connection; `hangUp` must end it. `ask` resolves once the other end was heard, and all that it had
     * said before has been received.
     */
    open(
      executor: Identity,
      send: (message: ConnectResponse) => void,
      hangUp: (error: CscError) => void,
      ask?: () => Promise<void>,
    ): LinkSession;
  };
  readonly output: {
    /** True where this executor may push output of this execution. */
    mayPush(executor: Identity, executionId: string): boolean;
    committedLength(executionId: string): Promise<number>;
    /** Appends whole frames; resolves to the log's new length. */
    append(executionId: string, logOffset: number, frames: Uint8Array): Promise<number>;
    /** Keeps the log open until `signal` fires, so that many appends cost one opening. */
    hold(executionId: string, signal: AbortSignal): void;
  };
  /** Stops the timers and closes store and logs; what was open goes on when a gate is made on the same directory. */
  close(): Promise<void>;
}

const sweepEveryMs = 1_000;

/** Opens the store, takes up what was open in it, and gives a gate. Throws STORE_UNAVAILABLE, POLICY_INVALID. */
export async function createGate(options: GateOptions, dependencies: GateDependencies = {}): Promise<Gate> {
  checkBindings(options.bindings, options.policies);
  const { context, keys } = await assemble(options, dependencies);
  await takeUp(context);
  const stopSweeping = startSweeping(context);
  return boundedGate({
    submit: async (principal, request) => {
      const { execution, existing } = await submit(context, principal, request);
      return {
        executionId: execution.id,
        decision: toDecision(execution.row),
        state: execution.row.state as SubmitResponse['state'],
        existing,
      };
    },
    run: (principal, request, write, abort) => run(context, principal, request, write, abort),
    check: (principal, request) => check(context, principal, request),
    watch: async function* (principal, request, abort) {
      yield* watch(
        await context.executions.visible(principal, request.executionId),
        request.fromSequence,
        abort,
      );
    },
    readOutput: async (principal, request, write, abort) => {
      const execution = await context.executions.visible(principal, request.executionId);
      const send = async (log: OutputLog): Promise<void> => {
        for await (const item of readOutput(log, execution, request, abort)) await write(item);
      };
      // No longer open: its receipt is here, and so all of its output is.
      await context.output.with(execution.id, send, context.executions.openById(execution.id) === undefined);
    },
    cancel: (principal, request) => cancel(context, principal, request),
    getExecution: (principal, request) => getExecution(context, principal, request),
    listExecutions: (principal, request) => listExecutions(context, principal, request),
    getReceipt: (principal, request) => getReceipt(context, principal, request),
    getKeys: async (request) => getKeys(keys, request),
    link: {
      open: (executor, send, hangUp, ask) =>
        new Session({ gate: context, keys, executor, send, hangUp, ask }),
    },
    output: {
      mayPush: (executor, executionId) =>
        context.executions.openById(executionId)?.row.executor_id === executor.uri,
      committedLength: (executionId) => context.output.length(executionId),
      append: async (executionId, logOffset, frames) => {
        const execution = context.executions.openById(executionId);
        if (execution === undefined)
          throw new CscError('EXECUTION_UNKNOWN', 'this execution takes no more output');
        // It has output, so it was redeemed: its Accepted is on its way, over another connection.
        context.scheduler.offers.remove(executionId);
        const commandIds = await execution.commandIds();
        const limits = outputLimitsOf(execution.row, context.limits.output);
        return context.output.with(executionId, (log) =>
          log.append(logOffset, frames, { commandIds, limits }),
        );
      },
      hold: (executionId, signal) => {
        if (signal.aborted) return;
        const held = new Promise<void>((resolve) =>
          signal.addEventListener('abort', () => resolve(), { once: true }),
        );
        context.output.with(executionId, () => held).catch(context.onError);
      },
    },
    close: async () => {
      stopSweeping();
      await context.output.close();
      await context.store.close();
    },
  });
}

async function assemble(
  options: GateOptions,
  {
    clock = systemClock,
    monotonicMs = () => performance.now(),
    onError = () => undefined,
    onNotice = () => undefined,
    onStoreLost = () => undefined,
  }: GateDependencies,
): Promise<{ context: GateContext; keys: ExecutorKeys }> {
  const store = await openStore(join(options.dataDir, 'gate.db'), {
    onLost: onStoreLost,
    onTrouble: onError,
    onRecovered: () => onNotice('the store takes writes again', { data_dir: options.dataDir }),
  });
  const { signer, gateId, limits, policies } = options;
  const output = new OutputStore(join(options.dataDir, 'output'));
  const executions = new Executions(
    store,
    (executionId) => output.wake(executionId),
    limits.storedBytesPerDay,
  );
  const ending = new Ending({ executions, policies, signer, clock });
  const scheduler = new Scheduler({
    gateId,
    maxQueued: limits.maxQueued,
    limits: limits.output,
    policies,
    signer,
    clock,
    monotonicMs,
    offerDeadlineSec: limits.offerDeadlineSec,
    executions,
    ending,
    onError,
  });
  const context = {
    ...options,
    clock,
    monotonicMs,
    store,
    executions,
    scheduler,
    output,
    ending,
    onError,
    onNotice,
  };
  await registerOwnKey(options, context);
  const maxPerExecutor = limits.executorKeys;
  return { context, keys: await ExecutorKeys.load({ store, clock, maxPerExecutor }) };
}

// Kept with the executors' keys, so that what an older key of this gate signed still verifies.
async function registerOwnKey(
  { identity: owner }: GateOptions,
  { store, signer, clock }: GateContext,
): Promise<void> {
  const known = await store.keys();
  if (known.some((row) => row.key_id === signer.keyId)) return;
  const since = toTimestamp(clock.now());
  await store.addKey({ key_id: signer.keyId, public_key: signer.publicKey, owner, since });
}

// What was offered or runs waits for its executor's Hello.
async function takeUp(context: GateContext): Promise<void> {
  for (const execution of await context.executions.restore()) {
    if (execution.row.state === ExecutionState.QUEUED) context.scheduler.enqueue(execution);
  }
}

function startSweeping(context: GateContext): () => void {
  const awaySince = new Map<string, number>();
  let sweeping = false;
  const timer = setInterval(() => {
    if (sweeping) return;
    sweeping = true;
    sweep(context, awaySince)
      .catch(context.onError)
      .finally(() => {
        sweeping = false;
      });
  }, sweepEveryMs);
  timer.unref();
  return () => clearInterval(timer);
}
