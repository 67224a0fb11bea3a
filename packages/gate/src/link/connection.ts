import { type CscError, isCscError } from '@csc-fleet/common/errors';
import {
  type ConnectRequest,
  type ConnectResponse,
  type Hello,
  type Receipt,
  type Refused,
  toDuration,
  type Validity,
} from '@csc-fleet/common/messages';
import type { Identity } from '@csc-fleet/common/rpc';
import type { LogFields, LogMessage } from '@csc-fleet/common/service';
import { checkBounds, linkBounds, requestInvalid } from '../bounds/index.ts';
import { Peer, type PeerWay } from '../schedule/peer.ts';
import type { Scheduler } from '../schedule/scheduler.ts';
import { patiently } from '../store/store-error.ts';
import { type ChainHeadPorts, takeChainHead, takeHello } from './chain-heads.ts';
import { checkAlone, checkLabels, summarizeLabels } from './check-hello.ts';
import { type ConditionPorts, takeCondition } from './condition.ts';
import type { ExecutorKeys } from './executor-keys.ts';
import { findOwn, takeAccepted, takeProgress } from './progress.ts';
import { notCounted, Uncounted } from './receipts.ts';
import { countLost, placedAt, type ReconcilePorts, reconcile } from './reconcile.ts';
import type { Roster } from './roster.ts';
import { takeLateStart } from './take-late.ts';
import { type ReceiptPorts, takeReceipt } from './take-receipt.ts';
import { type RefusalPorts, takeRefusal } from './take-refusal.ts';
import type { TerminalRelay } from './terminal-relay.ts';

/** What a transport does with a connection: hands over what comes, and says when it is gone. */
export interface ExecutorConnection {
  receive(message: ConnectRequest): void;
  closed(): void;
}

/** Where a connection leads: the other end, as the transport has it. */
export interface Remote {
  readonly executor: Identity;
  /** When its certificate counts. Absent: it has none, as in one process. */
  readonly certificate?: Validity | undefined;
  /** Those that its certificate says. Absent: it says nothing of labels, and the executor's word for them is taken. */
  readonly labels?: Readonly<Record<string, string>> | undefined;
  readonly send: (message: ConnectResponse) => void;
  /** Ends the connection; the error says why. */
  readonly hangUp: (error: CscError) => void;
  /**
   * Resolves once the other end was heard, and what it had said before has been received. Absent: that is always so, as
   * in one process.
   */
  readonly ask?: (() => Promise<void>) | undefined;
  /** True: it is this process, which holds its own messages against no bounds. Absent: what it says may be anything. */
  readonly isOurs?: boolean | undefined;
}

export interface ConnectionPorts extends ReconcilePorts, ReceiptPorts, RefusalPorts, ConditionPorts {
  readonly executions: ReconcilePorts['executions'] & ReceiptPorts['executions'];
  readonly store: ReceiptPorts['store'] & ChainHeadPorts['store'];
  readonly finisher: ReconcilePorts['finisher'] & ReceiptPorts['finisher'];
  readonly scheduler: Pick<
    Scheduler,
    'peers' | 'offers' | 'rests' | 'breakers' | 'requeue' | 'withdraw' | 'leave' | 'place'
  >;
  readonly keys: Pick<ExecutorKeys, 'register' | 'ringOf'>;
  readonly roster: Pick<Roster, 'came' | 'heard' | 'left'>;
  readonly relay: Pick<TerminalRelay, 'taken'>;
  readonly gateId: string;
  readonly heartbeatIntervalSec: number;
  /** Milliseconds of a clock that never jumps. */
  readonly monotonicMs: () => number;
  readonly onNotice: (message: LogMessage<'info'>, details: LogFields) => void;
  /** Told of what its owner may want to do something about. */
  readonly onWarning: (message: LogMessage<'warn'>, details: LogFields) => void;
}

type Message = NonNullable<ConnectRequest['message']>;
type ExecutionMessage = Exclude<Message, { $case: 'hello' | 'heartbeat' | 'draining' | 'terminalTaken' }>;

// Copies of one execution's receipt that may wait at a time.
const maxWaiting = 4;

/** The gate's side of one executor's connection: messages are taken one after the other, in order. */
export class Connection implements ExecutorConnection {
  readonly #ports: ConnectionPorts;
  readonly #remote: Remote;
  readonly #gone = new AbortController();
  /** What came over it and did not count. */
  readonly #uncounted = new Uncounted();
  /** Receipts that are being taken, by execution. Undefined: none came yet. */
  #receiving: Map<string, number> | undefined;
  #asking = false;
  /** Hung up: nothing that came behind the message that was wrong counts. */
  #isOver = false;
  #peer: Peer | undefined;
  #storeBusy = false;
  #work: Promise<void> = Promise.resolve();

  constructor(ports: ConnectionPorts, remote: Remote) {
    this.#ports = ports;
    this.#remote = remote;
  }

  receive({ message }: ConnectRequest): void {
    if (message === undefined) return;
    // Not in line behind what waits for a full disk: the executor is to know that the gate lives.
    if (message.$case === 'heartbeat' && this.#storeBusy) {
      this.#remote.send({ message: { $case: 'heartbeatAck', value: {} } });
      return;
    }
    this.#work = this.#work.then(() => this.#handle(message)).catch((error: unknown) => this.#failed(error));
  }

  closed(): void {
    this.#gone.abort();
    const peer = this.#peer;
    if (peer === undefined) return;
    const { scheduler, roster, onNotice, onWarning } = this.#ports;
    scheduler.peers.remove(peer);
    roster.left(peer);
    const open = peer.assigned.size;
    const tell = open > 0 ? onWarning : onNotice;
    tell('executor disconnected', { executor: peer.id, open });
  }

  async #handle(message: Message): Promise<void> {
    if (this.#isOver) return;
    if (this.#remote.isOurs !== true) checkBounds(linkBounds[message.$case], message.value, message.$case);
    if (message.$case === 'hello') return this.#hello(message.value);
    if (this.#peer === undefined) throw requestInvalid('hello', 'is due: it is the first message');
    return this.#dispatch(message, this.#peer);
  }

  async #dispatch(message: Exclude<Message, { $case: 'hello' }>, peer: Peer): Promise<void> {
    if (message.$case === 'heartbeat') {
      this.#ports.roster.heard(peer);
      this.#remote.send({ message: { $case: 'heartbeatAck', value: {} } });
      takeCondition(this.#ports, peer, message.value);
      await this.#inLine(async () => {
        if (!(await takeChainHead(this.#ports, this.#remote.executor, message.value.chainHeadJson)))
          peer.wentBack = true;
      });
      return;
    }
    if (message.$case === 'draining') return this.#ports.scheduler.leave(peer);
    if (message.$case === 'terminalTaken') return this.#ports.relay.taken(peer.id, message.value);
    // Placed only once it is known what the answer is.
    const isAnswer = peer.unanswered.delete(message.value.executionId);
    await this.#take(message, peer);
    if (isAnswer) this.#ports.scheduler.place();
  }

  async #take(message: ExecutionMessage, peer: Peer): Promise<void> {
    const ports = this.#ports;
    if (message.$case === 'refused') return this.#refused(message.value, peer);
    if (message.$case === 'receipt') {
      // Not in line with the messages behind it: it may have to wait for output.
      this.#receipt(message.value, peer).catch((error: unknown) => this.#failed(error));
      return;
    }
    const execution = findOwn(ports.executions, this.#remote.executor, message.value.executionId);
    if (execution === undefined) {
      if (message.$case === 'accepted') await takeLateStart(ports, peer, message.value.executionId);
      return;
    }
    execution.isUndecided = false;
    if (message.$case === 'accepted') {
      ports.scheduler.breakers.close(peer.id, execution.row.principal);
      return takeAccepted(ports, execution, message.value.notes);
    }
    if (message.$case === 'commandStarted') {
      const { commandId, index } = message.value;
      return takeProgress(ports, execution, commandId, {
        $case: 'commandStarted',
        value: { commandId, index },
      });
    }
    const { result } = message.value;
    return takeProgress(ports, execution, result?.commandId ?? '', {
      $case: 'commandExited',
      value: { result },
    });
  }

  async #hello(hello: Hello): Promise<void> {
    if (this.#peer !== undefined)
      throw requestInvalid('hello', 'was said already: it is the first message, and no other');
    const { executor } = this.#remote;
    const { gateId, keys, scheduler, roster, heartbeatIntervalSec, onNotice } = this.#ports;
    checkLabels(hello, this.#remote.labels);
    await this.#inLine(() => keys.register(executor.uri, hello));
    let newestHead: Buffer | undefined;
    await this.#inLine(async () => {
      newestHead = await takeHello(this.#ports, executor, hello);
    });
    const wentBack = newestHead !== undefined;
    if (this.#gone.signal.aborted) return;
    checkAlone(scheduler, executor, hello);
    const peer = new Peer(executor, hello, this.#wayTo());
    peer.wentBack = wentBack;
    takeCondition(this.#ports, peer, hello);
    peer.certificate = this.#remote.certificate;
    this.#peer = peer;
    const before = placedAt(this.#ports.executions, peer.id);
    scheduler.peers.add(peer);
    roster.came(peer);
    scheduler.rests.resume(peer);
    scheduler.breakers.reconnected(peer.id);
    const heartbeatInterval = toDuration(heartbeatIntervalSec * 1000);
    peer.send({
      $case: 'welcome',
      value: {
        gateId,
        heartbeatInterval,
        chainHeadJson: newestHead ?? Buffer.alloc(0),
        sentAt: this.#ports.clock.now(),
      },
    });
    onNotice('executor connected', {
      executor: peer.id,
      labels: summarizeLabels(peer.labels),
      slots: peer.slots,
      mode: peer.executionMode,
    });
    countLost(this.#ports, peer, hello, before);
    await this.#inLine(() => reconcile(this.#ports, peer, hello, before));
    scheduler.place();
  }

  // A signed refusal is kept by the executor like any receipt until it is acknowledged.
  async #refused(refused: Refused, peer: Peer): Promise<void> {
    const { write, fault } = takeRefusal(this.#ports, this.#remote.executor, peer, refused);
    await this.#inLine(write);
    const { executionId, receiptJson, originalJson } = refused;
    if (receiptJson.length === 0) return;
    // The executor still owes it, and may send it again.
    if (fault !== undefined) return this.#uncounted.add(fault, this.#ports.onError);
    const receipt = { executionId, receiptJson, originalJson, outputLogLength: 0 };
    this.#receipt(receipt, peer).catch((error: unknown) => this.#failed(error));
  }

  async #receipt(receipt: Receipt, peer: Peer): Promise<void> {
    const { executor, send } = this.#remote;
    const gone = this.#gone.signal;
    const { executionId } = receipt;
    this.#receiving ??= new Map();
    const receiving = this.#receiving;
    const waiting = receiving.get(executionId) ?? 0;
    // Each is kept while it waits for output, and one would do.
    if (waiting >= maxWaiting) return;
    receiving.set(executionId, waiting + 1);
    try {
      if (!(await patiently(() => takeReceipt(this.#ports, executor, receipt, gone), gone))) return;
      peer.assigned.delete(executionId);
      send({ message: { $case: 'receiptAck', value: { executionId } } });
      this.#ports.scheduler.place();
    } catch (error) {
      // The connection stays: the executor has other executions, and would only send the same receipt again.
      if (isCscError(error, 'STORE_UNAVAILABLE')) this.#failed(error);
      else this.#uncounted.add(notCounted(executor, executionId, error), this.#ports.onError);
    } finally {
      const left = (receiving.get(executionId) ?? 1) - 1;
      if (left === 0) receiving.delete(executionId);
      else receiving.set(executionId, left);
    }
  }

  // Made apart: a function that is kept keeps all that is around it, and in `#hello` that is the whole message.
  #wayTo(): PeerWay {
    return { send: this.#remote.send, ask: () => this.#askPeer() };
  }

  // What it had said before is taken first.
  #askPeer(): void {
    if (this.#asking) return;
    this.#asking = true;
    const began = this.#ports.monotonicMs();
    const { ask = () => Promise.resolve() } = this.#remote;
    ask()
      .then(() => {
        this.#work = this.#work.then(() => {
          if (this.#peer !== undefined) this.#peer.heardAt = began;
        });
      })
      // Its connection is on its way out, and what becomes of its offers is decided when it is back.
      .catch(() => undefined)
      .finally(() => {
        this.#asking = false;
      });
  }

  // What an executor says must be written before what it says next is taken, also where the disk is full for a while.
  async #inLine(work: () => Promise<void>): Promise<void> {
    try {
      await patiently(work, this.#gone.signal, () => {
        this.#storeBusy = true;
      });
    } finally {
      this.#storeBusy = false;
    }
  }

  #failed(error: unknown): void {
    if (this.#isOver) return;
    this.#ports.onError(error);
    if (!isCscError(error)) return;
    this.#isOver = true;
    this.#remote.hangUp(error);
  }
}
