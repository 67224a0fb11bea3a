import { toTimestamp } from '@csc-fleet/common/encoding';
import { CscError, isCscError } from '@csc-fleet/common/errors';
import {
  type ConnectRequest,
  type ConnectResponse,
  ExecutionState,
  type Hello,
  type Receipt,
  type Refused,
  toDuration,
} from '@csc-fleet/common/messages';
import type { Identity } from '@csc-fleet/common/rpc';
import type { GateContext } from '../context.ts';
import type { Happening, LiveExecution } from '../execution/execution.ts';
import { Peer } from '../schedule/peer.ts';
import type { ExecutorKeys } from './executor-keys.ts';
import { toOutcome, verifyExecutorReceipt, verifyOrphanReceipt } from './verify-receipt.ts';

// Refusals that are of the host's state, not of the contract.
const transient: ReadonlySet<string> = new Set(['DRAINING', 'QUEUE_FULL', 'SPOOL_FULL', 'STORE_UNAVAILABLE']);
// How long an executor is left alone after such a refusal.
const restMs = 5_000;

// A person does not see this, and a short run has all of its progress in one commit with its end.
const progressMs = 20;

/** What a transport does with a session: hands over what comes, and says when the connection is gone. */
export interface LinkSession {
  receive(message: ConnectRequest): void;
  closed(): void;
}

export interface LinkOptions {
  readonly gate: GateContext;
  readonly keys: ExecutorKeys;
  readonly executor: Identity;
  readonly send: (message: ConnectResponse) => void;
  /** Ends the connection; the error says why. */
  readonly hangUp: (error: CscError) => void;
}

/** The gate's side of one executor's connection: messages are taken one after the other, in order. */
export class Session implements LinkSession {
  readonly #options: LinkOptions;
  #peer: Peer | undefined;
  #work: Promise<void> = Promise.resolve();
  readonly #gone = new AbortController();

  constructor(options: LinkOptions) {
    this.#options = options;
  }

  receive({ message }: ConnectRequest): void {
    this.#work = this.#work.then(() => this.#handle(message)).catch((error: unknown) => this.#failed(error));
  }

  closed(): void {
    this.#gone.abort();
    const peer = this.#peer;
    if (peer === undefined) return;
    this.#options.gate.scheduler.peers.remove(peer);
    this.#options.gate.onNotice('executor disconnected', { executor: peer.id, open: peer.assigned.size });
  }

  async #handle(message: ConnectRequest['message']): Promise<void> {
    if (message === undefined) return;
    if (message.$case === 'hello') return this.#hello(message.value);
    if (this.#peer === undefined)
      throw new CscError('CREDENTIALS_INVALID', 'the first message must be Hello');
    switch (message.$case) {
      case 'accepted':
        return this.#accepted(message.value.executionId, message.value.notes);
      case 'refused':
        return this.#refused(message.value);
      case 'commandStarted': {
        const { executionId, commandId, index } = message.value;
        return this.#report(executionId, commandId, { $case: 'commandStarted', value: { commandId, index } });
      }
      case 'exited': {
        const { executionId, result } = message.value;
        const happening = { $case: 'commandExited', value: { result } } as const;
        return this.#report(executionId, result?.commandId ?? '', happening);
      }
      case 'receipt':
        // Not in line with the messages behind it: it may have to wait for output.
        void this.#receipt(message.value).catch((error: unknown) =>
          this.#receiptFailed(message.value.executionId, error),
        );
        return;
      case 'heartbeat':
        this.#options.send({ message: { $case: 'heartbeatAck', value: {} } });
    }
  }

  async #hello(hello: Hello): Promise<void> {
    const { gate, keys, executor, send } = this.#options;
    await keys.register(executor.uri, hello);
    if (this.#gone.signal.aborted) return;
    this.#checkAlone(hello);
    const peer = new Peer(executor.name, hello, send);
    this.#peer = peer;
    gate.scheduler.peers.add(peer);
    const heartbeatInterval = toDuration(gate.heartbeatIntervalSec * 1000);
    peer.send({ $case: 'welcome', value: { gateId: gate.gateId, heartbeatInterval } });
    gate.onNotice('executor connected', {
      executor: peer.id,
      labels: peer.labels,
      slots: peer.slots,
      mode: peer.executionMode,
    });
    await this.#reconcile(peer, new Set(hello.executionIds));
    gate.scheduler.place();
  }

  // Two hosts with one certificate and a journal each could both be given the same execution.
  #checkAlone(hello: Hello): void {
    const connected = this.#options.gate.scheduler.peers.get(this.#options.executor.name);
    if (connected === undefined || connected.receiptKeyId === hello.receiptKeyId) return;
    throw new CscError(
      'CREDENTIALS_INVALID',
      'this executor is connected with another receipt key: does another host have its certificate?',
    );
  }

  /** Brings what the gate believes in line with what the executor knows: its journal is the truth. */
  async #reconcile(peer: Peer, held: ReadonlySet<string>): Promise<void> {
    const { gate } = this.#options;
    for (const execution of [...gate.executions.open()]) {
      if (execution.row.executor_id !== peer.id) continue;
      if (held.has(execution.id)) await this.#takeUp(execution, peer);
      else await this.#giveUp(execution, peer);
    }
  }

  /** The executor has it. */
  async #takeUp(execution: LiveExecution, peer: Peer): Promise<void> {
    peer.assigned.add(execution.id);
    await this.#accepted(execution.id, []);
    // It may have been asked for while nobody heard.
    if (execution.cancelGraceMs === undefined || execution.terminal) return;
    const gracePeriod = toDuration(execution.cancelGraceMs);
    peer.send({ $case: 'cancel', value: { executionId: execution.id, gracePeriod } });
  }

  /** The executor does not have it, and never will. */
  async #giveUp(execution: LiveExecution, peer: Peer): Promise<void> {
    const { scheduler, ending } = this.#options.gate;
    const { state, started_at: startedAt } = execution.row;
    if (state === ExecutionState.OFFERED) {
      await scheduler.requeue(execution, 'its executor came back without having started it');
    } else if (state === ExecutionState.RUNNING) {
      const why = `executor ${peer.id} came back and knows nothing of it: was its state directory removed?`;
      await ending.lost(execution, why);
    } else if (state === ExecutionState.LOST && startedAt === null) {
      const why = `executor ${peer.id} was away, and came back without having started it`;
      await ending.unstarted(execution, ExecutionState.EXPIRED, why);
    }
  }

  async #accepted(executionId: string, notes: readonly string[]): Promise<void> {
    const execution = this.#mine(executionId);
    if (execution?.row.state !== ExecutionState.OFFERED) return;
    const { gate } = this.#options;
    const now = gate.clock.now();
    const change = { state: ExecutionState.RUNNING, started_at: toTimestamp(now) };
    const started: Happening = {
      $case: 'started',
      value: { executorId: execution.row.executor_id ?? '', notes: [...notes] },
    };
    this.#inBackground(execution.advance(now, { change, happened: [started], withinMs: progressMs }));
  }

  // Once for each command: events are kept in memory and for ever.
  async #report(executionId: string, commandId: string, happening: Happening): Promise<void> {
    const execution = this.#mine(executionId);
    if (execution === undefined || execution.terminal) return;
    const known = await execution.commandIds();
    if (!known.has(commandId) || !execution.isFirst(happening.$case, commandId)) return;
    this.#inBackground(
      execution.advance(this.#options.gate.clock.now(), { happened: [happening], withinMs: progressMs }),
    );
  }

  async #refused(refused: Refused): Promise<void> {
    const { gate } = this.#options;
    const execution = this.#mine(refused.executionId);
    if (execution === undefined || execution.terminal) return;
    // Redeemed before: it runs there, and its receipt will come.
    if (refused.reason === 'TICKET_REPLAYED') return this.#accepted(execution.id, []);
    this.#peer?.assigned.delete(execution.id);
    // A Hello may have named it while it was still being redeemed; then it is not offered again.
    const offered = execution.row.state === ExecutionState.OFFERED;
    if (offered && transient.has(refused.reason) && this.#peer !== undefined) {
      this.#rest(this.#peer, refused.reason);
      await gate.scheduler.requeue(execution, `executor ${this.#peer.id} takes none now: ${refused.reason}`);
    } else {
      await this.#blocked(execution, refused);
    }
    gate.scheduler.place();
  }

  /** Ends with the executor's own receipt, or with the gate's where the executor gives none that counts. */
  async #blocked(execution: LiveExecution, { reason, message, receiptJson }: Refused): Promise<void> {
    const { gate, keys, executor } = this.#options;
    const error = `${reason}: ${message}`;
    try {
      if (receiptJson.length > 0) {
        verifyExecutorReceipt(receiptJson, execution.row, keys.ringOf(executor.uri));
        return await gate.ending.withReceipt(
          execution,
          { state: ExecutionState.BLOCKED, error },
          receiptJson,
        );
      }
    } catch (cause) {
      if (isCscError(cause, 'STORE_UNAVAILABLE')) throw cause;
      gate.onError(notCounted(execution.id, executor.name, cause));
    }
    await gate.ending.unstarted(execution, ExecutionState.BLOCKED, error);
  }

  // Otherwise it would be offered the same again, and refuse it again, as fast as both can.
  #rest(peer: Peer, reason: string): void {
    peer.resting = true;
    if (reason === 'DRAINING') return;
    const { gate } = this.#options;
    setTimeout(() => {
      peer.resting = false;
      gate.scheduler.place();
    }, restMs).unref();
  }

  async #receipt({ executionId, receiptJson, outputLogLength }: Receipt): Promise<void> {
    const { gate, keys, executor, send } = this.#options;
    const execution = this.#mine(executionId);
    if (execution !== undefined) {
      const receipt = verifyExecutorReceipt(receiptJson, execution.row, keys.ringOf(executor.uri));
      if (!(await this.#outputComplete(executionId, outputLogLength))) return;
      // Another copy of it may have been faster.
      if (gate.executions.openById(executionId) === execution) {
        const cancelAsked = execution.cancelGraceMs !== undefined;
        await gate.ending.withReceipt(execution, toOutcome(receipt, cancelAsked), receiptJson);
      }
    } else {
      await this.#lateReceipt(executionId, receiptJson);
    }
    this.#peer?.assigned.delete(executionId);
    send({ message: { $case: 'receiptAck', value: { executionId } } });
    gate.scheduler.place();
  }

  // Of an execution that has ended, or that this gate has never heard of, as its store was lost: then the receipt is all
  // that is left of it, and is kept. Throws RECEIPT_INVALID for another executor's execution.
  async #lateReceipt(executionId: string, receiptJson: Buffer): Promise<void> {
    const { gate, keys, executor } = this.#options;
    if ((await gate.store.receipt(executionId)) !== undefined) return;
    const known = await gate.executions.find(executionId);
    if (known !== undefined) {
      throw new CscError(
        'RECEIPT_INVALID',
        'a receipt came for an execution that this executor does not have',
      );
    }
    verifyOrphanReceipt(receiptJson, executionId, keys.ringOf(executor.uri));
    await gate.store.addOrphanReceipt(executionId, receiptJson);
    gate.onNotice('kept the receipt of an execution that this gate does not know', {
      executor: executor.name,
      executionId,
    });
  }

  /**
   * Resolves once that much output would outlast a power cut: the executor deletes its own copy when its receipt is
   * acknowledged. False where the connection ended first: the executor will send the receipt again.
   */
  async #outputComplete(executionId: string, length: number): Promise<boolean> {
    if (length === 0) return true;
    return this.#options.gate.output.with(executionId, async (log) => {
      while (log.length < length && !this.#gone.signal.aborted) await log.grown(this.#gone.signal);
      if (log.length < length) return false;
      await log.sync();
      return true;
    });
  }

  /** An open execution of this executor; undefined for any other, whoever it belongs to. */
  #mine(executionId: string): LiveExecution | undefined {
    const execution = this.#options.gate.executions.openById(executionId);
    return execution?.row.executor_id === this.#options.executor.name ? execution : undefined;
  }

  // Progress need not be on disk before the next message is taken; what was asked for first is written first.
  #inBackground(step: Promise<void>): void {
    step.catch((error: unknown) => this.#options.gate.onError(error));
  }

  // The connection stays: the executor has other executions, and would only send the same receipt again.
  #receiptFailed(executionId: string, error: unknown): void {
    if (isCscError(error, 'STORE_UNAVAILABLE')) this.#failed(error);
    else this.#options.gate.onError(notCounted(executionId, this.#options.executor.name, error));
  }

  #failed(error: unknown): void {
    this.#options.gate.onError(error);
    if (isCscError(error)) this.#options.hangUp(error);
  }
}

function notCounted(executionId: string, executor: string, cause: unknown): CscError {
  const message = `the receipt of ${executionId} from executor ${executor} does not count`;
  return new CscError('RECEIPT_INVALID', message, { cause });
}
